"""A gateway's ledger and way out, with a named point at every durable step, where it may be killed.

The parts are those of the product, wrapped; nothing of it is replaced. SIGKILL leaves no chance to
tidy up: what the process had in its hands is gone, as with a power cut of its machine's software.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final

from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Admission, Change
from ims_gateway.jobs.states import State
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import Measure
from ims_gateway.upstream.gate import Gate, Gates
from tests.reliability.points import Doom, Moment, Point, Step, point_of

STEPS: Final = {
    "admit": Step.ADMIT,
    "dispatch": Step.DISPATCH,
    "claim_due": Step.CLAIM,
    "close_lapsed": Step.LAPSE,
}
SETTLED: Final = (State.QUEUED, State.REJECTED, State.SUBMIT_UNKNOWN)
# The step whose transaction the present task asks for.
_step: ContextVar[Step | None] = ContextVar("step", default=None)


class Mortality:
    """Kills this process at its hour. `announce` is told the point first."""

    def __init__(self, doom: Doom | None, announce: Callable[[Point], None]) -> None:
        self._doom = doom
        self._announce = announce
        self._passages = 0

    def passing(self, point: Point | None) -> None:
        """Note that the process is at a point, and end it there if that is its doom."""
        if self._doom is None or point is not self._doom.point:
            return
        self._passages += 1
        if self._passages == self._doom.passage:
            self._announce(point)
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore:
    """A store whose transactions pass their points; it knows the step from its ledger."""

    def __init__(self, store: Any, mortality: Mortality) -> None:
        self._store = store
        self._mortality = mortality

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, command: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Run the command in a transaction, as the store does."""
        step = _step.get()
        if step is None:
            return await self._store.write(command, *arguments, **more)

        def run(db: Any) -> Any:
            result = command(db)
            if _wrote(result):
                self._mortality.passing(point_of(step, Moment.WRITTEN))
            return result

        self._mortality.passing(point_of(step, Moment.BEFORE))
        result = await self._store.write(run, *arguments, **more)
        if _wrote(result):
            self._mortality.passing(point_of(step, Moment.COMMITTED))
        return result


class MortalLedger:
    """A ledger that tells its store which step each transaction belongs to."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        if name in STEPS:
            return _within(STEPS[name], method)
        return method

    async def change(self, job_id: str, change: Change, *arguments: Any, **more: Any) -> Any:
        """Change a job's state: its submit is settled, or the tracker brings it further."""
        step = Step.SETTLE if change.state in SETTLED else Step.ADVANCE
        return await _within(step, self._ledger.change)(job_id, change, *arguments, **more)


class MortalGates(Gates):
    """Gates whose clients pass the points around a call; `client_of` wraps them once more."""

    def __init__(
        self,
        accounts: Mapping[str, Account],
        measure: Measure,
        *,
        mortality: Mortality,
        client_of: Callable[[Any], Any],
    ) -> None:
        super().__init__(accounts, measure)
        self._mortality = mortality
        self._client_of = client_of

    def __getitem__(self, account: str) -> Gate:
        gate = super().__getitem__(account)
        return replace(gate, client=self._client_of(MortalClient(gate.client, self._mortality)))


class MortalClient:
    """A client that passes a point before a submit and after each answer."""

    def __init__(self, client: Any, mortality: Mortality) -> None:
        self._client = client
        self._mortality = mortality

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def submit(self, *arguments: Any, **more: Any) -> Any:
        """Submit a job, once."""
        self._mortality.passing(Point.SEND_BEFORE)
        reply = await self._client.submit(*arguments, **more)
        self._mortality.passing(Point.SEND_ANSWERED)
        return reply

    async def query(self, *arguments: Any, **more: Any) -> Any:
        """Ask about a job."""
        reply = await self._client.query(*arguments, **more)
        self._mortality.passing(Point.QUERY_ANSWERED)
        return reply


def _within(step: Step, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def stepping(*arguments: Any, **more: Any) -> Any:
        token = _step.set(step)
        try:
            return await method(*arguments, **more)
        finally:
            _step.reset(token)

    return stepping


def _wrote(result: Any) -> bool:
    """Say whether a command changed anything: a recall, or a look that finds nothing, does not."""
    if isinstance(result, Admission):
        return not result.recalled
    if isinstance(result, tuple):
        return bool(result[-1])
    return bool(result)
