"""Any course of events, for two gateways on one ledger: a machine that hypothesis drives.

The rules are what gateways, the service, the network, an operator and time can do to a submit, one
step at a time, in any order. The ledger is the product's, on SQLite; the rest is in `flights`.
After each step the books are compared.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ims_gateway import settlement
from ims_gateway.errors import JobStateConflict, LimitExceeded, UpstreamBusy
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change
from ims_gateway.jobs.sqlite import SqliteDatabase, SqliteSession
from ims_gateway.jobs.states import OPEN, State
from ims_gateway.jobs.store import Store
from ims_gateway.quota.limits import CountLimit
from ims_gateway.resolution import SIGNATURE_SECONDS
from tests.reliability.books import Accepted, Books, Violation
from tests.reliability.flights import ANSWERS, Call, Flight, Gateway
from tests.unit.jobs.world import SECOND, Clock, intent, migrated, open_file

LEASE_SECONDS = 50
RETENTION_SECONDS = 30 * 86_400
TENANTS = ("acme", "globex")
LIMITS = (CountLimit("daily", max=6, time_zone="UTC"), CountLimit("here", 9, "Asia/Tokyo"))
BOUNDS = {(tenant, limit.id): limit.max for tenant in TENANTS for limit in LIMITS}
SEATS = (0, 1)
# The second gateway's clock may be ahead, even by more than a lease.
SKEWS_SECONDS = (0, 5, LEASE_SECONDS + 10)
# From a moment to more than a signature counts, and to more than a job is kept.
LONGEST_PAUSE_SECONDS = RETENTION_SECONDS + 100
PAUSES_SECONDS = (1, 1, 30, 30, LEASE_SECONDS + 1, SIGNATURE_SECONDS, LONGEST_PAUSE_SECONDS)
# When nothing that was signed before a job got unknown can still arrive, by whichever clock.
TOO_LATE_SECONDS = SIGNATURE_SECONDS + 2 * SKEWS_SECONDS[-1]


class _Unsynced(SqliteDatabase):
    """A file that does not have to outlive a power cut."""

    def connect(self) -> SqliteSession:
        session = super().connect()
        session.connection.execute("PRAGMA synchronous = OFF")
        return session


async def _change(ledger: Ledger, job_id: str, change: Change) -> None:
    await ledger.change(job_id, change)


async def _resolve(ledger: Ledger, job: Mapping[str, Any], change: Change) -> None:
    record = await ledger.find(job["tenant"], job["job_id"])
    assert record is not None
    await ledger.resolve(record, change)


class Course(RuleBasedStateMachine):
    """The machine. With another `ledger_of` it is to see the difference."""

    ledger_of: Callable[..., Ledger] = Ledger

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.runner = self.stack.enter_context(asyncio.Runner())
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.path = folder / "ledger.db"
        self.path.write_bytes(migrated())
        self.reader = self.stack.enter_context(closing(open_file(self.path)))
        self.jobs: list[Mapping[str, Any]] = []
        self.clock = Clock()
        self.gateways: list[Gateway] = []
        self.calls: list[Call] = []
        self.admitted = self.skew = 0

    @initialize(skew=st.sampled_from(SKEWS_SECONDS))
    def start(self, skew: int) -> None:
        """Start both gateways."""
        self.skew = skew * SECOND
        self.gateways = [self.runner.run(self._gateway(seat)) for seat in SEATS]

    def teardown(self) -> None:
        """Let all processes die, and one come back much later: then everything is settled."""
        try:
            if self.gateways:
                self._settle_everything()
        finally:
            for gateway in self.gateways:
                self.runner.run(gateway.store.close())
            self.stack.close()

    # What callers do.

    @rule(
        seat=st.sampled_from(SEATS),
        tenant=st.sampled_from(TENANTS),
        number=st.integers(1, 4),
        waits=st.booleans(),
    )
    def submit(self, seat: int, tenant: str, number: int, *, waits: bool) -> None:
        """Admit a job, which may have to wait for a place, or recall the request id's own."""
        self.admitted += 1
        now = self.gateways[seat].clock()
        wish = intent(
            number,
            job_id=f"job-{self.admitted}",
            request_id=f"{tenant}-{number}",
            tenant=tenant,
            create_time=now,
            lease_until=now + LEASE_SECONDS * SECOND,
            dispatch_time=None if waits else now,
        )
        before = self._jobs_of(wish.request_id)
        try:
            admission = self._on(seat, lambda ledger: ledger.admit(wish, LIMITS))
        except LimitExceeded:
            assert not before
            return
        assert admission.recalled == bool(before)
        if admission.recalled:
            assert admission.record.job_id == before[0]["job_id"]
        else:
            self.gateways[seat].flights.append(Flight(wish, seat, dispatched=not waits))

    # What a gateway does, as long as it lives.

    @precondition(lambda self: self._flights())
    @rule(data=st.data(), steps=st.sampled_from((4, 3, 2, 1)))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        """Bring one of the submits under way further, by a step or several."""
        flight = data.draw(st.sampled_from(self._flights()))
        for _ in range(steps):
            if flight in self.gateways[flight.seat].flights:
                self._step(flight, data)

    def _step(self, flight: Flight, data: st.DataObject) -> None:
        if flight.change is not None:
            self._settle(flight, flight.change)
        elif flight.call is not None:
            answer = data.draw(st.sampled_from(ANSWERS))
            flight.change = flight.call.hear(answer, self.clock())
        elif not flight.dispatched:
            self._dispatch(flight, found=data.draw(st.sampled_from((True, True, False))))
        else:
            self._send(flight)

    def _dispatch(self, flight: Flight, *, found: bool) -> None:
        """Find a place in time, or none. The ledger says whether the call may still go out."""
        job_id = flight.intent.job_id
        if found and self._on(flight.seat, lambda ledger: ledger.dispatch(job_id)):
            flight.dispatched = True
        else:
            flight.change = settlement.never_sent(UpstreamBusy("the job waited for too long"))

    def _send(self, flight: Flight) -> None:
        """Send the call, unless the gateway was held up for longer than its lease."""
        if self.gateways[flight.seat].clock() >= flight.intent.lease_until:
            flight.change = settlement.never_sent(UpstreamBusy("the intent's lease is over"))
            return
        flight.call = Call(flight.intent.job_id, flight.intent.request_id, self.clock())
        self.calls.append(flight.call)

    def _settle(self, flight: Flight, change: Change) -> None:
        """Write down what came of it, however late that is."""
        job_id, tenant = flight.intent.job_id, flight.intent.tenant
        self._on(flight.seat, lambda ledger: ledger.change(job_id, change, tenant=tenant))
        self.gateways[flight.seat].flights.remove(flight)

    @precondition(lambda self: self._flights())
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """Lose everything that is not in the ledger, and start again."""
        self._crash(data.draw(st.sampled_from(self._flights())).seat)

    def _crash(self, seat: int) -> None:
        self.runner.run(self.gateways[seat].store.close())
        self.gateways[seat] = self.runner.run(self._gateway(seat))

    @precondition(lambda self: self.jobs)
    @rule(seat=st.sampled_from(SEATS))
    def look_after(self, seat: int) -> None:
        """Close intents of processes that seem to be gone; forget jobs that ended long ago."""
        self._on(seat, lambda ledger: ledger.close_lapsed(10))
        self._on(seat, lambda ledger: ledger.purge(RETENTION_SECONDS * SECOND, 3))
        self._look()
        kept = {job["job_id"] for job in self.jobs}
        # A call that has not arrived in all that time never will.
        self.calls = [call for call in self.calls if call.job_id in kept]

    @precondition(lambda self: self._in(*OPEN))
    @rule(data=st.data(), seat=st.sampled_from(SEATS))
    def track(self, data: st.DataObject, seat: int) -> None:
        """Find a job at its end."""
        job = data.draw(st.sampled_from(self._in(*OPEN)))
        end = data.draw(st.sampled_from((State.RUNNING, State.SUCCEEDED, State.FAILED)))
        change = Change(end, cause="the service says so", next_poll_time=self.clock())
        self._on(seat, lambda ledger: ledger.change(job["job_id"], change))

    # What the world does.

    @precondition(lambda self: self._arriving())
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        """Let the service take a call, whether anybody listens or not."""
        call = data.draw(st.sampled_from(self._arriving()))
        call.take()

    @precondition(lambda self: self.jobs)
    @rule(seconds=st.sampled_from(PAUSES_SECONDS))
    def let_time_pass(self, seconds: int) -> None:
        """Let leases, signatures, days and retentions end."""
        self.clock.advance(seconds)
        if seconds == LONGEST_PAUSE_SECONDS:
            # A submit has a time limit: none is in memory for a month.
            for gateway in self.gateways:
                gateway.flights.clear()

    # What an operator does.

    @precondition(lambda self: self._in(State.SUBMIT_UNKNOWN))
    @rule(data=st.data(), seat=st.sampled_from(SEATS))
    def resolve(self, data: st.DataObject, seat: int) -> None:
        """Say what became of a job of which nobody knew; the service's own records say it."""
        job = data.draw(st.sampled_from(self._in(State.SUBMIT_UNKNOWN)))
        of_job = [call for call in self.calls if call.job_id == job["job_id"]]
        taken = [call.upstream_job_id for call in of_job if call.upstream_job_id]
        if taken:
            change = Change(State.QUEUED, "resolved", taken[0], next_poll_time=self.clock())
        elif self.clock() - job["update_time"] >= TOO_LATE_SECONDS * SECOND:
            change = Change(State.REJECTED, "never created", failure_code="NEVER_CREATED")
        else:
            return
        self._on(seat, partial(_resolve, job=job, change=change))

    @precondition(lambda self: self._in(State.SUBMIT_UNKNOWN) and self._in(*OPEN))
    @rule(data=st.data(), seat=st.sampled_from(SEATS))
    def resolve_with_a_job_that_is_another_s(self, data: st.DataObject, seat: int) -> None:
        """Name an upstream job that belongs to a job already: it is paid once."""
        job = data.draw(st.sampled_from(self._in(State.SUBMIT_UNKNOWN)))
        other = data.draw(st.sampled_from(self._in(*OPEN)))
        change = Change(State.QUEUED, "resolved", other["upstream_job_id"])
        try:
            self._on(seat, partial(_resolve, job=job, change=change))
        except JobStateConflict:
            return
        raise AssertionError("one upstream job was given to two jobs")

    @invariant()
    def books_agree(self) -> None:
        """No job is made twice or lost, quota is the ledger's sum, and each intent has a lease."""
        self._look()
        assert not self._violations(settled=False)
        for job in self.jobs:
            assert (job["lease_until"] is not None) == (job["state"] == State.SUBMITTING)

    def _settle_everything(self) -> None:
        for seat in SEATS:
            self._crash(seat)
        self.clock.advance(TOO_LATE_SECONDS)
        self._on(0, lambda ledger: ledger.close_lapsed(1000))
        self._look()
        end = Change(State.SUCCEEDED, cause="the service says so")
        for job_id in [job["job_id"] for job in self._in(*OPEN)]:
            self._on(0, partial(_change, job_id=job_id, change=end))
        assert not self._violations(settled=True)

    def _violations(self, *, settled: bool) -> list[Violation]:
        accepted = [
            Accepted(call.upstream_job_id, call.request_id)
            for call in self.calls
            if call.upstream_job_id
        ]
        return Books(self._rows, accepted, (), BOUNDS, settled=settled).violations()

    def _rows(self, query: str) -> list[Mapping[str, Any]]:
        return [dict(row) for row in self.reader.execute(query)]

    def _look(self) -> None:
        self.jobs = self._rows("SELECT * FROM jobs ORDER BY job_id")

    async def _gateway(self, seat: int) -> Gateway:
        def clock() -> int:
            return self.clock() + seat * self.skew

        store = Store(_Unsynced(self.path, timeout_seconds=5.0))
        return Gateway(clock, store, type(self).ledger_of(store, clock))

    def _on(self, seat: int, ask: Callable[[Ledger], Any]) -> Any:
        async def asking() -> Any:
            return await ask(self.gateways[seat].ledger)

        return self.runner.run(asking())

    def _jobs_of(self, request_id: str) -> list[Mapping[str, Any]]:
        return [
            job
            for job in self.jobs
            if job["request_id"] == request_id and job["state"] != State.REJECTED
        ]

    def _in(self, *states: State) -> list[Mapping[str, Any]]:
        return [job for job in self.jobs if job["state"] in states]

    def _flights(self) -> list[Flight]:
        return [flight for gateway in self.gateways for flight in gateway.flights]

    def _arriving(self) -> list[Call]:
        return [call for call in self.calls if call.may_arrive(self.clock())]
