"""How a member of the service's Result becomes a typed value: small pure functions for the table.

A decoding takes the parsed Result, which may be any JSON value, and returns what its field holds.
Decides shapes. Never raises: what it cannot read it leaves out, and the raw result keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from imsgateway.v1 import media_pb2

Decoding: TypeAlias = Callable[[Any], Sequence[Message] | Message | None]


def time_ranges(member: str) -> Decoding:
    """Read [{"StartTime": "0.28", "EndTime": "5.28"}]: texts of seconds (wire facts)."""

    def decode(result: Any) -> list[Message]:
        items = result.get(member) if isinstance(result, dict) else None
        ranges = [_time_range(item) for item in items] if isinstance(items, list) else []
        return [value for value in ranges if value is not None]

    return decode


def whole(result: Any) -> Message | None:
    """Take the whole object: nobody documents its members."""
    return json_format.ParseDict(result, Struct()) if isinstance(result, dict) else None


def _time_range(item: Any) -> media_pb2.TimeRange | None:
    if not isinstance(item, dict):
        return None
    start, end = (_seconds(item.get(name)) for name in ("StartTime", "EndTime"))
    if start is None or end is None:
        return None
    return media_pb2.TimeRange(start_seconds=start, end_seconds=end)


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
