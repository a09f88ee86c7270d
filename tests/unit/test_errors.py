"""Refusals carry what a caller needs, and are drawn as a tree for whoever catches them."""

import re

import pytest

from ims_gateway import errors
from ims_gateway.errors import (
    InvalidRequest,
    LimitBreach,
    LimitExceeded,
    QuotaExceeded,
    RateExceeded,
    Refusal,
    Violation,
    reason_name,
)
from imsgateway.v1 import errors_pb2


def breach(seconds):
    """Return a limit without room."""
    return LimitBreach("daily", "submit/day", 9, "acme", seconds)


def tree(kind=Refusal, depth=0):
    """Yield each class of refusal with its depth, in the order of their definition."""
    if kind.__module__ == errors.__name__:
        yield depth, kind.__name__
        for child in kind.__subclasses__():
            yield from tree(child, depth + 1)


def test_the_tree_in_the_module_s_head_is_the_tree_of_classes():
    """A class that was added or moved is drawn, too."""
    drawn = [
        (len(match[1]) // 4, match[2])
        for line in errors.__doc__.splitlines()
        if (match := re.match(r"    ((?:[│├└ ][─ ]{2} )*)([A-Z]\w+)", line))
    ]

    assert drawn == list(tree())


@pytest.mark.parametrize(
    ("waits", "seconds"),
    [
        ((1.5,), 1.5),
        ((1.0, 3.0, 2.0), 3.0),
        ((1.0, None), None),
        ((None,), None),
        ((0.0,), 0.0),
        ((), 0.0),
    ],
)
def test_a_caller_waits_until_every_limit_has_room(waits, seconds):
    """Where one of them never will, waiting does not help."""
    refusal = RateExceeded(tuple(breach(wait) for wait in waits))

    assert refusal.retry_after_seconds == seconds


def test_a_limit_is_named_in_the_message():
    """With its metric, for people who read it in a log of their own."""
    assert str(QuotaExceeded((breach(1.0),))) == "limit reached: daily (submit/day)"
    assert isinstance(QuotaExceeded(()), LimitExceeded)


def test_an_invalid_request_names_each_path_once():
    """A violation of the whole message is one of the request."""
    faults = ("job.priority", "", "job.priority", "parent")
    refusal = InvalidRequest(tuple(Violation(path, "r", "d") for path in faults))

    assert refusal.message == "the request is invalid: job.priority, request, parent"
    assert len(refusal.violations) == 4


def test_a_message_stays_short_however_much_is_wrong():
    """It says how much there is."""
    many = tuple(Violation(f"job.boxes[{number}]", "r", "d") for number in range(1000))
    message = InvalidRequest(many).message

    assert len(message) < 300
    assert message.startswith("the request is invalid: job.boxes[0], job.boxes[1], ")
    assert message.endswith("(1000 violations)")


def test_a_reason_is_the_enum_s_name_without_its_prefix():
    """As ErrorInfo wants it."""
    assert reason_name(errors_pb2.ERROR_REASON_RATE_EXCEEDED) == "RATE_EXCEEDED"
