"""The flags that stand for the fields of a job.

Decides, by the descriptors alone, which flags an algorithm has and which field each one sets. A
message that is foremost an object, such as an input, is spread over several flags: --input for its
address, --input-media-id for the rest. Every other field is one flag, written as values.py says.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ims_gateway_client.cli.contract import (
    ALGORITHMS,
    JOB,
    describe,
    is_demanded,
    is_map,
    names_object,
    settable_fields,
)
from ims_gateway_client.cli.values import Syntax, parse, render, syntax_of
from imsgateway.v1.job_pb2 import Job

# [0], or ["key"] where the key may hold brackets and dots.
_SUBSCRIPT: Final = re.compile(r"""\[(?:"(?:[^"\\]|\\.)*"|[^\]]*)\]""")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. name: without dashes in front. path: the fields from the job to the one it sets."""

    name: str
    path: tuple[FieldDescriptor, ...]

    @property
    def field(self) -> FieldDescriptor:
        """The field that the flag sets."""
        return self.path[-1]

    @property
    def spellings(self) -> tuple[str, ...]:
        """How the flag is typed; one that takes a pair at a time also in the singular."""
        spelling = f"--{self.name}"
        return (spelling.removesuffix("s"), spelling) if is_map(self.field) else (spelling,)

    @property
    def metavar(self) -> str:
        """What the help shows for the value."""
        if self.field.message_type:
            return _metavar_of_message(self.field.message_type)
        if names_object(self.field):
            return self.field.name.rpartition("_")[2].upper()
        if self.field.enum_type:
            return "WORD"
        return "TEXT" if self.field.cpp_type == FieldDescriptor.CPPTYPE_STRING else "NUMBER"

    @property
    def help(self) -> str:
        """One line for people."""
        demanded = all(map(is_demanded, self.path[1:] or self.path))
        return "; ".join(
            filter(None, [describe(self.field), self._rival, "required" if demanded else ""])
        )

    @property
    def _rival(self) -> str:
        oneof = self.field.containing_oneof
        if oneof is None or oneof.fields[0] is self.field:
            return ""
        return f"instead of --{self.name.removesuffix('-' + _dashed(self.field))}"

    def set(self, job: Job, texts: Sequence[str]) -> None:
        """Set the field in a job; raise ValueError for a text that is no value of it."""
        owner: Message = job
        for step in self.path[:-1]:
            owner = getattr(owner, step.name)
            owner.SetInParent()
        oneof = self.field.containing_oneof
        if oneof and owner.WhichOneof(oneof.name):
            raise ValueError(f"stands beside another of {', '.join(f.name for f in oneof.fields)}")
        _assign(owner, self.field, texts)

    def read(self, job: Job) -> list[str]:
        """Return the texts that would set the field as it is in the job; none if it is absent."""
        owner: Message = job
        for step in self.path[:-1]:
            if not owner.HasField(step.name):
                return []
            owner = getattr(owner, step.name)
        values = dict(owner.ListFields())
        return _texts(self.field, values[self.field]) if self.field in values else []


def algorithm_flags(algorithm: FieldDescriptor) -> list[Flag]:
    """Return the flags of one algorithm. algorithm: its field in Job."""
    fields = settable_fields(_message_of(algorithm))
    return [flag for field in fields for flag in _flags(_dashed(field), (algorithm, field))]


def job_flags() -> list[Flag]:
    """Return the flags of what every job has."""
    fields = settable_fields(JOB)
    return [Flag(_dashed(field), (field,)) for field in fields if field not in ALGORITHMS]


def flag_behind(path: str) -> str:
    """Return the flag that a violation's path, such as "job.cover.output.uri", is about, or ""."""
    _, *names = _SUBSCRIPT.sub("", path).split(".")
    arms = [field for field in ALGORITHMS if names and field.name == names[0]]
    flags = [*job_flags(), *(flag for arm in arms for flag in algorithm_flags(arm))]
    shared = {flag.name: _shared_steps(flag, names) for flag in flags}
    nearest = max(flags, key=lambda flag: shared[flag.name])
    return f"--{nearest.name}" if shared[nearest.name] >= min(2, len(nearest.path)) else ""


def _shared_steps(flag: Flag, names: Sequence[str]) -> int:
    steps = 0
    for field, name in zip(flag.path, names, strict=False):
        if field.name != name:
            break
        steps += 1
    return steps


def _flags(name: str, path: tuple[FieldDescriptor, ...]) -> Iterator[Flag]:
    field = path[-1]
    if not _is_object(field):
        yield Flag(name, path)
        return
    for position, member in enumerate(settable_fields(_message_of(field))):
        member_name = f"{name}-{_dashed(member)}" if position else name
        yield from _flags(member_name, (*path, member))


def _is_object(field: FieldDescriptor) -> bool:
    """Return whether a field holds one message whose first field names an object."""
    if not field.message_type or field.is_repeated:
        return False
    return names_object(next(settable_fields(field.message_type)))


def _assign(owner: Message, field: FieldDescriptor, texts: Sequence[str]) -> None:
    values = [parse(field, piece) for text in texts for piece in _pieces(field, text)]
    if is_map(field):
        getattr(owner, field.name).update((entry.key, entry.value) for entry in values)
    elif field.is_repeated:
        getattr(owner, field.name).extend(values)
    elif field.message_type:
        getattr(owner, field.name).CopyFrom(values[-1])
        getattr(owner, field.name).SetInParent()
    else:
        setattr(owner, field.name, values[-1])


def _pieces(field: FieldDescriptor, text: str) -> list[str]:
    """Split a list that is given at once, where a comma cannot mean anything else."""
    plain = field.enum_type or (
        field.message_type and syntax_of(field.message_type) is Syntax.RANGE
    )
    return text.split(",") if field.is_repeated and plain else [text]


def _texts(field: FieldDescriptor, value: Any) -> list[str]:
    if is_map(field):
        return [f"{key}={text}" for key, text in sorted(value.items())]
    return [render(field, one) for one in (value if field.is_repeated else [value])]


def _metavar_of_message(message: Descriptor) -> str:
    fields = list(settable_fields(message))
    names = [field.name.partition("_")[0].upper() for field in fields]
    return {
        Syntax.WHOLE: fields[0].name.rpartition("_")[2].upper() if fields else "",
        Syntax.PAIR: "=".join(names),
        Syntax.RANGE: "-".join(names),
        Syntax.ORDERED: ",".join(names),
        Syntax.NAMED: "NAME=VALUE,...",
        Syntax.DURATION: "SECONDS",
        Syntax.JSON: "JSON",
    }[syntax_of(message)]


def _message_of(field: FieldDescriptor) -> Descriptor:
    if field.message_type is None:
        raise TypeError(f"{field.full_name} holds no message")
    return field.message_type


def _dashed(field: FieldDescriptor) -> str:
    return field.name.replace("_", "-")
