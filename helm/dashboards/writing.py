"""JSON that reads well in a diff."""

from __future__ import annotations

import json
from typing import Any, Final

LINE: Final = 110


def written(value: Any, indent: int = 0) -> str:
    """Return JSON in which whatever fits on a line is on one, so that a change reads well."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= LINE or not isinstance(value, dict | list):
        return flat
    inner, pad = indent + 2, "\n" + " " * (indent + 2)
    if isinstance(value, list):
        items, ends = [written(item, inner) for item in value], "[]"
    else:
        named = {json.dumps(name): item for name, item in value.items()}
        items, ends = [f"{name}: {written(item, inner)}" for name, item in named.items()], "{}"
    return f"{ends[0]}{pad}{f',{pad}'.join(items)}\n{' ' * indent}{ends[1]}"
