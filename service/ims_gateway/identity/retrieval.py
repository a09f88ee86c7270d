"""Fetches the published keys of an issuer, from its URL or file.

Decides what is taken for an answer: status 200 over verified TLS, in time and of bounded size. It
follows no redirect, asks no proxy and reads no environment. httpx's own transport is enough here:
what ours adds is the outcome of a paid call.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

import httpx

from ims_gateway.identity.key_set import UnusableKeys
from ims_gateway.tenancy.files import IssuerFile

LONGEST_SECONDS: Final = 5.0
MOST_BYTES: Final = 256 * 1024


async def retrieve(issuer: IssuerFile) -> bytes:
    """Return the issuer's key set as it is published. Raises UnusableKeys."""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            if issuer.jwks_file is not None:
                return await asyncio.to_thread(_read, issuer.jwks_file)
            # Reading the authorities takes longer than the loop may stand still.
            tls = await asyncio.to_thread(_tls, issuer.ca_file)
            return await _get(issuer.jwks_url or "", tls)
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        raise UnusableKeys(type(error).__name__) from None


async def _get(url: str, tls: ssl.SSLContext) -> bytes:
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    async with (
        httpx.AsyncClient(verify=tls, trust_env=False, timeout=LONGEST_SECONDS) as client,
        client.stream("GET", url, headers=headers, follow_redirects=False) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise UnusableKeys(f"HTTP status {response.status_code}")
        content = b""
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MOST_BYTES:
                raise UnusableKeys(f"longer than {MOST_BYTES} bytes")
        return content


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UnusableKeys(f"longer than {MOST_BYTES} bytes")
    return content


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    return httpx.create_ssl_context(trust_env=False)
