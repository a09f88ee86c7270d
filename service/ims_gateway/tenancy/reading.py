"""Reads configuration files, and says where in them a fault lies.

Values are not shown: they may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from ryaml import InvalidYamlError, loads  # type: ignore[attr-defined]  # its stubs do not export them

from ims_gateway.tenancy.shape import File


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file. `line` counts from 1; 0 is a fault of the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else self.summary

    @property
    def summary(self) -> str:
        """The fault without its line."""
        return f"{self.file}: {self.message}"


class ConfigurationError(Exception):
    """Faults of the configuration, each with its file; all of them at once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


FileModel = TypeVar("FileModel", bound=File)


def read(path: Path, model: type[FileModel]) -> FileModel:
    """Read and check one YAML file. Raises ConfigurationError with every fault."""
    return parse(text_of(path), path.name, model)


def text_of(path: Path | str) -> str:
    """Return a file's text. Raises ConfigurationError where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a start opens thousands
            return file.read().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([Fault(Path(path).name, 0, type(error).__name__)]) from None


def parse(text: str, name: str, model: type[FileModel]) -> FileModel:
    """Check the text of the file `name`. Raises ConfigurationError with every fault.

    YAML 1.2 is read: a key that stands twice, more than one document and keys that are no text are
    faults. A second `grants` that undoes the first without a word would be a hole.
    """
    try:
        return model.model_validate(loads(text))
    except ValidationError as error:
        faults = [_fault(text, name, fault) for fault in _told(error.errors())]
        raise ConfigurationError(faults) from None
    except (InvalidYamlError, ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError([_syntax_fault(text, name, error)]) from None


def fault_at(text: str, name: str, where: list[str | int], problem: str) -> Fault:
    """Return a fault of one of the file's members, found by looking at other files."""
    return Fault(name, _line(text, where), f"{_path(where)}: {problem}")


def _told(faults: Sequence[Any]) -> list[Any]:
    """Leave out that a list is too short where only its faulty members make it so."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(place[: len(fault["loc"])] == fault["loc"] != place for place in places)
    ]


def _fault(text: str, name: str, fault: Any) -> Fault:
    return fault_at(text, name, _members(fault["loc"]), fault["msg"])


def _members(place: Sequence[str | int]) -> list[str | int]:
    """Leave out the kinds that stand between a member and those of its kind, and are no members."""
    of_limit = place[:1] == ("limits",)
    return [
        part
        for depth, part in enumerate(place)
        if not (of_limit and depth == 2)  # noqa: PLR2004 - limits[0].kind
        and not (depth and place[depth - 1] in ("credentials", "base"))
    ]


def _path(where: list[str | int]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else part for part in where)
    return re.sub(r"\.\[", "[", ".".join(parts)) or "file"


def _syntax_fault(text: str, name: str, error: Exception) -> Fault:
    """Return a fault of the YAML itself; its words may quote the file, so only the kind is told."""
    message = str(error)
    place = re.search(r"at line (\d+)", message)
    key = re.search(r'duplicate entry with key "([A-Za-z_0-9-]{1,64})"', message)
    if key:
        return Fault(name, _second(text, key[1]), f"{key[1]} stands twice")
    return Fault(name, int(place[1]) if place else 0, "not well-formed YAML")


def _second(text: str, key: str) -> int:
    """Return the line at which a mapping has the key for the second time."""
    nodes = [_tree(text)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            found = [name for name, _ in node.value if name.value == key]
            if len(found) > 1:
                return int(found[1].start_mark.line) + 1
            nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
    return 0


def _tree(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None


def _line(text: str, where: list[str | int]) -> int:
    """Return the line of the deepest part of the path that the file has."""
    node = _tree(text)
    line = node.start_mark.line if node else 0
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                break
            key, node = found[0]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1
