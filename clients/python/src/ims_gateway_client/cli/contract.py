"""What the contract's descriptors say about a field, in words that a person types or reads.

Decides the words of enum values and the short text that stands in for a comment: descriptors carry
no comments at runtime. Knows no algorithm by name.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

from google.api import field_behavior_pb2
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    OneofDescriptor,
)
from google.protobuf.duration_pb2 import Duration

from buf.validate import validate_pb2
from imsgateway.v1 import annotations_pb2
from imsgateway.v1.job_pb2 import Job

JOB: Final = cast("Descriptor", Job.DESCRIPTOR)
ALGORITHMS: Final[tuple[FieldDescriptor, ...]] = tuple(JOB.oneofs_by_name["algorithm"].fields)

# Any, because the stubs that protoc writes do not say what an extension holds.
_BEHAVIOUR: Final[Any] = field_behavior_pb2.field_behavior
_RULES: Final[Any] = validate_pb2.field
_ONEOF_RULES: Final[Any] = validate_pb2.oneof
_OBJECT_ACCESS: Final[Any] = annotations_pb2.object_access
_OSS_OBJECT: Final[Any] = annotations_pb2.oss_object
_PLACEHOLDER: Final[Any] = annotations_pb2.placeholder
_FILE_TYPE: Final[Any] = annotations_pb2.file_type

_ACCESS: Final = {
    annotations_pb2.OBJECT_ACCESS_READ: "that the job reads",
    annotations_pb2.OBJECT_ACCESS_WRITE: "that the job writes",
}
_NUMBERS: Final = ("int32", "int64", "uint32", "uint64", "float", "double")
_BOUNDS: Final = {"gte": "at least", "gt": "above", "lte": "at most", "lt": "below"}


def settable_fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """Yield the fields that a caller sets."""
    for field in message.fields:
        if field_behavior_pb2.OUTPUT_ONLY not in _option(field, _BEHAVIOUR):
            yield field


def is_required(field: FieldDescriptor) -> bool:
    """Return whether the contract demands the field."""
    return field_behavior_pb2.REQUIRED in _option(field, _BEHAVIOUR)


def is_demanded(field: FieldDescriptor) -> bool:
    """Return whether the contract demands the field, or else another one of its oneof."""
    oneof = field.containing_oneof
    if oneof and oneof.fields[0] is field and _option(oneof, _ONEOF_RULES).required:
        return True
    return is_required(field)


def names_object(field: FieldDescriptor) -> bool:
    """Return whether the field names something that the job reads or writes."""
    return _option(field, _OBJECT_ACCESS) in _ACCESS


def is_map(field: FieldDescriptor) -> bool:
    """Return whether the field is a map."""
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def words_of(enum: EnumDescriptor) -> dict[str, int]:
    """Return the values of an enum by their words, such as "tv"; the zero value has none."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {
        value.name.removeprefix(prefix).lower().replace("_", "-"): value.number
        for value in enum.values
        if value.number
    }


def describe(field: FieldDescriptor) -> str:
    """Return a line about the field's values, made of its type and its rules."""
    rules = _option(field, _RULES)
    parts = [*_describe_object(field, rules.string), *_describe_type(field), _range(rules)]
    if rules.string.max_len:
        parts.append(f"at most {rules.string.max_len} characters")
    if times := rules.map.max_pairs or rules.repeated.max_items:
        parts.append(f"at most {times} times" if times > 1 else "once")
    return ", ".join(filter(None, parts))


def _option(declared: FieldDescriptor | OneofDescriptor, extension: Any) -> Any:
    return declared.GetOptions().Extensions[extension]


def _describe_object(field: FieldDescriptor, rules: Any) -> Iterator[str]:
    if not names_object(field):
        return
    kind = "OSS address" if rules.Extensions[_OSS_OBJECT] else "id of a media asset"
    yield f"{kind} {_ACCESS[_option(field, _OBJECT_ACCESS)]}"
    if rules.prefix:
        yield f"beginning with {rules.prefix}"
    if placeholder := rules.Extensions[_PLACEHOLDER]:
        yield f"holding {placeholder}"
    if file_type := rules.Extensions[_FILE_TYPE]:
        yield f"of type {file_type.replace('|', ' or ')}"


def _describe_type(field: FieldDescriptor) -> Iterator[str]:
    if field.enum_type:
        yield " or ".join(words_of(field.enum_type))
    if field.type == FieldDescriptor.TYPE_BOOL:
        yield "true or false"
    if field.message_type and field.message_type.full_name == Duration.DESCRIPTOR.full_name:
        yield "in seconds"
    elif field.message_type and not is_map(field):
        members = list(settable_fields(field.message_type))
        for member in members:
            text = describe(member)
            yield f"{member.name} {text}".strip() if len(members) > 1 else text


def _range(rules: Any) -> str:
    """Return the range of a number, such as "2 to 10", or "" where there is none."""
    kind = rules.WhichOneof("type")
    if kind not in _NUMBERS:
        return ""
    limits = getattr(rules, kind)
    bounds = [limits.WhichOneof(side) for side in ("greater_than", "less_than")]
    if bounds == ["gte", "lte"]:
        return f"{limits.gte:g} to {limits.lte:g}"
    return " and ".join(f"{_BOUNDS[bound]} {getattr(limits, bound):g}" for bound in bounds if bound)
