"""Which calls are counted together, and how many records that makes."""

import pytest
from google.rpc import code_pb2

from ims_gateway.identity.principal import Principal
from ims_gateway.telemetry.floods import KINDS, SAMPLES, SINGLE, WINDOW_SECONDS, Floods
from tests.calls import a_call

FARM = Principal("principal/farm", "acme", credential="key/k1")


class Hour:
    """A clock that is told the time."""

    now = 0.0

    def __call__(self):
        """Return the time, in seconds."""
        return self.now


@pytest.fixture
def clock():
    """Return a clock."""
    return Hour()


@pytest.fixture
def floods(clock):
    """Return floods by that clock."""
    return Floods(clock)


def denied(**members):
    """Return a call that was denied."""
    code = members.pop("code", code_pb2.PERMISSION_DENIED)
    reason = members.pop("reason", "POLICY_DENIED")
    call = a_call(**{"principal": FARM, **members})
    call.end(code, reason)
    return call


def flood(floods, count=SINGLE + 5, **members):
    """Let calls of one kind come in; return those that were counted into an aggregate."""
    calls = [denied(id=f"d-{number}", **members) for number in range(count)]
    return [call for call in calls if floods.take(call)]


def test_the_first_ones_stand_singly(floods):
    """And keep their own ids."""
    assert flood(floods, SINGLE) == []
    assert floods.changed() == floods.ended() == []


def test_the_rest_share_the_id_of_one_record(floods):
    """It says whose calls they were, how many, and shows a few."""
    counted = flood(floods, SINGLE + 7)
    (record,) = floods.changed()

    assert {call.id for call in counted} == {record["decision_id"]}
    assert (record["principal"], record["tenant"]) == ("principal/farm", "acme")
    assert (record["code"], record["reason"]) == ("PERMISSION_DENIED", "POLICY_DENIED")
    assert record["count"] == 7
    assert len(record["samples"]) == SAMPLES
    assert record["samples"][0]["credential"] == "key/k1"


@pytest.mark.parametrize(
    "other",
    [
        {"principal": None},
        {"principal": Principal("principal/farm", "globex")},
        {"principal": Principal("principal/other", "acme")},
        {"tenant": "globex"},
        {"method": "imsgateway.v1.JobService/GetJob"},
        {"code": code_pb2.NOT_FOUND},
        {"reason": "OTHER"},
    ],
)
def test_what_differs_is_not_counted_together(floods, other):
    """Tenant, principal, method, code and reason make a kind."""
    flood(floods)
    flood(floods, **other)

    assert len(floods.changed()) == 2


@pytest.mark.parametrize(
    "call",
    [
        {"code": code_pb2.OK, "reason": ""},
        {"code": code_pb2.CANCELLED, "reason": ""},
        {"code": code_pb2.DEADLINE_EXCEEDED, "reason": ""},
        {"quota": "held"},
        {"quota": "committed"},
        {"quota": "released"},
    ],
)
def test_what_was_not_refused_or_had_been_admitted_stands_singly(floods, call):
    """However often: it says what became of a job that may be paid."""
    assert flood(floods, 10 * SINGLE, **call) == []


def test_a_call_refused_by_a_limit_is_counted(floods):
    """It was not admitted."""
    assert len(flood(floods, SINGLE + 1, quota="refused")) == 1


def test_a_window_ends_and_the_next_flood_is_another_record(floods, clock):
    """Each is told of once when it has ended."""
    first = flood(floods)
    assert floods.ended() == []
    clock.now += WINDOW_SECONDS
    second = flood(floods)
    ended = floods.ended()

    assert [record["decision_id"] for record in ended] == [first[0].id]
    assert first[0].id != second[0].id
    assert floods.ended() == []
    clock.now += WINDOW_SECONDS
    assert [record["decision_id"] for record in floods.ended()] == [second[0].id]


def test_only_what_has_changed_is_told_again(floods, clock):
    """The ledger writes nothing for a flood that stands still, and misses no last call."""
    flood(floods)
    assert [record["count"] for record in floods.changed()] == [5]
    assert floods.changed() == []
    flood(floods, 1)
    assert [record["count"] for record in floods.changed()] == [6]
    flood(floods, 1)
    clock.now += WINDOW_SECONDS
    flood(floods, 1)
    assert [record["count"] for record in floods.changed()] == [7]


def test_windows_that_are_over_are_forgotten(floods, clock):
    """A quiet gateway remembers no kinds."""
    flood(floods)
    clock.now += WINDOW_SECONDS
    floods.ended()

    assert not floods._windows


def test_kinds_are_bounded_and_every_call_is_counted(floods):
    """Beyond the bound, callers are not told apart any more."""
    single = 0
    for number in range(KINDS * 3):
        principal = Principal(f"principal/p{number}", "acme")
        single += 2 - len(flood(floods, 2, principal=principal))
    floods.close()
    (record,) = floods.changed()

    assert single == 2 * KINDS + SINGLE
    assert record["count"] + single == 6 * KINDS
    assert (record["principal"], record["reason"]) == ("", "POLICY_DENIED")
    assert record["samples"][0]["principal"].startswith("principal/p")
