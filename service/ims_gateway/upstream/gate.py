"""The way out: for each upstream account its client and its slots."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import UpstreamClient
from ims_gateway.upstream.slots import Slots


@dataclass(frozen=True, slots=True)
class Gate:
    """One account with its pooled client and the places for calls in flight."""

    account: Account
    client: UpstreamClient
    slots: Slots


class Gates:
    """All accounts of the process; an asynchronous context manager that owns the clients."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._gates = {
            name: Gate(account, UpstreamClient(account), Slots(account.max_in_flight))
            for name, account in accounts.items()
        }
        self._stack = AsyncExitStack()

    def __contains__(self, account: str) -> bool:
        return account in self._gates

    def __getitem__(self, account: str) -> Gate:
        return self._gates[account]

    async def __aenter__(self) -> Self:
        for gate in self._gates.values():
            await self._stack.enter_async_context(gate.client)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
