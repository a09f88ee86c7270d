"""Keeps the public keys of every issuer in issuers.yaml as they are now.

Decides when an issuer is asked for its keys: every minute, and at once for a key that is not
known, which is once a minute too, since anybody can make up tokens with unknown keys. While keys
cannot be had, those of before stay in force. What it never does: let a caller whose key is known
wait, or give one issuer's key to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from ims_gateway.identity.key_set import KeySet, PublicKey, UnusableKeys, read
from ims_gateway.tenancy.files import IssuerFile

REFRESH_SECONDS: Final = 60.0
# A file costs nothing to look at.
LOOK_SECONDS: Final = 0.5
UNKNOWN_KEY_SECONDS: Final = 60.0

# Whose keys, and from where: other keys are not taken over from another place.
Origin = tuple[str, str | None, str | None, str | None]
Retrieve = Callable[[IssuerFile], Awaitable[bytes]]
log = structlog.get_logger()


class KeySets:
    """The keys of the issuers, which `issuers` returns by name as they are in force.

    `retrieve` returns an issuer's key set as it is published and raises UnusableKeys; `clock` gives
    seconds of any origin.
    """

    def __init__(
        self,
        issuers: Callable[[], Mapping[str, IssuerFile]],
        retrieve: Retrieve,
        clock: Callable[[], float],
    ) -> None:
        self._issuers = issuers
        self._retrieve = retrieve
        self._clock = clock
        self._sources: dict[Origin, _Source] = {}

    def known(self, issuer: IssuerFile) -> KeySet:
        """Return the issuer's keys as far as they are known."""
        return self._source(issuer).keys

    async def key(self, issuer: IssuerFile, key_id: str, algorithm: str) -> PublicKey | None:
        """Return the issuer's key of that id for that algorithm, having asked for it if need be."""
        source = self._source(issuer)
        if (key_id, algorithm) not in source.keys:
            await source.look_for_more(self._clock())
        return source.keys.get((key_id, algorithm))

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        try:
            while True:
                self.refresh()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for source in self._sources.values():
                source.close()

    def refresh(self) -> None:
        """Begin to fetch the keys that are due, and forget those of issuers that are gone."""
        issuers = {_origin(issuer): issuer for issuer in self._issuers().values()}
        for gone in self._sources.keys() - issuers.keys():
            self._sources.pop(gone).close()
        for issuer in issuers.values():
            self._source(issuer).refresh(self._clock())

    def _source(self, issuer: IssuerFile) -> _Source:
        origin = _origin(issuer)
        if origin not in self._sources:
            self._sources[origin] = _Source(issuer, self._retrieve)
        return self._sources[origin]


class _Source:
    """The keys of one issuer."""

    def __init__(self, issuer: IssuerFile, retrieve: Retrieve) -> None:
        self.keys: KeySet = {}
        self._issuer = issuer
        self._retrieve = retrieve
        self._pause = LOOK_SECONDS if issuer.jwks_file else REFRESH_SECONDS
        self._refreshed = float("-inf")
        self._looked_for_more = float("-inf")
        self._fetch: asyncio.Task[None] | None = None
        self._document: bytes | None = None
        self._failure = ""

    def refresh(self, now: float) -> None:
        if now - self._refreshed >= self._pause:
            self._begin(now)

    async def look_for_more(self, now: float) -> None:
        """Wait for a fetch, which is begun if that is allowed. All who wait share it."""
        if self._fetch is None and now - self._looked_for_more >= UNKNOWN_KEY_SECONDS:
            self._looked_for_more = now
            self._begin(now)
        if self._fetch is not None:
            # One caller who hangs up does not end it for the others.
            await asyncio.wait([self._fetch])

    def close(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()

    def _begin(self, now: float) -> None:
        if self._fetch is None:
            self._refreshed = now
            self._fetch = asyncio.create_task(self._take())

    async def _take(self) -> None:
        try:
            document = await self._retrieve(self._issuer)
            if document != self._document or self._failure:
                self._put(read(document), document)
        except UnusableKeys as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - the keys of before stay, whatever broke
            self._fail(type(error).__name__)
        finally:
            self._fetch = None

    def _put(self, keys: KeySet, document: bytes) -> None:
        self.keys, self._document, self._failure = keys, document, ""
        ids = sorted({key_id for key_id, _ in keys})
        log.info("keys of an issuer taken", issuer=self._issuer.name, key_ids=ids)

    def _fail(self, failure: str) -> None:
        if failure != self._failure:
            log.error("keys of an issuer not taken", issuer=self._issuer.name, failure=failure)
        self._failure = failure


def _origin(issuer: IssuerFile) -> Origin:
    ca_file, keys_file = (
        None if file is None else str(file) for file in (issuer.ca_file, issuer.jwks_file)
    )
    return issuer.issuer, issuer.jwks_url, keys_file, ca_file
