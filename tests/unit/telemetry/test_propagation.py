"""Trace Context is read by the standard's rules or not at all, and goes on as it came."""

import pytest
from opentelemetry import trace

from ims_gateway.telemetry.propagation import incoming, outgoing, read, written

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def came(*metadata):
    """Return the identity that a call's metadata give."""
    return trace.get_current_span(incoming(metadata)).get_span_context()


def test_what_came_in_goes_out():
    """With the state that its vendors added, from several entries in their order."""
    found = came(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2"))
    assert found.is_remote
    assert outgoing(found) == {"traceparent": PARENT, "tracestate": "a=1,b=2"}


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("traceparent", PARENT), ("traceparent", PARENT)),
        (("traceparent", PARENT[:-1]),),
        (("traceparent", PARENT.upper()),),
        (("traceparent", f"{PARENT}-more"),),
        (("traceparent", PARENT.encode()),),
        (("tracestate", "a=1"),),
    ],
)
def test_what_is_no_context_is_ignored(metadata):
    """Of two it is not known which is meant."""
    assert not came(*metadata).is_valid


def test_a_bad_state_takes_no_context_with_it():
    """The trace goes on without it."""
    found = came(("traceparent", PARENT), ("tracestate", "no state"))
    assert outgoing(found) == {"traceparent": PARENT}


def test_a_long_state_is_not_passed_on():
    """The standard asks for 512 characters, and the service gets no more than that."""
    long = ",".join(f"v{number}={'x' * 60}" for number in range(9))
    found = came(("traceparent", PARENT), ("tracestate", long[:450]))
    assert len(outgoing(found).get("tracestate", "")) <= 512


@pytest.mark.parametrize("text", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_what_the_ledger_kept_is_read_back(text):
    """And where a job has none, that is said."""
    assert written(read(PARENT)) == PARENT
    assert not read(text).is_valid
