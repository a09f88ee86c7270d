"""The callers: they submit, are cut off, and ask again with the same request id until they know.

Decides what is asked for, and keeps what was told. What the answers are worth, `books` decides.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from ims_gateway_client import AsyncClient
from ims_gateway_client import errors as client_errors
from imsgateway.v1 import job_pb2
from tests.reliability.books import Told

# How long a caller waits for an answer: some hang up before there can be one.
CALL_SECONDS: Final = (0.1, 0.5, 1.5, 1.5)
LONGEST_PAUSE_SECONDS: Final = 0.02
# What a caller asks again about, with the request id it had.
ASKED_AGAIN: Final = (client_errors.Unavailable, client_errors.DeadlineExceeded)
SHARE_REPEATED: Final = 0.4
SHARE_AT_ONCE: Final = 0.2
# Repeated are the newest, which may be on their way yet, at another gateway or in this one.
NEWEST: Final = 16


@dataclass(slots=True, eq=False)
class Order:
    """One job that a caller wants once, under one request id, and what it was told about it."""

    tenant: str
    request_id: str
    accepted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    refused: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def answered(self) -> bool:
        """Whether its caller knows enough."""
        return bool(self.accepted or self.unknown or self.refused or self.faults)

    @property
    def job(self) -> job_pb2.Job:
        """The job; its user data says upstream whose it is."""
        return job_pb2.Job(
            cover={"input": {"oss_uri": f"oss://{self.tenant}-media/in.mp4"}},
            user_data=self.request_id,
        )

    async def ask(self, client: AsyncClient, seconds: float) -> None:
        """Submit, and note what is told. Nothing is, where the connection or the time ran out."""
        try:
            job = await client.submit(self.job, request_id=self.request_id, timeout_seconds=seconds)
            self.accepted.add(job.name)
        except ASKED_AGAIN:
            return
        except client_errors.OutcomeUnknown as unknown:
            self.unknown.add(unknown.job_name)
        except (client_errors.UpstreamRefused, client_errors.QuotaExceeded):
            self.refused = True
        except client_errors.GatewayError as fault:
            # gRPC tells of a broken connection in several ways; only a gateway gives a reason.
            if fault.reason:
                self.faults.append(str(fault))

    def told(self) -> Told:
        """Return what the caller was told."""
        return Told(
            self.request_id, frozenset(self.accepted), frozenset(self.unknown), tuple(self.faults)
        )


class Crowd:
    """Callers that want one job after the other, at whichever gateway there is."""

    def __init__(
        self, targets: Sequence[str], keys: Mapping[str, str], dice: random.Random, callers: int
    ) -> None:
        self.orders: list[Order] = []
        self._targets = targets
        self._keys = keys
        self._dice = dice
        self._callers = callers
        self._enough = False
        self._clients: dict[tuple[str, str], AsyncClient] = {}

    async def run(self) -> None:
        """Want jobs until `enough`, then ask until every order is answered, and return."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for target in self._targets:
                for tenant, key in self._keys.items():
                    client = await stack.enter_async_context(AsyncClient(target, api_key=key))
                    self._clients[tenant, target] = client
            callers = [group.create_task(self._want()) for _ in range(self._callers)]
            await asyncio.wait(callers)

    def enough(self) -> None:
        """Let nobody want another job."""
        self._enough = True

    async def _want(self) -> None:
        while not self._enough:
            order = self._next()
            times = 2 if self._dice.random() < SHARE_AT_ONCE else 1
            await asyncio.gather(*(self._ask(order) for _ in range(times)))
        # What a dead gateway left behind is answered when its lease has lapsed.
        while unanswered := [order for order in self.orders if not order.answered]:
            await self._ask(self._dice.choice(unanswered))

    def _next(self) -> Order:
        if self.orders and self._dice.random() < SHARE_REPEATED:
            return self._dice.choice(self.orders[-NEWEST:])
        tenant = self._dice.choice([*self._keys])
        request_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        self.orders.append(Order(tenant, request_id))
        return self.orders[-1]

    async def _ask(self, order: Order) -> None:
        client = self._clients[order.tenant, self._dice.choice(self._targets)]
        await order.ask(client, self._dice.choice(CALL_SECONDS))
        await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._dice.uniform(0, LONGEST_PAUSE_SECONDS))
