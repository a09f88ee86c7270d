"""What operators see of the gateway: its tenants, its decisions, its files.

Decides what a page holds. Whether the caller is an operator was asked before. What it never does:
show a secret, or change a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final

from ims_gateway.jobs.decisions import NEWEST, Wanted
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.page_tokens import position, token
from ims_gateway.tenancy.live import Live
from ims_gateway.tenancy.reading import Fault

DEFAULT_PAGE: Final = 50
TENANTS: Final = "tenants"


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A tenant in force. `faults` are those of a newer file of its that was not taken."""

    name: str
    version: str
    account: str
    faults: tuple[Fault, ...]


class Oversight:
    """Answers operators."""

    def __init__(self, ledger: Ledger, live: Live) -> None:
        self._ledger = ledger
        self._live = live

    def tenants(self, page_size: int, page_token: str) -> tuple[Sequence[TenantEntry], str]:
        """Return one page of the tenants by name, and the token of the next page.

        Raises InvalidRequest for a token that is none.
        """
        after, size = position(page_token, TENANTS, ""), page_size or DEFAULT_PAGE
        directory = self._live.directory
        names = nsmallest(size + 1, (name for name in directory if name > after))
        entries = [
            TenantEntry(
                name,
                directory.filed[name].version(directory.platform),
                directory.filed[name].account,
                self._live.faults_of(name),
            )
            for name in names[:size]
        ]
        return entries, token(TENANTS, names[size - 1]) if len(names) > size else ""

    async def decisions(
        self, wanted: Wanted, page_size: int, page_token: str
    ) -> tuple[Sequence[Mapping[str, Any]], str]:
        """Return one page of the records that are wanted, newest first, and the next one's token.

        Raises InvalidRequest for a token of another list or of none, StoreUnavailable.
        """
        before = position(page_token, wanted.conditions, NEWEST)
        page = await self._ledger.decisions(wanted, before, page_size or DEFAULT_PAGE)
        following = token(wanted.conditions, page.end) if page.end is not None else ""
        return [json.loads(record) for record in page.records], following

    async def reload(self) -> tuple[Sequence[Fault], int]:
        """Take the files that have changed; return all faults, and how many tenants are in force.

        Files that were written to a moment ago are waited for.
        """
        await self._live.settle()
        return self._live.faults, len(self._live.directory)
