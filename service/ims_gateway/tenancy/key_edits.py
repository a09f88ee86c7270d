"""Changes API keys in the text of a tenant's file or operators.yaml, and nothing else in it.

Comments, order and style stay to the letter, so that a change reads in a review as what it is. That
an edit did what was meant, and only that, is checked: the edited text must read as the text of
before with the change made to its data. What it never does: see a key, or write a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml
from ryaml import loads  # type: ignore[attr-defined]  # its stubs do not export it

LISTS: Final = ("principals", "operators")
Splice = tuple[int, int, str]


class CannotEdit(Exception):  # noqa: N818 - it is told to a person
    """The file is written in a way that only a person can change safely."""


def add_key(text: str, beside: str, key_id: str, key_hash: str) -> str:
    """Return the text with one more key for the principal that has the key `beside`."""
    new = {"id": key_id, "hash": key_hash}

    def change(keys: list[Any], _: int) -> None:
        keys.append(new)

    def splice(keys: yaml.SequenceNode, _: int) -> Splice:
        if keys.flow_style:
            place = _end(keys.value[-1])
            return place, place, f", {{id: {key_id}, hash: {key_hash}}}"
        indent = " " * keys.start_mark.column
        place = _line_end(text, _end(keys))
        return place, place, f"\n{indent}- id: {key_id}\n{indent}  hash: {key_hash}"

    return _edited(text, beside, change, splice)


def set_member(text: str, key_id: str, name: str, value: Any, written: str) -> str:
    """Return the text with a member of the key set to a value, which is `written` so."""

    def change(keys: list[Any], number: int) -> None:
        keys[number][name] = value

    def splice(keys: yaml.SequenceNode, number: int) -> Splice:
        key = keys.value[number]
        for known, old in key.value:
            if known.value == name:
                return old.start_mark.index, old.end_mark.index, written
        if key.flow_style:
            place = _end(key.value[-1][1])
            return place, place, f", {name}: {written}"
        place = _line_end(text, _end(key))
        indent = " " * key.value[0][0].start_mark.column
        return place, place, f"\n{indent}{name}: {written}"

    return _edited(text, key_id, change, splice)


def remove_key(text: str, key_id: str) -> str:
    """Return the text without the key."""

    def change(keys: list[Any], number: int) -> None:
        del keys[number]

    def splice(keys: yaml.SequenceNode, number: int) -> Splice:
        first, last = keys.value[number].start_mark.index, _end(keys.value[number])
        if len(keys.value) == 1:
            return _emptied(text, keys)
        if not keys.flow_style:
            return text.rindex("\n", 0, first), _line_end(text, last), ""
        if number:
            return _end(keys.value[number - 1]), last, ""
        return first, keys.value[1].start_mark.index, ""

    return _edited(text, key_id, change, splice)


def _edited(
    text: str,
    key_id: str,
    change: Callable[[list[Any], int], None],
    splice: Callable[[yaml.SequenceNode, int], Splice],
) -> str:
    for list_name in LISTS:
        for place, keys, number in _keys(text, list_name):
            if loads(text)[list_name][place]["keys"][number]["id"] == key_id:
                expected = loads(text)
                change(expected[list_name][place]["keys"], number)
                start, end, written = splice(keys, number)
                edited = text[:start] + written + text[end:]
                if not _reads_as(edited, expected):
                    raise CannotEdit
                return edited
    raise CannotEdit


def _emptied(text: str, keys: yaml.SequenceNode) -> Splice:
    if keys.flow_style:
        return keys.start_mark.index, keys.end_mark.index, "[]"
    # Without its lines a block would be no list.
    return text.rindex(":", 0, keys.start_mark.index) + 1, _line_end(text, _end(keys)), " []"


def _reads_as(text: str, expected: Any) -> bool:
    try:
        return bool(loads(text) == expected)
    except ValueError:
        return False


def _keys(text: str, list_name: str) -> Iterator[tuple[int, yaml.SequenceNode, int]]:
    """Yield every key of the file: the place of its principal, the list it stands in, its place."""
    principals = _member(yaml.compose(text, yaml.SafeLoader), list_name)
    for place, principal in enumerate(principals.value if principals else ()):
        keys = _member(principal, "keys")
        for number in range(len(keys.value) if keys else 0):
            yield place, keys, number


def _member(node: Any, name: str) -> Any:
    return next((value for key, value in node.value if key.value == name), None)


def _end(node: Any) -> int:
    """Return where a node's text ends; a block's own mark stands after comments behind it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str, place: int) -> int:
    found = text.find("\n", place)
    return len(text) if found < 0 else found
