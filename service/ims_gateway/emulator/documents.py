"""JSON inside parameters.

Decides what counts as JSON. Never looks at what a document means.
"""

import json
from typing import Any


class Invalid(ValueError):  # noqa: N818 - reads as what it says about a value
    """A value is not as the API page says. The text completes "<name> ..." and quotes nothing."""


def read_json(text: str) -> Any:
    """Read JSON.

    Raises Invalid, also for a text nested so deeply that nobody meant it, and for escapes
    that make half a character, which no reply could spell in UTF-8.
    """
    try:
        document = json.loads(text)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Invalid("must hold JSON") from error
    return document


def read_object(text: str) -> dict[str, Any]:
    """Read a JSON object. Raises Invalid."""
    document = read_json(text)
    if not isinstance(document, dict):
        raise Invalid("must hold a JSON object")
    return document
