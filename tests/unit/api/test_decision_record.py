"""A record of the decision log, as the contract spells it."""

import json
from contextlib import suppress

from google.rpc import code_pb2

from ims_gateway.api.decision_record import Record, record_message
from ims_gateway.errors import LimitBreach, RateExceeded
from ims_gateway.telemetry.floods import SINGLE, Floods
from tests.calls import a_call
from tests.unit.telemetry.test_call import DECISION, FARM


def ended(**members):
    """Return a call that has ended badly, with all that there is to tell of one."""
    breach = LimitBreach("burst", "submit/rate", 5, "acme", 1.0)
    call = a_call(
        principal=FARM,
        algorithm="cover",
        decision=DECISION,
        job="tenants/acme/jobs/1",
        index=0,
        quota="refused",
        breaches=(breach,),
        paths=("job.cover",),
        upstream_request_id="U-1",
        **members,
    )
    with suppress(RateExceeded), call.step("admit") as step:
        raise RateExceeded((breach,))
    step.began, step.ended = call.started + 5e-6, call.started + 75e-6
    call.end(code_pb2.RESOURCE_EXHAUSTED, "RATE_EXCEEDED")
    return call


def test_every_field_of_a_record_is_in_the_message():
    """Nothing is recorded that an operator cannot read."""
    message = record_message(json.loads(json.dumps(ended(recalled=True).record())))
    unset = {field.name for field in Record.DESCRIPTOR.fields} - {
        field.name for field, _ in message.ListFields()
    }

    # These are for many calls, and for a policy on trial.
    assert unset == {"last_time", "samples", "shadow"}
    assert message.index == 0
    assert message.HasField("index")
    assert message.quota_outcome == Record.QUOTA_OUTCOME_REFUSED
    assert message.policy.failed_dimension == message.policy.DIMENSION_DENY
    assert [each.allowed for each in message.policy.objects] == [True, False]
    assert message.steps[0].duration.ToMicroseconds() == 70
    assert message.steps[0].start_offset.ToMicroseconds() == 5
    assert message.rule == "r2"


def test_a_difference_of_a_policy_on_trial_is_shown():
    """With what it would have said."""
    shadow = {"allowed": False, "dimension": "READ", "rule": "s1"}
    message = record_message({"policy": {"allowed": True, "shadow": shadow}})

    assert (message.shadow.allowed, message.shadow.rule) == (False, "s1")
    assert message.shadow.failed_dimension == message.policy.DIMENSION_READ


def test_an_aggregate_shows_its_samples():
    """As records of their own, without what they share."""
    floods = Floods(lambda: 0.0)
    for _ in range(SINGLE + 2):
        floods.take(ended())
    (facts,) = floods.changed()
    message = record_message(json.loads(json.dumps(facts)))

    assert message.count == 2
    assert message.last_time.ToSeconds() == message.time.ToSeconds()
    assert [sample.algorithm for sample in message.samples] == ["cover", "cover"]


def test_a_record_of_another_version_is_read_as_far_as_it_goes():
    """Fields that are missing stay unset, words that are not known count for nothing."""
    message = record_message(
        {"decision_id": "d-1", "new": 1, "policy": {"allowed": True, "dimension": "NEW"}}
    )

    assert (message.decision_id, message.count, message.policy.allowed) == ("d-1", 1, True)
    assert not message.HasField("time")
