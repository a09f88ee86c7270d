"""What the gateway's books say of a job is shown as the contract's JobTrace."""

from ims_gateway.api.job_trace_message import job_trace_message
from ims_gateway.job_trace import JobTrace
from ims_gateway.jobs.course import Course, Transition
from ims_gateway.jobs.states import State
from imsgateway.v1.job_trace_pb2 import JobTrace as Message
from tests.unit.api.test_job_message import CREATED, record

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
COURSE = Course(
    dispatch_time=CREATED,
    next_poll_time=CREATED + 9,
    transitions=[
        Transition(State.SUBMITTING, CREATED, "submit"),
        Transition(State.SUBMIT_UNKNOWN, CREATED + 1, ""),
    ],
)


def kept(**changes):
    """Return a decision record as the ledger has it, and as a version before offsets wrote it."""
    members = {
        "time": 1_780_315_200.1,
        "duration_us": 70,
        "code": "UNKNOWN",
        "reason": "SUBMIT_OUTCOME_UNKNOWN",
        "steps": [{"step": "admit", "outcome": "ok", "us": 7}],
    }
    return members | changes


def shown(record_kept):
    """Return the message of a job whose outcome is not known."""
    job = record(State.SUBMIT_UNKNOWN, failure_code="INTERRUPTED", traceparent=TRACEPARENT)
    return job_trace_message(JobTrace(job, COURSE, record_kept, CREATED + 20))


def test_every_field_of_a_trace_is_set():
    """Where all of it is known."""
    message = shown(kept(steps=[{"step": "admit", "outcome": "ok", "at_us": 5, "us": 7}]))
    unset = {field.name for field in Message.DESCRIPTOR.fields} - {
        field.name for field, _ in message.ListFields()
    }
    assert unset == set()
    assert message.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert message.failure.code == "INTERRUPTED"
    assert message.submit.steps[0].start_offset.ToMicroseconds() == 5
    assert message.read_time.ToMicroseconds() == CREATED + 20


def test_a_record_of_before_offsets_has_none():
    """Nobody takes that for a step that began with the call."""
    step = shown(kept()).submit.steps[0]
    assert not step.HasField("start_offset")
    assert step.duration.ToMicroseconds() == 7
    assert not step.attributes


def test_without_a_record_the_ledger_is_told_alone():
    """The submit is left out, and not shown empty."""
    message = shown(None)
    assert not message.HasField("submit")
    assert len(message.changes) == 2
