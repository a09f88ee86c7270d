"""Changes of state: only those that the table allows, each with the one end of the job's quota."""

import tempfile
from collections import Counter
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from ims_gateway.errors import LimitExceeded, RequestIdReused
from ims_gateway.jobs import rows
from ims_gateway.jobs.states import OPEN, TERMINAL, TRANSITIONS, State
from ims_gateway.quota.limits import CountLimit, RateLimit
from ims_gateway.quota.windows import window_of
from tests.unit.jobs.world import DAILY, NOON, RATE, SECOND, books, intent

TODAY = ("acme", "daily", "day:2026-06-01")
# A way to each state.
WAYS = {
    State.SUBMITTING: (),
    State.SUBMIT_UNKNOWN: (State.SUBMIT_UNKNOWN,),
    State.REJECTED: (State.REJECTED,),
    State.QUEUED: (State.QUEUED,),
    State.RUNNING: (State.QUEUED, State.RUNNING),
    State.CANCELLING: (State.QUEUED, State.CANCELLING),
    State.SUCCEEDED: (State.QUEUED, State.SUCCEEDED),
    State.FAILED: (State.QUEUED, State.FAILED),
    State.CANCELLED: (State.QUEUED, State.CANCELLED),
}


def led_to(ledger_rows, state):
    """Admit a job and lead it to a state."""
    ledger_rows.admit(intent(), DAILY)
    for each in WAYS[state]:
        record, changed = ledger_rows.change("job-0", each)
        assert changed
        assert record.state is each


@pytest.mark.parametrize("before", State, ids=lambda state: state.name)
@pytest.mark.parametrize("after", State, ids=lambda state: state.name)
def test_a_change_happens_if_the_table_allows_it(ledger_rows, before, after):
    """One that comes too late leaves every row as it is, and says so."""
    led_to(ledger_rows, before)
    rows_before = ledger_rows.everything()
    ledger_rows.clock.advance(5)
    record, changed = ledger_rows.change(
        "job-0", after, upstream_job_id="u-1", failure_code="late", next_poll_time=1
    )

    assert changed == (after in TRANSITIONS[before])
    assert record.state is (after if changed else before)
    assert record == rows.find_job(ledger_rows.db, "job-0")
    if changed:
        assert (record.upstream_job_id, record.failure_code) == ("u-1", "late")
        assert record.update_time == NOON + 5 * SECOND
    else:
        assert ledger_rows.everything() == rows_before


HOLDS = {
    State.SUBMITTING: ("held", 1),
    State.SUBMIT_UNKNOWN: ("held", 1),
    State.REJECTED: ("released", 0),
}


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_a_hold_ends_with_the_submit(ledger_rows, state):
    """Held as long as nobody knows, released when nothing was taken, else committed."""
    led_to(ledger_rows, state)
    hold, used = HOLDS.get(state, ("committed", 1))

    assert ledger_rows.all("SELECT state FROM holds") == [(hold,)]
    assert ledger_rows.used() == {TODAY: used}


@pytest.mark.parametrize(
    ("end", "used"), [(State.QUEUED, 1), (State.REJECTED, 0)], ids=["taken", "not taken"]
)
def test_an_unknown_job_s_quota_ends_when_it_is_resolved(ledger_rows, end, used):
    """Either way, once."""
    led_to(ledger_rows, State.SUBMIT_UNKNOWN)
    ledger_rows.change("job-0", end)
    ledger_rows.change("job-0", end)

    assert ledger_rows.used() == {TODAY: used}
    assert ledger_rows.held() == ({TODAY: 1} if used else {})


def test_quota_goes_back_to_the_day_it_was_taken_from(ledger_rows):
    """Also when the answer comes after midnight, and to no other job's or tenant's share."""
    hourly = CountLimit("other", max=9, time_zone="Asia/Tokyo")
    ledger_rows.admit(intent(1), DAILY, hourly)
    ledger_rows.admit(intent(2), DAILY)
    ledger_rows.admit(intent(3, tenant="globex"), DAILY)
    ledger_rows.clock.advance(24 * 3600)
    ledger_rows.admit(intent(4), DAILY)
    ledger_rows.change("job-1", State.REJECTED)

    assert ledger_rows.used() == {
        TODAY: 1,
        ("acme", "other", "day:2026-06-01+09:00"): 0,
        ("globex", "daily", "day:2026-06-01"): 1,
        ("acme", "daily", "day:2026-06-02"): 1,
    }


def test_a_rate_is_not_given_back(ledger_rows):
    """The call was made, whatever the service said to it."""
    ledger_rows.admit(intent(), RATE)
    ledger_rows.change("job-0", State.REJECTED)

    assert ledger_rows.all("SELECT tat FROM rates") == [(NOON + SECOND,)]


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_times_go_with_the_state(ledger_rows, state):
    """An end has its time, an open job the time of its next query, and a lease ends at once."""
    led_to(ledger_rows, State.SUBMITTING)
    for each in WAYS[state]:
        ledger_rows.clock.advance(1)
        ledger_rows.change("job-0", each, next_poll_time=77)
    query = "SELECT create_time, update_time, end_time, lease_until, next_poll_time FROM jobs"
    created, updated, ended, leased, polled = ledger_rows.all(query)[0]

    assert created == NOON
    assert updated == ledger_rows.clock()
    assert ended == (ledger_rows.clock() if state in TERMINAL else None)
    assert (leased is None) == (state is not State.SUBMITTING)
    assert polled == (77 if state in OPEN else None)


def test_a_change_keeps_what_it_does_not_name(ledger_rows):
    """None keeps a value, an empty text replaces it."""
    led_to(ledger_rows, State.SUBMITTING)
    ledger_rows.change("job-0", State.QUEUED, upstream_job_id="u", upstream_request_id="r")
    ledger_rows.change("job-0", State.RUNNING, reply="{}")
    record, _ = ledger_rows.change("job-0", State.FAILED, upstream_request_id="", failure_code="c")

    assert (record.upstream_job_id, record.upstream_request_id) == ("u", "")
    assert (record.reply, record.failure_code, record.failure_message) == ("{}", "c", "")


def test_every_change_is_noted_with_its_cause(ledger_rows):
    """In the order in which they came about."""
    led_to(ledger_rows, State.RUNNING)
    ledger_rows.clock.advance(1)
    ledger_rows.change("job-0", State.SUCCEEDED, cause="the end")

    assert ledger_rows.all("SELECT number, state, time, cause FROM transitions ORDER BY 1") == [
        (0, State.SUBMITTING, NOON, "submit"),
        (1, State.QUEUED, NOON, "test"),
        (2, State.RUNNING, NOON, "test"),
        (3, State.SUCCEEDED, NOON + SECOND, "the end"),
    ]


def test_a_change_of_no_job_is_an_error(ledger_rows):
    """The caller took it from somewhere else than the ledger."""
    with pytest.raises(LookupError):
        ledger_rows.change("nobody", State.QUEUED)


def test_two_jobs_of_one_request_cannot_both_be_written(ledger_rows):
    """Should the recall ever fail to see the first, the database refuses the second."""
    ledger_rows.admit(intent(1))
    with pytest.raises(Exception, match=r"(?i)unique"), ledger_rows.transaction() as db:
        rows.insert_intent(db, intent(1, job_id="job-2"))


PAIR = CountLimit("pair", max=2, time_zone="Asia/Tokyo")
LIMITS = (DAILY, RateLimit("burst", per_second=0.01, burst=4), PAIR)


class Accounts(RuleBasedStateMachine):
    """Any course of admissions and answers, for two tenants, over several days."""

    jobs = Bundle("jobs")

    def __init__(self):
        """Open a ledger's file."""
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.books = self.stack.enter_context(books(folder / "ledger.db"))
        self.states = {}
        self.requests = {}
        self.held = {}

    def teardown(self):
        """Close it."""
        self.stack.close()

    @rule(hours=st.integers(0, 30))
    def let_time_pass(self, hours):
        """Days begin at different times for the two counts."""
        self.books.clock.advance(hours * 3600)

    @rule(
        target=jobs,
        tenant=st.sampled_from(("acme", "globex")),
        request=st.integers(1, 4),
        body=st.sampled_from((b"a body", b"a body", b"another")),
    )
    def admit(self, tenant, request, body):
        """Recalled, refused with nothing charged, or admitted with all of it charged."""
        job_id = f"job-{len(self.states)}"
        wish = intent(request, job_id=job_id, tenant=tenant, body_hash=body)
        known = self.requests.get((tenant, request))
        before = self.books.everything()
        try:
            admitted = self.books.admit(wish, *LIMITS)
        except LimitExceeded:
            assert known is None
            assert self.books.everything() == before
            return multiple()
        except RequestIdReused:
            assert known[1] != body
            assert self.books.everything() == before
            return multiple()
        assert admitted.recalled == (known is not None)
        if admitted.recalled:
            assert (admitted.record.job_id, body) == known
            assert self.books.everything() == before
            return multiple()
        self.states[job_id] = State.SUBMITTING
        self.requests[tenant, request] = (job_id, body)
        self.held[job_id] = [
            (tenant, limit.id, window_of("day", self.books.clock(), limit.time_zone).key)
            for limit in (DAILY, PAIR)
        ]
        return job_id

    @rule(job=jobs, state=st.sampled_from(State))
    def change(self, job, state):
        """Settle, resolve or move on, also what cannot be."""
        before = self.books.everything()
        record, changed = self.books.change(job, state)
        assert changed == (state in TRANSITIONS[self.states[job]])
        if not changed:
            assert self.books.everything() == before
            return
        self.states[job] = record.state
        if state is State.REJECTED:
            del self.held[job]
            self.requests = {key: each for key, each in self.requests.items() if each[0] != job}

    @invariant()
    def counters_are_the_sum_of_what_was_not_released(self):
        """In the books themselves, and as the course of events has it."""
        used = {key: count for key, count in self.books.used().items() if count}
        assert used == self.books.held() == Counter(chain.from_iterable(self.held.values()))

    @invariant()
    def no_limit_is_overspent(self):
        """On no day."""
        most = {limit.id: limit.max for limit in (DAILY, PAIR)}
        assert all(0 <= used <= most[key[1]] for key, used in self.books.used().items())

    @invariant()
    def a_hold_says_where_the_submit_stands(self):
        """Held as long as nobody knows, then committed or released."""
        for job, hold in self.books.all("SELECT job_id, state FROM holds"):
            assert hold == HOLDS.get(self.states[job], ("committed",))[0]


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
