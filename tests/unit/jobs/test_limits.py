"""Every limit that covers a job applies to it, counts what it says, and changes lose nothing."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ims_gateway.errors import LimitExceeded, QuotaExceeded, RateExceeded
from ims_gateway.jobs import audit, usage
from ims_gateway.jobs.database import database
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.purge import purge_ended
from ims_gateway.jobs.states import State
from ims_gateway.jobs.store import Store
from ims_gateway.quota.limits import (
    BudgetLimit,
    ConcurrencyLimit,
    CountLimit,
    RateLimit,
    Scope,
)
from tests.unit.jobs.world import DAILY, NOON, SECOND, emptied, intent

HOUR = 3600 * SECOND
EACH = Scope(per=frozenset({"principal", "algorithm"}))
OPEN = ConcurrencyLimit("open", max=2)
SPEND = BudgetLimit("spend", max=100, time_zone="UTC", alerts=(50, 80))


def by(principal, number, algorithm="cover", **more):
    """Return the intent of a principal."""
    name = f"principal/{principal}"
    return intent(number, principal=name, algorithm=algorithm, **more)


def test_a_limit_for_each_principal_is_counted_for_each(ledger_rows):
    """One that has used its own up does not keep the others from theirs."""
    one = CountLimit("each", max=1, time_zone="UTC", scope=Scope(per=frozenset({"principal"})))
    ledger_rows.admit(by("farm", 1), one)
    ledger_rows.admit(by("desk", 2), one)
    with pytest.raises(QuotaExceeded) as raised:
        ledger_rows.admit(by("farm", 3), one)

    (breach,) = raised.value.breaches
    assert breach.dimensions == (("principal", "farm"),)


@pytest.mark.parametrize("kind", ["rate", "count", "open", "budget"])
def test_every_kind_is_counted_by_principal_and_algorithm(ledger_rows, kind):
    """And a refusal says for which of them."""
    limit = {
        "rate": RateLimit("each", per_second=0.001, burst=1, scope=EACH),
        "count": CountLimit("each", max=1, time_zone="UTC", scope=EACH),
        "open": ConcurrencyLimit("each", max=1, scope=EACH),
        "budget": BudgetLimit("each", max=7, time_zone="UTC", scope=EACH),
    }[kind]
    for number, (who, what) in enumerate([("a", "cover"), ("a", "video_clip"), ("b", "cover")]):
        ledger_rows.admit(by(who, number, what, cost=7), limit)
    with pytest.raises(LimitExceeded) as raised:
        ledger_rows.admit(by("b", 9, "cover", cost=7), limit)

    assert raised.value.breaches[0].dimensions == (("algorithm", "cover"), ("principal", "b"))


def test_a_limit_applies_to_nobody_whom_it_does_not_cover(ledger_rows):
    """Neither is it charged for them, nor do they hear of it."""
    scope = Scope(principals=frozenset({"farm"}), algorithms=frozenset({"cover"}))
    none = CountLimit("none", max=0, time_zone="UTC", scope=scope)
    assert ledger_rows.admit(by("desk", 1), none).limits == ()
    assert ledger_rows.admit(by("farm", 2, "video_clip"), none).limits == ()
    with pytest.raises(QuotaExceeded):
        ledger_rows.admit(by("farm", 3), none)


@pytest.mark.parametrize(
    "tight",
    [
        RateLimit("tight", per_second=0.001, burst=1),
        CountLimit("tight", max=1, time_zone="UTC", unit="month"),
        ConcurrencyLimit("tight", max=1),
        BudgetLimit("tight", max=7, time_zone="UTC"),
    ],
    ids=lambda limit: limit.metric,
)
def test_a_refusal_by_any_kind_changes_no_counter_of_another(ledger_rows, tight):
    """All or nothing."""
    wide = (
        RateLimit("rate", per_second=1.0, burst=9),
        CountLimit("hourly", max=9, time_zone="UTC", unit="hour"),
        ConcurrencyLimit("open", max=9),
        BudgetLimit("spend", max=999, time_zone="UTC"),
    )
    ledger_rows.admit(intent(1, cost=7), *wide, tight)
    before = ledger_rows.everything()
    with pytest.raises(LimitExceeded) as raised:
        ledger_rows.admit(intent(2, cost=7), *wide, tight)

    assert [breach.limit_id for breach in raised.value.breaches] == ["tight"]
    assert ledger_rows.everything() == before


ENDS = {
    "rejected": (State.REJECTED,),
    "succeeded": (State.QUEUED, State.RUNNING, State.SUCCEEDED),
    "failed": (State.QUEUED, State.FAILED),
    "cancelled": (State.QUEUED, State.CANCELLING, State.CANCELLED),
    "unknown, then rejected": (State.SUBMIT_UNKNOWN, State.REJECTED),
    "unknown, then taken, then ended": (State.SUBMIT_UNKNOWN, State.QUEUED, State.SUCCEEDED),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_place_among_open_jobs_is_free_again_when_the_job_has_ended(ledger_rows, end):
    """And not before; a job of which nobody knows keeps it."""
    one = ConcurrencyLimit("open", max=1)
    ledger_rows.admit(intent(1), one, DAILY)
    for state in ENDS[end]:
        with pytest.raises(QuotaExceeded):
            ledger_rows.admit(intent(2), one, DAILY)
        ledger_rows.change("job-1", state)
    ledger_rows.admit(intent(2), one, DAILY)

    counted = 1 if "rejected" in end else 2
    assert sum(used for key, used in ledger_rows.used().items() if key[1] == "daily") == counted
    assert audit.differences(ledger_rows.db) == audit.misplaced_holds(ledger_rows.db) == []


def test_a_job_that_was_rejected_returns_everything(ledger_rows):
    """Count, money and its place; an unknown one returns nothing."""
    limits = (DAILY, OPEN, SPEND)
    ledger_rows.admit(intent(1, cost=60), *limits)
    ledger_rows.change("job-1", State.SUBMIT_UNKNOWN)
    assert sorted(ledger_rows.used().values()) == [1, 1, 60]
    ledger_rows.change("job-1", State.REJECTED)

    assert sorted(ledger_rows.used().values()) == [0, 0, 0]


def test_a_budget_takes_what_each_job_costs(ledger_rows):
    """To its last unit, and what costs nothing fits even then."""
    ledger_rows.admit(intent(1, cost=70), SPEND)
    with pytest.raises(QuotaExceeded) as raised:
        ledger_rows.admit(intent(2, cost=31), SPEND)
    assert raised.value.retry_after_seconds is not None
    admitted = ledger_rows.admit(intent(3, cost=30), SPEND)

    assert (admitted.limits[0].used, admitted.limits[0].remaining) == (100, 0)
    ledger_rows.admit(intent(4, cost=0), SPEND)


def test_to_wait_for_a_budget_that_is_smaller_than_the_job_does_not_help(ledger_rows):
    """So the caller is not told to."""
    with pytest.raises(QuotaExceeded) as raised:
        ledger_rows.admit(intent(1, cost=101), SPEND)

    assert raised.value.retry_after_seconds is None


def test_an_alert_is_reached_by_one_job(ledger_rows):
    """The one that takes the budget to it; of two at once, the larger is said."""
    costs = (49, 1, 29, 21)
    alerts = [
        ledger_rows.admit(intent(number, cost=cost), SPEND).limits[0].alert
        for number, cost in enumerate(costs)
    ]
    assert alerts == [None, 50, None, 80]


def test_a_limit_on_trial_counts_and_refuses_nothing(ledger_rows):
    """Of every kind; each says that it had no room."""
    limits = (
        RateLimit("rate", per_second=0.001, burst=1, shadow=True),
        CountLimit("daily", max=1, time_zone="UTC", shadow=True),
        ConcurrencyLimit("open", max=1, shadow=True),
        BudgetLimit("spend", max=7, time_zone="UTC", shadow=True),
    )
    ledger_rows.admit(intent(1, cost=7), *limits)
    admitted = ledger_rows.admit(intent(2, cost=7), *limits)

    assert [limit.remaining for limit in admitted.limits] == [-1, -1, -1, -1]
    assert sorted(ledger_rows.used().values()) == [2, 2, 14]


def test_a_trial_that_ends_keeps_what_was_counted(ledger_rows):
    """From the next admission on it is enforced."""
    ledger_rows.admit(intent(1), CountLimit("daily", max=1, time_zone="UTC", shadow=True))
    with pytest.raises(QuotaExceeded):
        ledger_rows.admit(intent(2), CountLimit("daily", max=1, time_zone="UTC"))


# What a limit of three is changed to, by somebody who has submitted three jobs today.
CHANGES = {
    "another zone": CountLimit("daily", max=3, time_zone="Asia/Tokyo"),
    "counted for each": CountLimit("daily", max=3, time_zone="UTC", scope=EACH),
    "a month": CountLimit("daily", max=3, time_zone="UTC", unit="month"),
    "open jobs": ConcurrencyLimit("daily", max=3),
    "a budget": BudgetLimit("daily", max=30, time_zone="UTC"),
    "another name": CountLimit("renamed", max=3, time_zone="UTC"),
    "some algorithms": CountLimit(
        "daily", max=3, time_zone="UTC", scope=Scope(algorithms=frozenset({"cover"}))
    ),
    "a smaller one": CountLimit("daily", max=1, time_zone="UTC"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_limit_loses_nothing_of_what_was_used(ledger_rows, change):
    """It applies from the next admission on, to the jobs that there were."""
    for number in range(3):
        ledger_rows.admit(intent(number, cost=10), DAILY)
    ledger_rows.change("job-0", State.QUEUED)
    with pytest.raises(QuotaExceeded):
        ledger_rows.admit(intent(3, cost=10), CHANGES[change])

    assert audit.differences(ledger_rows.db) == []
    # A job that turns out not to have been taken gives back what it holds by now.
    ledger_rows.change("job-1", State.REJECTED)
    ledger_rows.change("job-2", State.REJECTED)
    if change != "a smaller one":
        ledger_rows.admit(intent(4, cost=10), CHANGES[change])
    assert audit.differences(ledger_rows.db) == []


def test_a_limit_that_was_away_counts_what_was_submitted_meanwhile(ledger_rows):
    """Also jobs that were admitted without it."""
    ledger_rows.admit(intent(1), DAILY)
    ledger_rows.admit(intent(2))
    ledger_rows.admit(intent(3))
    with pytest.raises(QuotaExceeded):
        ledger_rows.admit(intent(4), DAILY)


def test_a_change_counts_purged_jobs_too(ledger_rows):
    """By the hour in which they were submitted, in every time zone."""
    monthly = CountLimit("monthly", max=3, time_zone="UTC", unit="month")
    for number in range(3):
        ledger_rows.admit(intent(number, cost=5), monthly)
        for state in (State.QUEUED, State.SUCCEEDED):
            ledger_rows.change(f"job-{number}", state)
    with ledger_rows.transaction() as db:
        assert purge_ended(db, ledger_rows.clock(), 99) == 3
    for changed in (
        CountLimit("monthly", max=3, time_zone="Asia/Tokyo", unit="month"),
        BudgetLimit("monthly", max=15, time_zone="UTC", unit="month", scope=EACH),
        monthly,
    ):
        with pytest.raises(QuotaExceeded):
            ledger_rows.admit(intent(9, cost=5), changed)
        assert audit.differences(ledger_rows.db) == []


LIMITS = st.sampled_from([*CHANGES.values(), DAILY, OPEN, SPEND])
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("admit"), st.sampled_from("ab"), st.sampled_from(["cover", "video_clip"])
        ),
        st.tuples(st.just("change"), st.integers(0, 9), st.sampled_from(State)),
        st.tuples(st.just("limits"), st.lists(LIMITS, max_size=3, unique_by=lambda each: each.id)),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 5, 13, 24, 300])),
        st.tuples(st.just("purge")),
    ),
    max_size=30,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_no_course_of_events_parts_counters_from_the_ledger(file_rows, steps):
    """Limits come, go and change; jobs start, end and are purged."""
    emptied(file_rows)
    limits, jobs = [], 0
    for step in steps:
        match step:
            case ("admit", who, what):
                wish = by(who, jobs, what, cost=10, create_time=file_rows.clock())
                try:
                    file_rows.admit(wish, *limits)
                    jobs += 1
                except LimitExceeded:
                    pass
            case ("change", number, state):
                if (f"job-{number}",) in file_rows.all("SELECT job_id FROM jobs"):
                    file_rows.change(f"job-{number}", state)
            case ("limits", chosen):
                limits = chosen
            case ("pass", hours):
                file_rows.clock.advance(hours * 3600)
            case ("purge",):
                with file_rows.transaction() as db:
                    purge_ended(db, file_rows.clock(), 99)
        assert audit.differences(file_rows.db) == audit.misplaced_holds(file_rows.db) == []
        assert all(used >= 0 for used in file_rows.used().values())


@pytest.mark.parametrize("step_hours", [-1, 1])
def test_a_clock_that_steps_an_hour_neither_frees_nor_shuts_a_day(ledger_rows, step_hours):
    """Over midnight it is another day's count; back again, it is the one that there was."""
    one = CountLimit("daily", max=1, time_zone="UTC")
    ledger_rows.clock.now = NOON + 12 * HOUR + (-HOUR // 2 if step_hours > 0 else HOUR // 2)
    ledger_rows.admit(intent(1), one)
    ledger_rows.clock.advance(step_hours * 3600)
    ledger_rows.admit(intent(2), one)
    ledger_rows.clock.advance(-step_hours * 3600)
    with pytest.raises(QuotaExceeded):
        ledger_rows.admit(intent(3), one)


async def test_replicas_whose_clocks_differ_share_one_rate(postgresql):
    """It goes by the database's time: the one that is ahead would fill the bucket up for all."""
    rate = RateLimit("rate", per_second=0.001, burst=5)
    url = postgresql.new_database()
    stores = [Store(database(url), keeps_time=True) for _ in range(2)]
    try:
        ledgers = [
            Ledger(store, lambda ahead=ahead: NOON + ahead * HOUR)
            for store, ahead in zip(stores, (0, 1), strict=True)
        ]
        admitted = 0
        for number in range(40):
            try:
                await ledgers[number % 2].admit(intent(number, job_id=f"skewed-{number}"), (rate,))
                admitted += 1
            except RateExceeded:
                continue
        assert admitted == rate.burst
    finally:
        for store in stores:
            await store.close()


async def test_a_full_rate_is_refused_without_the_ledger_until_it_has_room(ledger, store, clock):
    """To the microsecond; and a changed limit is asked about at once."""
    rate = RateLimit("rate", per_second=1.0, burst=1)
    await ledger.admit(intent(1), (rate,))
    with pytest.raises(RateExceeded):
        await ledger.admit(intent(2), (rate,))
    await store.close()
    clock.advance(0.999999)
    with pytest.raises(RateExceeded) as raised:
        await ledger.admit(intent(2), (rate,))

    assert raised.value.retry_after_seconds == 0.000001


async def test_a_job_that_is_known_is_recalled_although_the_rate_is_full(ledger):
    """Its caller asks again, and takes nothing."""
    rate = RateLimit("rate", per_second=0.001, burst=1)
    await ledger.admit(intent(1), (rate,))
    with pytest.raises(RateExceeded):
        await ledger.admit(intent(2), (rate,))

    assert (await ledger.admit(intent(1, job_id="again"), (rate,))).recalled


async def test_a_raised_rate_is_not_refused_from_memory(ledger):
    """It is another limit than the one that had no room."""
    await ledger.admit(intent(1), (RateLimit("rate", per_second=0.001, burst=1),))
    with pytest.raises(RateExceeded):
        await ledger.admit(intent(2), (RateLimit("rate", per_second=0.001, burst=1),))

    await ledger.admit(intent(2), (RateLimit("rate", per_second=0.001, burst=2),))


async def test_usage_is_what_the_limits_have_given(ledger):
    """Of rates too; one that counts for each caller has an entry for each that came."""
    rate = RateLimit("rate", per_second=0.001, burst=10)
    each = CountLimit("each", max=9, time_zone="UTC", scope=EACH)
    limits = (rate, DAILY, each, OPEN, SPEND)
    assert [found.used for found in await ledger.usage("acme", limits)] == [0, 0, 0, 0]
    await ledger.admit(by("farm", 1, cost=3), limits)
    await ledger.admit(by("desk", 2, cost=4), limits)

    found = [(each.limit_id, each.used) for each in await ledger.usage("acme", limits)]
    assert found == [("rate", 2), ("daily", 2), ("each", 1), ("each", 1), ("open", 2), ("spend", 7)]


def test_history_has_jobs_by_day_and_algorithm_also_purged_ones(ledger_rows):
    """Those that were rejected were never used."""
    for number, algorithm in enumerate(("cover", "cover", "video_clip", "cover")):
        ledger_rows.admit(by("farm", number, algorithm, cost=5))
    ledger_rows.change("job-3", State.REJECTED)
    for state in (State.QUEUED, State.SUCCEEDED):
        ledger_rows.change("job-0", state)
    today = DAILY.window(NOON)
    before = usage.history(ledger_rows.db, "acme", [today])
    with ledger_rows.transaction() as db:
        purge_ended(db, ledger_rows.clock(), 99)

    (found,) = before.windows
    assert found == {"cover": usage.Used(2, 10), "video_clip": usage.Used(1, 5)}
    after = usage.history(ledger_rows.db, "acme", [today, DAILY.window(NOON - 24 * HOUR)])
    assert after.windows == (found, {})
