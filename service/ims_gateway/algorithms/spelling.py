"""How values are spelled on the wire: numbers and compact JSON.

Decides notation only. Never decides what is sent.
"""

from __future__ import annotations

from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, TypeAlias

# What a parameter can hold on the wire. No parameter of the API page holds true, false or null.
Json: TypeAlias = str | float | list[Any] | dict[str, Any]


def number(value: float) -> str:
    """Spell a finite number: 5 for 5.0, 0 for -0.0, and 0.00001 where Python writes 1e-05.

    The same spelling stands in JSON and in name=value lists, and not every reader of the latter
    knows exponents.
    """
    if value == int(value):
        return str(int(value))
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def compact_json(value: Json) -> str:
    """Spell a value as JSON without spaces and without escaping UTF-8 (wire facts).

    The standard encoder is not used, because it spells 1e-05 and cannot be told otherwise.
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, list):
        return f"[{','.join([compact_json(item) for item in value])}]"
    if isinstance(value, dict):
        members = [
            f"{encode_basestring(name)}:{compact_json(item)}" for name, item in value.items()
        ]
        return f"{{{','.join(members)}}}"
    return number(value)
