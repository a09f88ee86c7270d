"""How the ledger stands, as metrics: what is counted, of whom, and what no round could find out."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.census import Census, Group
from ims_gateway.jobs.states import State
from ims_gateway.quota.charges import LimitState
from ims_gateway.telemetry import standings
from ims_gateway.telemetry.meters import Meters
from ims_gateway.telemetry.prometheus import PrometheusReader, family
from ims_gateway.telemetry.standings import Standings
from tests.tenants import a_tenant, directory_of

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


class Ledger:
    """A ledger at the far side of the wire: it says what it is told to, or is away."""

    def __init__(self):
        self.asked = []
        self.away = False
        self.census_is = Census(NOW, {}, {}, {})
        self.limits = ()

    async def census(self):
        """Return what there is."""
        if self.away:
            raise StoreUnavailable("the ledger cannot be read")
        return self.census_is

    async def usage(self, tenant, limits):
        """Return what is used of the limits."""
        self.asked.append((tenant, limits))
        return self.limits


class Scene:
    """A ledger, its tenants, and what the metrics show of it."""

    def __init__(self, names=("acme",)):
        self.ledger = Ledger()
        self.known = list(names)
        directory = directory_of([a_tenant(name) for name in names])
        self.standings = Standings(self.ledger, {"main"}, lambda: self.known, lambda: directory)
        self.reader = PrometheusReader()
        provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.standings.show(Meters(provider))

    def shown(self, name):
        """Return the samples of a metric by their labels' values."""
        data = self.reader.get_metrics_data()
        return {
            tuple(sample.labels.values()): sample.value
            for of_resource in (data.resource_metrics if data else ())
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
            for sample in family(metric).samples
            if sample.name == name
        }


def limit(limit_id, value, remaining, **more):
    """Return a limit as it stands."""
    return LimitState(limit_id, "submit/day", value, remaining, 0, **more)


async def test_states_without_jobs_are_shown_as_nothing():
    """An absent series would be one of which nobody knows."""
    scene = Scene()
    scene.ledger.census_is = Census(
        NOW, {State.QUEUED: Group(7, NOW - 90 * SECOND)}, {State.SUBMIT_UNKNOWN: 2}, {}
    )
    await scene.standings.round()
    jobs = scene.shown("imsgateway_jobs")
    assert jobs.pop(("QUEUED",)) == 7
    assert jobs == dict.fromkeys(
        [("SUBMITTING",), ("RUNNING",), ("CANCELLING",), ("SUBMIT_UNKNOWN",)], 0
    )
    ages = scene.shown("imsgateway_jobs_oldest_age_seconds")
    assert (ages["QUEUED",], ages["RUNNING",]) == (90, 0)
    assert scene.shown("imsgateway_quota_holds") == {("SUBMIT_UNKNOWN",): 2}


@pytest.mark.parametrize(
    ("due", "late"),
    [({}, 0), ({"main": NOW - 5 * SECOND}, 5), ({"main": NOW + SECOND}, 0), ({"gone": NOW - 1}, 0)],
)
async def test_lag_is_that_of_the_most_overdue_poll(due, late):
    """Of an account that is configured: nobody can poll for another, and the log says so."""
    scene = Scene()
    scene.ledger.census_is = Census(NOW, {}, {}, due)
    await scene.standings.round()
    assert scene.shown("imsgateway_tracker_lag_seconds") == {(): late}


async def test_least_that_is_left_of_a_limit_is_shown():
    """Where it is counted for each principal; what is on trial is nobody's limit yet."""
    scene = Scene()
    scene.ledger.limits = (
        limit("each", 10, 4, dimensions=(("principal", "a"),)),
        limit("each", 10, 1, dimensions=(("principal", "b"),)),
        limit("full", 10, -1),
        limit("trial", 10, 3, shadow=True),
    )
    await scene.standings.round()
    left = scene.shown("imsgateway_quota_remaining")
    assert left == {("each", "acme"): 1, ("full", "acme"): 0}
    assert scene.shown("imsgateway_quota_limit") == {("each", "acme"): 10, ("full", "acme"): 10}


async def test_ledger_that_is_away_leaves_no_old_numbers():
    """They would look like good ones."""
    scene = Scene()
    await scene.standings.round()
    assert scene.shown("imsgateway_jobs")
    scene.ledger.away = True
    with pytest.raises(StoreUnavailable):
        await scene.standings.round()
    assert scene.shown("imsgateway_jobs") == scene.shown("imsgateway_tracker_lag_seconds") == {}


async def test_many_tenants_take_turns():
    """A round asks the ledger about so many of them and no more, and leaves none out."""
    names = [f"t{number}" for number in range(2 * standings.TENANTS_AT_ONCE + 7)]
    scene = Scene(names)
    for _ in range(3):
        await scene.standings.round()
    assert [name for name, _ in scene.ledger.asked] == names


async def test_tenants_on_file_cost_nothing():
    """Of 100,000 only those are asked about that have called."""
    scene = Scene([f"t{number}" for number in range(100_000)])
    scene.known = ["t7"]
    scene.ledger.limits = (limit("daily", 10, 4),)
    await scene.standings.round()
    await scene.standings.round()
    assert {name for name, _ in scene.ledger.asked} == {"t7"}
    assert scene.shown("imsgateway_quota_limit") == {("daily", "t7"): 10}


async def test_tenant_that_is_gone_is_shown_no_more():
    """Its file was taken away; its name is known still."""
    scene = Scene()
    scene.known = ["acme", "gone"]
    scene.ledger.limits = (limit("daily", 10, 4),)
    await scene.standings.round()
    assert scene.shown("imsgateway_quota_limit").keys() == {("daily", "acme")}
