"""How a parameter of the contract becomes a value on the wire: small pure functions for the table.

An encoding takes the value of one field that is set, and returns what to send or None for nothing.
Decides shapes. Never knows which algorithm it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf.message import Message

from ims_gateway.algorithms.spelling import Json, compact_json, number
from imsgateway.v1 import media_pb2

Encoding: TypeAlias = Callable[[Any], Json | None]


def as_it_is(value: str | float) -> Json:
    """Send text as text and a number as a number."""
    return value


def named(names: Mapping[int, str]) -> Encoding:
    """Send the service's name of an enum value."""
    return names.__getitem__


def comma_joined(names: Mapping[int, str]) -> Encoding:
    """Send the service's names of enum values as one text, separated by commas."""

    def encode(values: Iterable[int]) -> Json:
        return ",".join([names[value] for value in values])

    return encode


def in_json(encoding: Encoding) -> Encoding:
    """Send the value as a text that holds JSON."""

    def encode(value: Any) -> Json | None:
        encoded = encoding(value)
        return None if encoded is None else compact_json(encoded)

    return encode


def box(value: media_pb2.NormalizedBox) -> Json:
    """Send [xmin, ymin, width, height]."""
    return [value.x, value.y, value.width, value.height]


def boxes(values: Iterable[media_pb2.NormalizedBox]) -> Json:
    """Send a list of boxes, also where there is only one."""
    return [box(value) for value in values]


def edges(value: Any) -> Json:
    """Send [[top, bottom], [left, right]] of a region that is given by its edges."""
    return [[value.top, value.bottom], [value.left, value.right]]


def time_ranges(values: Sequence[media_pb2.TimeRange]) -> Json:
    """Send [start, end] for one range and [[start, end], ...] for several, in seconds."""
    ranges = [[value.start_seconds, value.end_seconds] for value in values]
    return ranges[0] if len(ranges) == 1 else ranges


def objects(fields: Mapping[str, str]) -> Encoding:
    """Send a list of objects. `fields` holds the contract's field by member."""

    def encode(values: Iterable[Message]) -> Json:
        return [
            {member: getattr(value, field) for member, field in fields.items()} for value in values
        ]

    return encode


def assignments(names: Mapping[str, Mapping[int, str]]) -> Encoding:
    """Send the fields that are set as name=value,name=value, in the order of the contract.

    `names` holds the service's names of enum values, by field. Switches are sent as 0 and 1.
    """

    def encode(parameters: Message) -> Json | None:
        return (
            ",".join(
                [
                    f"{field.name}={names[field.name][value] if field.enum_type else number(value)}"
                    for field, value in parameters.ListFields()
                ]
            )
            or None
        )

    return encode
