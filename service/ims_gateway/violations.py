"""Where a violation of the contract lies.

Decides how the path of a field is spelled (AIP-193: job.cover.input.oss_uri, with subscripts for
items of lists and maps). Never decides what is a violation.
"""

from __future__ import annotations

import json

import protovalidate


def field_path(violation: protovalidate.Violation) -> str:
    """Return the path of the field that breaks a rule, relative to the message that was validated.

    A list's item is [0], a map's ["key"]. The path of a rule about the whole message is empty.
    """
    path = violation.proto.field
    if path is None:
        return ""
    parts = []
    for element in path.elements:
        subscript = element.subscript
        suffix = "" if subscript is None else f"[{json.dumps(subscript.value, ensure_ascii=False)}]"
        parts.append(f"{element.field_name}{suffix}")
    return ".".join(parts)
