"""How the value of a field is written in one piece of text, both ways.

Decides the syntax by the shape of a message, so that a new message needs no change here:

    one field                        its value               oss://bucket/a.wav
    a duration                       seconds                 90
    an entry of a map                KEY=VALUE               team=blue
    two numbers, start... and end... START-END               5-20
    all fields required              values in their order   0,0.7,1,0.3
    other fields of simple types     names and values        whiten=20,smooth=50
    anything else, or a leading {    protobuf JSON           {"whiten": 20}

Checks types only: ranges and rules are the gateway's.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from ims_gateway_client.cli.contract import is_required, settable_fields, words_of

_NUMBER: Final = r"[0-9.]+(?:[eE][+-]?[0-9]+)?"
_RANGE: Final = re.compile(rf"({_NUMBER})-({_NUMBER})")
_WORDS_OF_BOOL: Final = {"true": True, "false": False, "1": True, "0": False}


class Syntax(Enum):
    """How a message is written."""

    WHOLE = "its value"
    DURATION = "seconds"
    PAIR = "key and value"
    RANGE = "start-end"
    ORDERED = "values in order"
    NAMED = "names and values"
    JSON = "JSON"


def syntax_of(message: Descriptor) -> Syntax:
    """Return how a message is written."""
    if message.full_name == Duration.DESCRIPTOR.full_name:
        return Syntax.DURATION
    fields = list(settable_fields(message))
    if any(field.message_type or field.is_repeated for field in fields) or not fields:
        return Syntax.JSON
    if message.GetOptions().map_entry:
        return Syntax.PAIR
    if len(fields) == 1:
        return Syntax.WHOLE
    if [field.name.partition("_")[0] for field in fields] == ["start", "end"]:
        return Syntax.RANGE
    return Syntax.ORDERED if all(map(is_required, fields)) else Syntax.NAMED


def parse(field: FieldDescriptor, text: str) -> Any:
    """Return one value of a field, a message included; raise ValueError where the text is none."""
    if field.message_type:
        return _parse_message(field.message_type, text)
    if field.enum_type:
        return _choose(words_of(field.enum_type), text.lower().replace("_", "-"))
    return _PARSERS[field.cpp_type](text)


def render(field: FieldDescriptor, value: Any) -> str:
    """Return the text that stands for one value of a field."""
    if field.message_type:
        return _render_message(field.message_type, value)
    if field.enum_type:
        words = {number: word for word, number in words_of(field.enum_type).items()}
        return words.get(value, str(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _parse_message(descriptor: Descriptor, text: str) -> Message:
    message: Message = message_factory.GetMessageClass(descriptor)()
    syntax = syntax_of(descriptor)
    fields = list(settable_fields(descriptor))
    if syntax is Syntax.JSON or text.startswith("{"):
        return _parse_json(message, text)
    if syntax is Syntax.DURATION:
        return _parse_json(message, f'"{text.removesuffix("s")}s"')
    if syntax is Syntax.NAMED:
        return _parse_named(message, fields, text)
    for field, part in zip(fields, _split(fields, syntax, text), strict=True):
        setattr(message, field.name, parse(field, part))
    return message


def _parse_json(message: Message, text: str) -> Message:
    try:
        return json_format.Parse(text, message)
    except json_format.ParseError as error:
        raise ValueError(f"is not the JSON of a {message.DESCRIPTOR.name}: {error}") from None


def _parse_named(message: Message, fields: list[FieldDescriptor], text: str) -> Message:
    named = {field.name: field for field in fields}
    for pair in filter(None, text.split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is not name=value")
        field = _choose(named, name.strip().replace("-", "_"))
        setattr(message, field.name, parse(field, value))
    return message


def _split(fields: list[FieldDescriptor], syntax: Syntax, text: str) -> list[str]:
    if syntax is Syntax.WHOLE:
        return [text]
    if syntax is Syntax.PAIR:
        if "=" not in text:
            raise ValueError(f"{text!r} is not key=value")
        return text.split("=", 1)
    if syntax is Syntax.RANGE:
        if not (found := _RANGE.fullmatch(text)):
            raise ValueError(f"{text!r} is not start-end, such as 5-20")
        return list(found.groups())
    parts = text.split(",")
    if len(parts) != len(fields):
        names = ",".join(field.name for field in fields)
        raise ValueError(f"{text!r} is not {names}")
    return parts


def _render_message(descriptor: Descriptor, message: Message) -> str:
    syntax = syntax_of(descriptor)
    fields = list(settable_fields(descriptor))
    if syntax is Syntax.JSON:
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False)
    if isinstance(message, Duration):
        return message.ToJsonString().removesuffix("s")
    if syntax is Syntax.NAMED:
        return ",".join(
            f"{field.name}={render(field, value)}" for field, value in message.ListFields()
        )
    separator = "-" if syntax is Syntax.RANGE else ","
    return separator.join(render(field, getattr(message, field.name)) for field in fields)


def _choose(choices: dict[str, Any], word: str) -> Any:
    if word not in choices:
        raise ValueError(f"{word!r} is not one of {', '.join(choices)}")
    return choices[word]


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


_PARSERS: Final[dict[int, Callable[[str], Any]]] = {
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_BOOL: lambda text: _choose(_WORDS_OF_BOOL, text.lower()),
    FieldDescriptor.CPPTYPE_DOUBLE: _number,
    FieldDescriptor.CPPTYPE_FLOAT: _number,
    FieldDescriptor.CPPTYPE_INT32: _whole_number,
    FieldDescriptor.CPPTYPE_INT64: _whole_number,
    FieldDescriptor.CPPTYPE_UINT32: _whole_number,
    FieldDescriptor.CPPTYPE_UINT64: _whole_number,
}
