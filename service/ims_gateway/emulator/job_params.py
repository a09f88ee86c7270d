"""Checks for the members of JobParams, to be named in the rows of the algorithm table.

Each check is given a decoded JSON value and the rest of the job it may depend on, and
raises Invalid. Decides types and ranges (API page); never which algorithm has which member.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ims_gateway.emulator.documents import Invalid, read_json
from ims_gateway.emulator.media import read_oss_address

_ADDRESS = re.compile(r"(https?|oss)://[^/\s]+/\S+")
# 0.6 and 0.4 as 32-bit floats add up to 1.00000003, which is still the frame's edge.
_ROUNDING = 1e-6
# Python reads NaN and 1e999 as JSON numbers; neither is below this, and no second is above it.
_LARGEST = 1e12


@dataclass(frozen=True, slots=True)
class Context:
    """What else of the job a check may depend on. model_id is empty for the default model."""

    region: str
    model_id: str


Check = Callable[[Any, Context], None]


def one_of(*allowed: str) -> Check:
    """Make a check for one of a few strings."""

    def check(value: Any, _: Context) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise Invalid(f"must be one of {', '.join(repr(word) for word in allowed)}")

    return check


def some_of(*allowed: str) -> Check:
    """Make a check for a comma-separated string of a few words."""

    def check(value: Any, _: Context) -> None:
        if not isinstance(value, str) or not set(value.split(",")) <= set(allowed):
            raise Invalid(f"must be a comma-separated string of {', '.join(allowed)}")

    return check


def whole_number(low: int, high: int) -> Check:
    """Make a check for an integer in a closed range."""

    def check(value: Any, _: Context) -> None:
        if type(value) is not int or not low <= value <= high:
            raise Invalid(f"must be an integer from {low} to {high}")

    return check


def boxes_in_string(most: int) -> Check:
    """Make a check for boxes as a string that holds JSON (VideoDelogo)."""

    def check(value: Any, context: Context) -> None:
        if not isinstance(value, str):
            raise Invalid("must be a string that holds JSON")
        boxes = read_json(value)
        list_of_boxes(boxes, context)
        if len(boxes) > most:
            raise Invalid(f"must hold at most {most} boxes")

    return check


def list_of_boxes(value: Any, context: Context) -> None:
    """Check [[xmin, ymin, width, height], ...]."""
    if not isinstance(value, list) or not value:
        raise Invalid("must be a list of [xmin, ymin, width, height]")
    for element in value:
        box(element, context)


def box(value: Any, _: Context) -> None:
    """Check [xmin, ymin, width, height], fractions of the frame that stay inside it."""
    if not _numbers(value, 4):
        raise Invalid("must hold [xmin, ymin, width, height]")
    left, top, width, height = value
    if left < 0 or top < 0 or width <= 0 or height <= 0:
        raise Invalid("must lie inside the frame")
    if left + width > 1 + _ROUNDING or top + height > 1 + _ROUNDING:
        raise Invalid("must lie inside the frame")


def vertical_and_horizontal_span(value: Any, _: Context) -> None:
    """Check [[top, bottom], [left, right]], fractions of the frame (CaptionExtraction)."""
    if not isinstance(value, list) or [_numbers(span, 2) for span in value] != [True, True]:
        raise Invalid("must be [[top, bottom], [left, right]]")
    if not all(0 <= start < end <= 1 for start, end in value):
        raise Invalid("must hold rising fractions from 0 to 1")


def time_ranges(model_with_several: str) -> Check:
    """Make a check for [start, end], or a list of them with the model that can do several."""

    def check(value: Any, context: Context) -> None:
        several = isinstance(value, list) and bool(value) and isinstance(value[0], list)
        if several and context.model_id != model_with_several:
            raise Invalid(f"must be one range unless ModelId is {model_with_several}")
        for span in value if several else [value]:
            if not _numbers(span, 2) or not 0 <= span[0] < span[1]:
                raise Invalid("must be [start, end] in seconds")

    return check


def address(value: Any, _: Context) -> None:
    """Check an address: the page shows one of http, and forbids neither https nor oss."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise Invalid("must be an http(s) or oss address")


def one_track(value: Any, context: Context) -> None:
    """Check [{"file": address}], exactly one (AudioMixing)."""
    if not isinstance(value, list) or len(value) != 1:
        raise Invalid("must be a list of exactly one object")
    track = value[0]
    if not isinstance(track, dict) or track.keys() != {"file"}:
        raise Invalid("must hold an object with the member file and no other")
    try:
        read_oss_address(track["file"], context.region)
    except Invalid as error:
        raise Invalid(f"has a file that {error}") from error


def assignments(ranges: dict[str, tuple[float, float]], fractional: frozenset[str]) -> Check:
    """Make a check for "name=value,name=value" with a range for each name (FaceBeauty).

    fractional: names whose values need not be integers.
    """
    assignment = re.compile(r"(\w+)=(-?\d+(\.\d+)?)", re.ASCII)

    def check(value: Any, _: Context) -> None:
        pieces = value.split(",") if isinstance(value, str) else []
        matches = [match for piece in pieces if (match := assignment.fullmatch(piece))]
        if not matches or len(matches) != len(pieces):
            raise Invalid("must be a string name=value,name=value")
        names = [match[1] for match in matches]
        if not set(names) <= ranges.keys() or len(set(names)) != len(names):
            raise Invalid("must assign only known names, each once")
        for name, number, fraction in (match.groups() for match in matches):
            low, high = ranges[name]
            if not low <= float(number) <= high or (fraction and name not in fractional):
                raise Invalid(f"must have {name} from {low:g} to {high:g}")

    return check


def _numbers(value: Any, length: int) -> bool:
    # bool is an int in Python and a different type on the wire.
    return (
        isinstance(value, list)
        and len(value) == length
        and all(type(number) in (int, float) and abs(number) < _LARGEST for number in value)
    )
