"""Makes what the service says fit to be kept and passed on.

Decides what is taken out: the presigned part of addresses, because whoever holds it holds the file,
and what no store or typed message can take. Never decides which members are kept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final

# A level costs up to three of the hundred levels that protobuf reads.
DEEPEST: Final = 24
REMOVED: Final = "[removed]"

_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")
# Each of these passes over a text once: nobody says how long one is that was read off a video.
_WORD_WITH_QUERY: Final = re.compile(
    r"""(?<![^\s"<>]) [^\s"<>?\#\\]*+ [?\#\\] [^\s"<>]*+""", re.VERBOSE
)
_ADDRESS: Final = re.compile("https?:", re.IGNORECASE)
_QUERY: Final = re.compile(r"[?#]|\\u003f", re.IGNORECASE)


def fit(value: Any) -> Any:
    """Return a JSON value that every store and every message can take.

    Lone surrogates and NUL are replaced, numbers that are not finite become None, and what lies
    deeper than DEEPEST becomes REMOVED.
    """
    return _walked(value, lambda text: _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text))


def without_queries(value: Any) -> Any:
    """Return a JSON value without queries of addresses, also inside of texts that hold JSON."""
    return _walked(value, _text_without_queries)


def _walked(value: Any, on_text: Callable[[str], str], depth: int = 0) -> Any:
    if depth > DEEPEST:
        return REMOVED
    if isinstance(value, str):
        return on_text(value)
    if isinstance(value, list):
        return [_walked(item, on_text, depth + 1) for item in value]
    if isinstance(value, dict):
        return {on_text(name): _walked(item, on_text, depth + 1) for name, item in value.items()}
    return value if value is None or _is_finite(value) else None


def _text_without_queries(text: str) -> str:
    # JSON may spell an address https:\/\/ and its & \u0026, so it is read and not guessed at. It is
    # written anew even if nothing was cut: of members that share a name, only the last was seen.
    held = _held_json(text)
    if held is None:
        return _WORD_WITH_QUERY.sub(_word_without_query, text)
    return json.dumps(without_queries(held), ensure_ascii=False, separators=(",", ":"))


def _word_without_query(found: re.Match[str]) -> str:
    """Return a word up to the query of an address, or to that of a name that is signed."""
    word = found[0]
    ends = [len(word)]
    address = _ADDRESS.search(word)
    if address and (query := _QUERY.search(word, address.end())):
        ends.append(query.start())
    name, mark, query_of_name = word.partition("?")
    if mark and "signature=" in query_of_name.lower():
        # Of a name that holds a space, say, so that its address is another word.
        ends.append(len(name))
    return word[: min(ends)]


def _held_json(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond every double
        return False
