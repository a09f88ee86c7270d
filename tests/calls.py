"""Calls that no gateway has opened."""

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from ims_gateway.telemetry.call import Call
from ims_gateway.telemetry.spans import Spans

SPANS = Spans(TracerProvider(shutdown_on_exit=False))
SUBMIT = "imsgateway.v1.JobService/SubmitJob"


def a_call(**members: Any) -> Call:
    """Return a call under way that leaves no trace, with changes."""
    members = {
        "id": "d-1",
        "method": SUBMIT,
        "time": 1_780_315_200.0,
        "deadline": None,
        "spans": SPANS,
        "span": trace.INVALID_SPAN,
        "context": trace.set_span_in_context(trace.INVALID_SPAN),
        **members,
    }
    return Call(**members)
