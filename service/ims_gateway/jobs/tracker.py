"""Follows jobs to their end: asks the service about every open job, and records what it says.

Decides what the service's word means for a job, and for the calls to its account. It also closes
intents whose process died. What it never does: submit, or give a job up.
"""

from __future__ import annotations

import asyncio
import json
import random
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog
from structlog.contextvars import bind_contextvars

from ims_gateway.algorithms.results import progress, storable
from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.pace import MICROSECONDS, Backoff, Budget, Pace
from ims_gateway.jobs.record import Change, JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.telemetry.tracks import Tracks
from ims_gateway.upstream.client import UpstreamClient
from ims_gateway.upstream.errors import JOB_NOT_FOUND, Refused, UpstreamError
from ims_gateway.upstream.gate import Gate, Gates
from ims_gateway.upstream.redaction import bounded_name

# Polls of one account at once. Half of its calls stay free for those that a caller waits for.
AT_ONCE: Final = 32
QUERY_SECONDS: Final = 10.0
LAPSED_AT_ONCE: Final = 32
# A job that the service took a moment ago may not be known everywhere there.
STRANGE_SECONDS: Final = 60.0
LOOK_AROUND_SECONDS: Final = 60.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Account:
    """What this process knows of one account's polls."""

    client: UpstreamClient
    budget: Budget
    backoff: Backoff
    most: int
    in_flight: int = 0


class Poll(StrEnum):
    """What came of a poll."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    # The service does not know the job.
    MISSING = "missing"
    FAILED = "failed"


class Tracker:
    """Polls the open jobs of a ledger. `clock` gives microseconds since the epoch.

    `polled` is told what came of each poll, `ended` each job that a poll has ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        gates: Gates,
        clock: Callable[[], int],
        *,
        interval_seconds: float,
        overdue_seconds: float,
        tracks: Tracks | None = None,
        spread: Callable[[float, float], float] = random.uniform,
        polled: Callable[[str], None] = lambda _: None,
        ended: Callable[[JobRecord], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._poller = str(uuid.uuid4())
        self._clock = clock
        self._polled = polled
        self._ended = ended
        self._tracks = tracks
        self._pace = Pace(interval_seconds, overdue_seconds, spread)
        self._tick_seconds = interval_seconds / 4
        self._accounts = {name: _account(gates[name], self._pace) for name in gates}
        self._polls: set[asyncio.Task[None]] = set()
        self._looked_time = 0
        self._waiting = False

    async def run(self) -> None:
        """Poll until cancelled, then give back what is claimed. No failure ends it."""
        try:
            while True:
                await self._round()
                await self._rest()
        finally:
            await self._stop()

    async def poll_due(self) -> int:
        """Ask about the jobs that are due, once each, and return how many that were."""
        polls = await self._start_due()
        await asyncio.gather(*polls)
        return len(polls)

    async def _round(self) -> None:
        try:
            await self._start_due()
        except StoreUnavailable as error:
            if not self._waiting:
                log.warning("tracker waits for the ledger", error=error.message)
            self._waiting = True
        except Exception as error:  # noqa: BLE001 - the next round may be better
            log.error("tracker round failed", **_fault(error))  # noqa: TRY400 - see _fault
        else:
            self._waiting = False

    async def _rest(self) -> None:
        """Wait for the next round; with all of an account's polls under way, for one of them."""
        full = any(account.in_flight >= account.most for account in self._accounts.values())
        if full:
            await asyncio.wait(
                self._polls, timeout=self._tick_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        else:
            await asyncio.sleep(self._tick_seconds)

    async def _start_due(self) -> list[asyncio.Task[None]]:
        for record in await self._ledger.close_lapsed(LAPSED_AT_ONCE):
            log.warning("its process is gone", job=record.name, state=record.state.name)
            self._show(record, self._clock())
        await self._look_around()
        started = []
        for name in await self._ledger.accounts_due(self._accounts):
            account = self._accounts[name]
            if (room := account.most - account.in_flight) > 0:
                claimed = await self._ledger.claim_due(
                    account=name, budget=account.budget, most=room, poller=self._poller
                )
                started += [self._start(account, record) for record in claimed]
        return started

    def _start(self, account: _Account, record: JobRecord) -> asyncio.Task[None]:
        account.in_flight += 1
        poll = asyncio.create_task(self._poll(account, record))
        self._polls.add(poll)
        poll.add_done_callback(self._polls.discard)
        return poll

    async def _stop(self) -> None:
        for poll in self._polls:
            poll.cancel()
        await asyncio.gather(*self._polls, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._ledger.release_claims(self._poller, self._accounts)

    async def _poll(self, account: _Account, record: JobRecord) -> None:
        """Ask about one job. Whatever happens to it ends here; at worst its claim lapses."""
        # Of this task only: its log lines belong to the job's own trace.
        bind_contextvars(job=record.name, decision_id=record.decision_id, trace_id=record.trace_id)
        try:
            await self._ask(account, record)
        except StoreUnavailable as error:
            log.warning("poll not recorded", job=record.name, error=error.message)
        except Exception as error:  # noqa: BLE001 - the other jobs have to go on
            log.error("poll failed", job=record.name, **_fault(error))  # noqa: TRY400 - see _fault
            with suppress(StoreUnavailable):
                await self._put_off(record, self._pace.longest())
        finally:
            account.in_flight -= 1

    async def _ask(self, account: _Account, record: JobRecord) -> None:
        await self._note_overdue(record)
        sent = self._clock()
        try:
            reply = await account.client.query(
                record.upstream_job_id, timeout_seconds=QUERY_SECONDS
            )
        except UpstreamError as error:
            await self._unanswered(account, record, error, sent)
            return
        account.backoff.succeed()
        await self._advance(record, reply, sent)

    async def _advance(self, record: JobRecord, reply: Mapping[str, Any], sent: int) -> None:
        said = progress(reply)
        state = state_after(record.state, State(said.state))
        self._polled(Poll.UNCHANGED if state is record.state else Poll.CHANGED)
        if state is record.state:
            await self._put_off(record)
            return
        change = Change(
            state,
            cause="the service says so",
            failure_code=said.failure.code if said.failure else None,
            failure_message=said.failure.message if said.failure else None,
            reply=json.dumps(storable(reply)),
            # What has just moved is likely to move again.
            next_poll_time=self._clock() + self._pace.pause(),
        )
        await self._change(record, change, sent, bounded_name(reply.get("RequestId")) or "")

    async def _unanswered(
        self, account: _Account, record: JobRecord, error: UpstreamError, sent: int
    ) -> None:
        if isinstance(error, Refused) and error.code == JOB_NOT_FOUND:
            account.backoff.succeed()
            self._polled(Poll.MISSING)
            await self._missing(record, sent, error.request_id or "")
            return
        self._polled(Poll.FAILED)
        log.warning("query failed", job=record.name, error=str(error))
        until = account.backoff.fail(sent, self._clock(), error.retry_after_seconds or 0.0)
        if until is not None:
            await self._ledger.pause_polls(record.account, until)
        await self._put_off(record)

    async def _missing(self, record: JobRecord, sent: int, request_id: str) -> None:
        """Close a job that the service does not know, unless it has only just taken it."""
        if self._clock() - record.update_time < STRANGE_SECONDS * MICROSECONDS:
            await self._put_off(record)
            return
        gone = State.CANCELLED if record.state is State.CANCELLING else State.FAILED
        change = Change(
            gone, cause="unknown to the service", failure_code=JOB_NOT_FOUND, failure_message=""
        )
        await self._change(record, change, sent, request_id)

    async def _change(self, record: JobRecord, change: Change, sent: int, request_id: str) -> None:
        """Change a job, and show it in its submit's trace; another process may have been first."""
        after, changed = await self._ledger.change(
            record.job_id, change, record.state, tenant=record.tenant
        )
        if changed:
            self._show(after, sent, request_id)
            if after.ended:
                self._ended(after)

    def _show(self, record: JobRecord, began: int, request_id: str = "") -> None:
        if self._tracks is not None:
            self._tracks.changed(record, began, self._clock(), request_id)

    async def _put_off(self, record: JobRecord, pause: int | None = None) -> None:
        if pause is None:
            pause = self._pace.pause(self._age_seconds(record))
        await self._ledger.put_off(record.job_id, self._poller, self._clock() + pause)

    async def _note_overdue(self, record: JobRecord) -> None:
        limit = round(self._pace.overdue_seconds * MICROSECONDS)
        if record.overdue_time is not None or not record.overdue(self._clock(), limit):
            return
        if await self._ledger.note_overdue(record.job_id):
            hours = round(self._age_seconds(record) / 3600, 1)
            log.warning("job overdue", job=record.name, account=record.account, open_hours=hours)

    async def _look_around(self) -> None:
        """Find, now and then, jobs that nobody would ask about.

        A clock that was ahead has put them off, or their account is not configured: that is said.
        """
        if abs(self._clock() - self._looked_time) < LOOK_AROUND_SECONDS * MICROSECONDS:
            return
        self._looked_time = self._clock()
        await self._ledger.call_back(self._accounts)
        for account, jobs in (await self._ledger.backlog()).items():
            if account not in self._accounts:
                log.error("jobs of an account that is no more", account=account, jobs=jobs)

    def _age_seconds(self, record: JobRecord) -> float:
        return (self._clock() - record.create_time) / MICROSECONDS


def state_after(present: State, said: State) -> State:
    """Return the state that follows from what the service says.

    The status after a cancellation is not documented; whatever ends such a job without success is
    taken for its cancellation.
    """
    if present is State.CANCELLING:
        if said is State.FAILED:
            return State.CANCELLED
        return said if said is State.SUCCEEDED else State.CANCELLING
    if present is State.RUNNING and said is State.QUEUED:
        return State.RUNNING
    return said


def _account(gate: Gate, pace: Pace) -> _Account:
    return _Account(
        client=gate.client,
        budget=Budget(gate.account.polls_per_second),
        backoff=Backoff(pace.interval_seconds, pace.spread),
        most=max(1, min(AT_ONCE, gate.account.max_in_flight // 2)),
    )


def _fault(error: Exception) -> dict[str, str]:
    """Return which error it was and where; its text may quote what the service said of a job."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return {"error": type(error).__name__, "at": f"{Path(place.filename).name}:{place.lineno}"}
