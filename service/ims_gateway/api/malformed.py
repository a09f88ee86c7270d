"""Says what is wrong with bytes that are no message.

The usual fault is text that is not UTF-8, for which protobuf names no field. The bytes are walked
once more, by the descriptor, and only after parsing has failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ims_gateway.errors import InvalidRequest, Violation

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
FIXED_BYTES: Final = {FIXED64: 8, FIXED32: 4}
# protobuf itself goes no deeper; here it keeps bytes of a caller's choice off Python's stack.
DEEPEST: Final = 100
MOST_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One of a stream's messages that is none: its bytes, and the refusal that they earn."""

    data: bytes
    refusal: InvalidRequest


class _BrokenError(ValueError):
    """The bytes do not follow the wire format."""


def malformed(message: bytes, descriptor: Descriptor) -> tuple[Violation, ...]:
    """Return the faults of bytes that could not be parsed as the message; there is at least one."""
    found: list[Violation] = []
    try:
        for path in islice(_bad_texts(memoryview(message), descriptor, "", 1), MOST_FAULTS):
            found.append(Violation(path, "string.utf8", "must be UTF-8"))  # noqa: PERF401 - kept
    except _BrokenError:
        pass
    return tuple(found) or (Violation("", "message.malformed", "the bytes are no such message"),)


def _bad_texts(data: memoryview, descriptor: Descriptor, prefix: str, depth: int) -> Iterator[str]:
    """Yield the path of each text that is not UTF-8. Raises _BrokenError at broken bytes."""
    if depth > DEEPEST:
        raise _BrokenError
    seen: dict[int, int] = {}
    for number, value in _fields(data):
        field = descriptor.fields_by_number.get(number)
        if field is None or value is None:
            continue
        index = seen[number] = seen.get(number, -1) + 1
        path = prefix + field.name + (f"[{index}]" if field.is_repeated else "")
        if field.type == FieldDescriptor.TYPE_STRING and not _is_utf8(value):
            yield path
        elif field.message_type is not None:
            yield from _bad_texts(value, field.message_type, f"{path}.", depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Yield each field's number, with its bytes where it has a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            _, at = _varint(data, at)
            yield tag >> 3, None
            continue
        length, at = _varint(data, at) if kind == LENGTH else (FIXED_BYTES.get(kind, -1), at)
        if length < 0 or at + length > len(data):
            raise _BrokenError
        yield tag >> 3, data[at : at + length] if kind == LENGTH else None
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:  # noqa: PLR2004 - bits of the longest varint
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at
        shift += 7
    raise _BrokenError


def _is_utf8(value: memoryview) -> bool:
    try:
        str(value, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
