"""Admission takes all that a job needs or nothing, and gives it back where nothing came of it."""

import pytest

from ims_gateway.errors import QuotaExceeded, RateExceeded, RequestIdReused
from ims_gateway.jobs import admission
from ims_gateway.jobs.states import State
from ims_gateway.quota.limits import CountLimit, RateLimit
from tests.unit.jobs.world import DAILY, NOON, RATE, SECOND, intent

MIDNIGHT = NOON + 12 * 3600 * SECOND
TODAY = ("acme", "daily", "day:2026-06-01")


def test_an_intent_becomes_a_job_that_holds_its_quota(ledger_rows):
    """The record is what was wished for; each limit says what it has left."""
    admitted = ledger_rows.admit(intent(1), RATE, DAILY)

    assert not admitted.recalled
    assert (admitted.record.state, admitted.record.create_time) == (State.SUBMITTING, NOON + 1)
    assert admitted.record.name == "tenants/acme/jobs/job-1"
    assert [
        (each.limit_id, each.metric, each.value, each.remaining) for each in admitted.limits
    ] == [
        ("burst", "submit/rate", 2, 1),
        ("daily", "submit/day", 3, 2),
    ]
    assert [each.reset_time for each in admitted.limits] == [NOON + SECOND, MIDNIGHT]
    assert ledger_rows.used() == ledger_rows.held() == {TODAY: 1}
    assert ledger_rows.all("SELECT tat FROM rates") == [(NOON + SECOND,)]
    assert ledger_rows.all("SELECT job_id, number, state, cause FROM transitions") == [
        ("job-1", 0, State.SUBMITTING, "submit")
    ]


def test_a_job_without_limits_is_admitted(ledger_rows):
    """A tenant need not have any."""
    assert ledger_rows.admit(intent()).limits == ()


EMPTY = CountLimit("empty", max=0, time_zone="UTC")
SLOW = RateLimit("slow", per_second=0.5, burst=1)


@pytest.mark.parametrize(
    "limits", [(DAILY, RATE, SLOW), (SLOW, RATE, DAILY)], ids=["last", "first"]
)
def test_a_refusal_by_one_limit_charges_no_other(ledger_rows, limits):
    """Whether the one without room is looked at first or last."""
    ledger_rows.admit(intent(1), *limits)
    before = ledger_rows.everything()

    with pytest.raises(RateExceeded) as raised:
        ledger_rows.admit(intent(2), *limits)
    assert [breach.limit_id for breach in raised.value.breaches] == ["slow"]
    assert ledger_rows.everything() == before


@pytest.mark.parametrize("limits", [(RATE, EMPTY), (EMPTY, RATE)], ids=["last", "first"])
def test_a_refusal_by_a_count_charges_no_rate(ledger_rows, limits):
    """Not even a row is made."""
    with pytest.raises(QuotaExceeded):
        ledger_rows.admit(intent(), *limits)

    assert ledger_rows.everything() == []


def test_all_limits_without_room_are_named(ledger_rows):
    """As quota, since to wait for the rate alone would not help."""
    one = CountLimit("one", max=1, time_zone="UTC")
    ledger_rows.admit(intent(1), SLOW, one, RATE)
    with pytest.raises(QuotaExceeded) as raised:
        ledger_rows.admit(intent(2), SLOW, one, RATE)

    first, second = raised.value.breaches
    assert (first.limit_id, first.metric, first.value, first.tenant) == (
        "slow",
        "submit/rate",
        1,
        "acme",
    )
    assert (second.limit_id, second.metric, second.value) == ("one", "submit/day", 1)
    assert first.retry_after_seconds == 2.0
    assert second.retry_after_seconds == (MIDNIGHT - NOON) / SECOND
    assert raised.value.retry_after_seconds == (MIDNIGHT - NOON) / SECOND


def test_to_wait_for_a_count_of_nothing_does_not_help(ledger_rows):
    """So the caller is not told to."""
    with pytest.raises(QuotaExceeded) as raised:
        ledger_rows.admit(intent(), EMPTY)

    assert raised.value.retry_after_seconds is None


def test_a_rate_has_room_after_the_time_that_the_refusal_names(ledger_rows):
    """And not a microsecond earlier."""
    for number in range(2):
        ledger_rows.admit(intent(number), RATE)
    ledger_rows.clock.advance(0.25)
    with pytest.raises(RateExceeded) as raised:
        ledger_rows.admit(intent(2), RATE)
    assert raised.value.retry_after_seconds == 0.75

    ledger_rows.clock.advance(0.749999)
    with pytest.raises(RateExceeded):
        ledger_rows.admit(intent(2), RATE)
    ledger_rows.clock.advance(0.000001)
    assert ledger_rows.admit(intent(2), RATE).record.job_id == "job-2"


def test_a_step_back_of_the_clock_shuts_nobody_out_for_its_length(ledger_rows):
    """What the ledger keeps of a rate is mended by the first call after the step."""
    for number in range(2):
        ledger_rows.admit(intent(number), RATE)
    ledger_rows.clock.advance(-24 * 3600)
    ledger_rows.admit(intent(2), RATE)
    with pytest.raises(RateExceeded) as raised:
        ledger_rows.admit(intent(3), RATE)
    assert raised.value.retry_after_seconds == 1.0

    ledger_rows.clock.advance(2)
    for number in (3, 4):
        ledger_rows.admit(intent(number), RATE)


def test_a_count_begins_anew_with_the_tenant_s_day(ledger_rows):
    """The last microsecond of a day is charged to it, the first of the next to the next."""
    one = CountLimit("daily", max=1, time_zone="Asia/Shanghai")
    ledger_rows.clock.now = NOON + 4 * 3600 * SECOND - 1
    ledger_rows.admit(intent(1), one)
    with pytest.raises(QuotaExceeded) as raised:
        ledger_rows.admit(intent(2), one)
    assert raised.value.retry_after_seconds == 0.000001

    ledger_rows.clock.now += 1
    ledger_rows.admit(intent(2), one)
    assert sorted(period for _, _, period in ledger_rows.used()) == [
        "day:2026-06-01+08:00",
        "day:2026-06-02+08:00",
    ]


def test_tenants_share_no_limit(ledger_rows):
    """Limits of one name in two tenants are two limits."""
    ledger_rows.admit(intent(1), SLOW, DAILY)
    ledger_rows.admit(intent(2, tenant="globex"), SLOW, DAILY)

    assert sorted(ledger_rows.used().values()) == [1, 1]


def test_the_same_request_gets_the_job_that_exists_and_pays_nothing(ledger_rows):
    """Also when the limit has no room any more."""
    first = ledger_rows.admit(intent(1), SLOW, DAILY)
    before = ledger_rows.everything()
    again = ledger_rows.admit(intent(1, job_id="job-2", principal="principal/desk"), SLOW, DAILY)

    assert again.recalled
    assert again.record == first.record
    assert again.limits == ()
    assert ledger_rows.everything() == before


def test_the_same_request_id_with_another_body_is_refused(ledger_rows):
    """And costs nothing."""
    ledger_rows.admit(intent(1), DAILY)
    before = ledger_rows.everything()
    with pytest.raises(RequestIdReused):
        ledger_rows.admit(intent(1, job_id="job-2", body_hash=b"another"), DAILY)

    assert ledger_rows.everything() == before


def test_a_request_id_is_the_tenant_s_own(ledger_rows):
    """Another tenant's job is neither found nor in the way."""
    ledger_rows.admit(intent(1))
    other = ledger_rows.admit(intent(2, tenant="globex", request_id="request-1", body_hash=b"x"))

    assert not other.recalled


@pytest.mark.parametrize(
    "states",
    [
        (State.SUBMIT_UNKNOWN,),
        (State.QUEUED, State.RUNNING, State.SUCCEEDED),
        (State.QUEUED, State.FAILED),
        (State.QUEUED, State.CANCELLING, State.CANCELLED),
    ],
    ids=lambda states: states[-1].name,
)
def test_a_job_that_may_have_been_taken_keeps_its_request_id(ledger_rows, states):
    """Whatever became of it, the same request is the same job."""
    ledger_rows.admit(intent(1))
    for state in states:
        ledger_rows.change("job-1", state)
    again = ledger_rows.admit(intent(1, job_id="job-2"))

    assert (again.recalled, again.record.job_id) == (True, "job-1")


def test_a_rejected_job_gives_up_its_request_id(ledger_rows):
    """The service took nothing, so the same call may be made again, and fail again."""
    for number in range(3):
        admitted = ledger_rows.admit(intent(1, job_id=f"try-{number}"), DAILY)
        assert not admitted.recalled
        ledger_rows.change(f"try-{number}", State.REJECTED)

    assert ledger_rows.used() == {TODAY: 0}
    assert admission.recall(ledger_rows.db, "acme", "request-1", b"another body") is None


def test_recall_finds_the_job_of_a_request(ledger_rows):
    """Or nothing, or that the body is another."""
    record = ledger_rows.admit(intent(1)).record

    assert admission.recall(ledger_rows.db, "acme", "request-1", b"a body") == record
    assert admission.recall(ledger_rows.db, "acme", "request-2", b"a body") is None
    assert admission.recall(ledger_rows.db, "globex", "request-1", b"a body") is None
    with pytest.raises(RequestIdReused):
        admission.recall(ledger_rows.db, "acme", "request-1", b"another")


def preview(ledger_rows, *limits):
    """Return the limits as one more job would leave them."""
    demand = intent().demand
    charges, _ = admission.charges_of(ledger_rows.db, demand, limits, ledger_rows.clock())
    return tuple(charge.state for charge in charges)


def test_a_preview_says_what_would_be_left_and_writes_nothing(ledger_rows):
    """What the next admission then finds is what it said."""
    said = preview(ledger_rows, RATE, DAILY)
    assert ledger_rows.everything() == []

    assert ledger_rows.admit(intent(), RATE, DAILY).limits == said


def test_a_preview_of_a_limit_without_room_has_less_than_nothing_left(ledger_rows):
    """For a rate and for a count, also one that was lowered below what is used."""
    for number in range(2):
        ledger_rows.admit(intent(number), RATE, DAILY)
    lowered = CountLimit("daily", max=1, time_zone="UTC")
    said = preview(ledger_rows, RATE, lowered)

    assert [each.remaining for each in said] == [-1, -1]
    with pytest.raises(QuotaExceeded):
        ledger_rows.admit(intent(2), RATE, lowered)
