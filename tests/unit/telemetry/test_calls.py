"""How an abandoned call ended: by its caller, or by its deadline."""

import pytest
from google.rpc import code_pb2
from opentelemetry.context import Context

from ims_gateway.telemetry.calls import Calls
from ims_gateway.telemetry.decisions import DecisionLog
from tests.calls import SPANS, SUBMIT


@pytest.mark.parametrize(
    ("seconds_left", "code"),
    [
        (None, code_pb2.CANCELLED),
        (3600.0, code_pb2.CANCELLED),
        (-0.001, code_pb2.DEADLINE_EXCEEDED),
        # The caller's clock ended it: a deadline travels rounded up.
        (0.001, code_pb2.DEADLINE_EXCEEDED),
    ],
)
def test_a_deadline_is_told_from_a_hang_up(seconds_left, code):
    """Both arrive as a cancellation."""
    log = DecisionLog()
    calls = Calls(SPANS, log, lambda _: None)
    call = calls.open(SUBMIT, Context(), seconds_left)
    calls.abandon(call)
    assert call.code == code
    log.close()
