"""What is remembered of a call: its steps, its spans and its record, and nothing secret."""

import dataclasses
import json
import time
from asyncio import CancelledError

import pytest
from google.rpc import code_pb2
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ims_gateway.errors import (
    Fault,
    InvalidRequest,
    LimitBreach,
    NotAuthenticated,
    QuotaExceeded,
    Refusal,
    StoreUnavailable,
    Violation,
)
from ims_gateway.identity.principal import Principal
from ims_gateway.policy.decision import Ask, Decision, Dimension, ObjectDecision
from ims_gateway.quota.charges import LimitState
from ims_gateway.telemetry.spans import Spans
from ims_gateway.telemetry.step import SERVER_FAULTS, outcome_of
from tests.calls import SUBMIT, a_call
from tests.spans import SpanKeeper

SECRET = "hunter2"
FARM = Principal("principal/farm", "acme", ("editor",), credential="key/k1")
REFUSED = ObjectDecision("write", "oss://b/2", allowed=False, rule="r2", failed=Dimension.DENY)
ASK = Ask("principal/farm", "submit", "cover", (), priority=3, pipeline="p-1")
DECISION = Decision(
    ask=ASK,
    allowed=False,
    failed=Dimension.DENY,
    objects=(ObjectDecision("read", "oss://b/1", allowed=True, rule="r1", failed=None), REFUSED),
    policy_version="v1",
)


class Traced:
    """Calls, and the spans that were handed on of them."""

    def __init__(self, *, sampler=None, keeps_refusals=False):
        self.keeper = SpanKeeper()
        self.made = Spans(
            TracerProvider(sampler, shutdown_on_exit=False),
            (self.keeper,),
            keeps_refusals=keeps_refusals,
        )

    def call(self, **members):
        """Open a call."""
        context = self.made.first(SUBMIT, SpanKind.SERVER, Context())
        span = trace.NonRecordingSpan(context)
        members = {
            "time": 1_780_315_200.123456789,
            "spans": self.made,
            "span": span,
            "context": trace.set_span_in_context(span),
            **members,
        }
        return a_call(**members)

    @property
    def spans(self):
        """Finished spans by name."""
        return {span.name: span for span in self.keeper.spans}


@pytest.fixture
def traced():
    """Keep the spans of every call."""
    return Traced()


def test_a_step_that_goes_well_is_a_span_and_a_line(traced):
    """The span is a child of the call's, with its kind and attributes."""
    call = traced.call()
    with call.step("send", SpanKind.CLIENT, **{"server.address": "host"}):
        pass
    call.end(code_pb2.OK)
    call.end_span()
    span = traced.spans["send"]

    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    assert span.parent == call.span.get_span_context()
    assert span.attributes == {"server.address": "host"}
    assert 0 <= span.start_time - round(call.time * 1e9) <= span.end_time - round(call.time * 1e9)
    assert span.end_time <= traced.spans[call.method].end_time
    (line,) = call.record()["steps"]
    assert (line["step"], line["outcome"]) == ("send", "ok")
    assert line["us"] >= 0
    assert line["at_us"] >= 0


@pytest.mark.parametrize(
    ("error", "outcome", "told", "is_fault"),
    [
        (
            NotAuthenticated(),
            "NOT_AUTHENTICATED",
            {"imsgateway.reason": "NOT_AUTHENTICATED"},
            False,
        ),
        (
            InvalidRequest((Violation(SECRET, SECRET, SECRET),)),
            "INVALID_REQUEST",
            {"imsgateway.reason": "INVALID_REQUEST"},
            False,
        ),
        (
            QuotaExceeded((LimitBreach("daily", "submit/day", 5, "acme", 1.0),)),
            "QUOTA_EXCEEDED",
            {
                "imsgateway.reason": "QUOTA_EXCEEDED",
                "imsgateway.quota.outcome": "refused",
                "imsgateway.limit_id": "daily",
                "imsgateway.quota.metric": "submit/day",
            },
            False,
        ),
        (
            StoreUnavailable(SECRET),
            "STORE_UNAVAILABLE",
            {"imsgateway.reason": "STORE_UNAVAILABLE", "error.type": "STORE_UNAVAILABLE"},
            True,
        ),
        (ValueError(SECRET), "ValueError", {"error.type": "ValueError"}, True),
        (KeyboardInterrupt(SECRET), "KeyboardInterrupt", {"error.type": "KeyboardInterrupt"}, True),
        (CancelledError(SECRET), "CancelledError", {"imsgateway.outcome": "cancelled"}, False),
    ],
)
def test_a_step_that_fails_says_how_and_not_what(traced, error, outcome, told, is_fault):
    """The error goes on; span and line name its reason or class, never its text."""
    call = traced.call()
    with pytest.raises(type(error)) as raised, call.step("validate"):
        raise error
    call.end(code_pb2.OK)
    call.end_span()
    span = traced.spans["validate"]

    assert raised.value is error
    assert (span.status.status_code is StatusCode.ERROR) == is_fault
    assert span.status.description == (outcome if is_fault else None)
    assert span.attributes == told
    assert span.events == ()
    assert call.record()["steps"][0]["outcome"] == outcome
    assert SECRET not in span.to_json()


def test_a_refusal_is_its_reason():
    """As ErrorInfo spells it."""
    assert outcome_of(Fault()) == "INTERNAL"
    assert outcome_of(TimeoutError()) == "TimeoutError"
    assert all("ERROR_REASON" not in outcome_of(each()) for each in (Fault, NotAuthenticated))


@pytest.mark.parametrize("code", code_pb2.Code.values())
def test_only_the_server_s_faults_make_a_call_s_span_an_error(traced, code):
    """What a caller did wrong is no error of the service (semantic conventions for RPC)."""
    call = traced.call()
    call.end(code, "SOME_REASON")
    call.end_span()
    (span,) = traced.spans.values()

    name = code_pb2.Code.Name(code)
    assert span.attributes["rpc.response.status_code"] == name
    assert span.attributes.get("error.type") == (name if code in SERVER_FAULTS else None)
    assert span.attributes["imsgateway.reason"] == "SOME_REASON"
    assert (span.status.status_code is StatusCode.ERROR) == (code in SERVER_FAULTS)


def test_a_span_tells_whose_call_it_was(traced):
    """As far as that was found out."""
    call = traced.call(principal=FARM, algorithm="cover", decision=DECISION)
    call.end(code_pb2.PERMISSION_DENIED, "POLICY_DENIED")
    call.end_span()
    attributes = traced.spans[call.method].attributes

    assert attributes["imsgateway.principal"] == "principal/farm"
    assert attributes["imsgateway.tenant"] == "acme"
    assert attributes["imsgateway.algorithm"] == "cover"
    assert attributes["imsgateway.rule"] == "r2"
    assert attributes["imsgateway.decision_id"] == "d-1"
    assert "imsgateway.job" not in attributes


def test_a_record_is_one_line_of_json(traced):
    """With all that is known of the call, and the id of its trace."""
    call = traced.call(principal=FARM, algorithm="cover", decision=DECISION, recalled=True)
    call.job = "tenants/acme/jobs/1"
    call.upstream_request_id = "U-1"
    with call.step("authorize"):
        pass
    call.end(code_pb2.PERMISSION_DENIED, "POLICY_DENIED")
    record = json.loads(json.dumps(call.record()))

    assert record.pop("duration_us") >= 0
    assert [step.pop("us") >= 0 for step in record["steps"]] == [True]
    assert [step.pop("at_us") >= 0 for step in record["steps"]] == [True]
    assert record == {
        "time": 1_780_315_200.123457,
        "decision_id": "d-1",
        "count": 1,
        "trace_id": f"{call.span.get_span_context().trace_id:032x}",
        "method": "imsgateway.v1.JobService/SubmitJob",
        "principal": "principal/farm",
        "principal_tenant": "acme",
        "credential": "key/k1",
        "tenant": "acme",
        "algorithm": "cover",
        "job": "tenants/acme/jobs/1",
        "recalled": True,
        "code": "PERMISSION_DENIED",
        "reason": "POLICY_DENIED",
        "upstream_request_id": "U-1",
        "steps": [{"step": "authorize", "outcome": "ok"}],
        "policy": {
            "allowed": False,
            "dimension": "DENY",
            "rule": "r2",
            "version": "v1",
            "subject": "principal/farm",
            "action": "submit",
            "algorithm": "cover",
            "priority": 3,
            "model": "",
            "pipeline": "p-1",
            "template": "",
            "objects": [
                {"access": "read", "object": "oss://b/1", "allowed": True},
                {"access": "write", "object": "oss://b/2", "allowed": False},
            ],
        },
    }


def test_a_record_says_what_a_policy_on_trial_would_have_decided(traced):
    """Only where it differs."""
    allowed = ObjectDecision("write", "oss://b/2", allowed=True, rule="r3", failed=None)
    shadow = dataclasses.replace(DECISION, allowed=True, failed=None, objects=(allowed,))
    call = traced.call(decision=dataclasses.replace(DECISION, shadow=shadow))
    call.end(code_pb2.PERMISSION_DENIED, "POLICY_DENIED")

    assert call.record()["policy"]["shadow"] == {"allowed": True, "dimension": "", "rule": "r3"}


def test_a_record_of_nobody_s_call_says_so(traced):
    """A call that was not authenticated has a record, too."""
    call = traced.call()
    call.paths = ("job.user_data",)
    call.end(code_pb2.UNAUTHENTICATED, "NOT_AUTHENTICATED")
    record = call.record()

    assert (record["principal"], record["tenant"], record["code"]) == ("", "", "UNAUTHENTICATED")
    assert record["violations"] == ["job.user_data"]
    assert "policy" not in record
    assert "quota" not in record


def test_a_guest_s_record_names_both_tenants(traced):
    """The one that the caller belongs to, and the one that it acts for."""
    call = traced.call(principal=FARM, tenant="globex")
    call.end(code_pb2.OK)
    record = call.record()

    assert (record["principal_tenant"], record["tenant"]) == ("acme", "globex")


def test_a_record_says_what_became_of_the_quota(traced):
    """Of each limit that was asked, and what is left of it."""
    state = LimitState("daily", "submit/day", 10, 3, 0)
    taken = traced.call(quota="committed", limits=(state,)).record()["quota"]
    breach = LimitBreach("burst", "submit/rate", 5, "acme", 1.0)
    refused = traced.call(quota="refused", breaches=(breach,)).record()["quota"]

    daily = {"limit_id": "daily", "metric": "submit/day", "limit": 10, "remaining": 3}
    burst = {"limit_id": "burst", "metric": "submit/rate", "limit": 5, "remaining": 0}
    assert taken == {"outcome": "committed", "limits": [daily]}
    assert refused == {"outcome": "refused", "limits": [burst]}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ('job.labels["hunter2"]', "job.labels[]"),
        ('job.labels["a\\"] hunter2"].key', "job.labels[].key"),
        ("job.video_delogo.boxes[2].x", "job.video_delogo.boxes[2].x"),
        ("", ""),
    ],
)
def test_a_violation_s_path_is_recorded_without_a_map_s_key(traced, path, shown):
    """The key of a map is a text of the caller's."""
    call = traced.call(paths=(path,))

    assert call.record()["violations"] == [shown]


def test_a_record_does_not_change_once_it_was_taken(traced):
    """A submit goes on, with its steps, after its caller has hung up."""
    call = traced.call()
    with call.step("admit"):
        pass
    call.end(code_pb2.CANCELLED)
    record = call.record()
    with call.step("settle"):
        pass

    assert [step["step"] for step in record["steps"]] == ["admit"]


def test_steps_after_the_end_are_handed_on_as_they_come(traced):
    """A submit goes on, with its spans in the same trace, after its caller has hung up."""
    call = traced.call()
    call.end(code_pb2.CANCELLED)
    call.end_span()
    with call.step("settle"):
        pass

    assert list(traced.spans) == [call.method, "settle"]
    assert traced.spans["settle"].parent == call.span.get_span_context()


@pytest.mark.parametrize(
    ("keeps", "code", "single", "handed_on"),
    [
        (True, code_pb2.OK, True, False),
        (True, code_pb2.PERMISSION_DENIED, True, True),
        (True, code_pb2.CANCELLED, True, True),
        (True, code_pb2.PERMISSION_DENIED, False, False),
        (False, code_pb2.PERMISSION_DENIED, True, False),
    ],
)
def test_of_calls_that_were_not_sampled_refused_ones_can_be_kept(keeps, code, single, handed_on):
    """With their steps, and as spans that exporters take; but not all of a flood."""
    traced = Traced(sampler=ALWAYS_OFF, keeps_refusals=keeps)
    call = traced.call()
    with call.step("authorize"):
        pass
    call.end(code)
    call.end_span(single=single)

    assert list(traced.spans) == (["authorize", call.method] if handed_on else [])
    assert call.traceparent.endswith("-00")


def test_nobody_is_the_caller_of_a_call_that_was_not_authenticated(traced):
    """What needs one is refused, whatever order the interceptors come in."""
    with pytest.raises(Refusal) as raised:
        _ = traced.call().caller

    assert isinstance(raised.value, NotAuthenticated)
    assert traced.call(principal=FARM).caller == FARM


def test_the_trace_goes_on_from_a_call(traced):
    """As W3C Trace Context spells it: whoever reads it finds the call's own span."""
    call = traced.call()
    read = TraceContextTextMapPropagator().extract({"traceparent": call.traceparent})
    found, own = trace.get_current_span(read).get_span_context(), call.span.get_span_context()

    assert (found.trace_id, found.span_id) == (own.trace_id, own.span_id)
    assert found.trace_flags.sampled


def test_the_time_that_is_left_is_the_caller_s_or_the_most_that_is_allowed(traced):
    """Whichever is shorter; nothing, once the caller has hung up."""
    assert traced.call().seconds_left(20) == 20
    assert traced.call(deadline=time.monotonic() + 3600).seconds_left(20) == 20
    assert traced.call(deadline=time.monotonic() - 1).seconds_left(20) < 0
    assert 0 < traced.call(deadline=time.monotonic() + 19).seconds_left(20) < 20
    assert traced.call(abandoned=True).seconds_left(20) == 0
