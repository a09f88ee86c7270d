"""The shape of the configuration files, and their reading.

    accounts.yaml        upstream accounts
    grants.yaml          grants that hold for every tenant (optional)
    operators.yaml       operators of the platform (optional)
    tenants/<name>.yaml  one tenant each

What it decides: whether a file is well formed. It knows no environment and keeps no state.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from yaml.constructor import ConstructorError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
Pattern = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f]+$")]
Patterns = Annotated[list[Pattern], Field(min_length=1)]
LONGEST_REFILL_SECONDS: Final = 366 * 24 * 3600


class ConfigurationError(Exception):
    """Faults of the configuration, each with its file; all of them at once."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone") from error
    return name


class _Loader(yaml.SafeLoader):
    """YAML whose faults have a line: a key that stands twice, a value such as 2027-13-45."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys: list[Any] = []
        for key, _ in node.value:
            # YAML keeps the last one and says nothing: a second `grants` would undo the first.
            if key.value in keys:
                raise ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            keys.append(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError):
            problem = "a value that cannot be read"
            raise ConstructorError(None, None, problem, node.start_mark) from None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class KeyFile(_File):
    """One API key: its id and what `imsgw keys create` printed as its hash."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{8}$")]
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    expires: datetime | None = None
    disabled: bool = False

    @model_validator(mode="after")
    def _has_zone(self) -> KeyFile:
        if self.expires is not None and self.expires.tzinfo is None:
            raise ValueError("expires needs a time zone, such as 2027-01-01T00:00:00Z")
        return self


class PrincipalFile(_File):
    """One caller of the tenant, with its roles and keys."""

    name: Name
    roles: list[Name] = []
    keys: list[KeyFile] = []


class CeilingsFile(_File):
    """What a grant allows to be asked for; what is absent is not limited.

    A model, pipeline or template that a job does not name stands as "-".
    """

    priority: (
        tuple[Annotated[int, Field(ge=1, le=10)], Annotated[int, Field(ge=1, le=10)]] | None
    ) = None
    models: Patterns = ["*"]
    pipelines: Patterns = ["*"]
    templates: Patterns = ["*"]

    @model_validator(mode="after")
    def _in_order(self) -> CeilingsFile:
        if self.priority and self.priority[0] > self.priority[1]:
            raise ValueError("priority must be [low, high]")
        return self


class GrantFile(_File):
    """One grant. The subject is `key/<principal>` or `role/<role>`."""

    subject: Annotated[str, StringConstraints(pattern=r"^(key|role)/[a-z][a-z0-9-]*$")]
    actions: Annotated[
        list[Literal["*", "submit", "get", "list", "watch", "cancel"]], Field(min_length=1)
    ]
    algorithms: Patterns = ["*"]
    read: list[Pattern] = []
    write: list[Pattern] = []
    ceilings: CeilingsFile = CeilingsFile()
    effect: Literal["allow", "deny"] = "allow"

    @model_validator(mode="after")
    def _denies_something(self) -> GrantFile:
        of_objects = {"*", "submit"}.intersection(self.actions)
        if self.effect == "deny" and of_objects and not (self.read or self.write):
            raise ValueError('a deny of submit needs read or write; read: ["*"] denies every job')
        return self


class RateFile(_File):
    """At most `per_second` on average and `burst` at once."""

    id: Name
    kind: Literal["rate"]
    per_second: Annotated[float, Field(gt=0, le=100_000)]
    burst: Annotated[int, Field(ge=1, le=1_000_000)]

    @model_validator(mode="after")
    def _refills(self) -> RateFile:
        if self.burst / self.per_second > LONGEST_REFILL_SECONDS:
            raise ValueError("burst must refill within 366 days")
        return self


class CountFile(_File):
    """At most `max` in each calendar day of the tenant."""

    id: Name
    kind: Literal["day"]
    max: Annotated[int, Field(ge=0, le=10**12)]


Folder = Annotated[
    str, StringConstraints(pattern=r"^oss://[a-z0-9][a-z0-9-]{1,61}[a-z0-9](/[^/{}%?#\\]+)*$")
]


class TenantFile(_File):
    """One tenant."""

    name: Name
    account: Name
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    default_output: Folder | None = None
    principals: Annotated[list[PrincipalFile], Field(min_length=1)]
    grants: Annotated[list[GrantFile], Field(min_length=1)]
    limits: list[Annotated[RateFile | CountFile, Field(discriminator="kind")]] = []

    @model_validator(mode="after")
    def _ids_are_unique(self) -> TenantFile:
        _unique("limit", [limit.id for limit in self.limits])
        _unique("principal", [principal.name for principal in self.principals])
        _unique("key", [key.id for principal in self.principals for key in principal.keys])
        return self


class CredentialsFile(_File):
    """Where an account's keys come from: the environment, or a file of their own."""

    source: Literal["environment", "file"] = "environment"
    path: Path | None = None

    @model_validator(mode="after")
    def _file_has_path(self) -> CredentialsFile:
        if (self.source == "file") != (self.path is not None):
            raise ValueError("path goes with source: file")
        return self


class AccountFile(_File):
    """One upstream account."""

    name: Name
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z0-9]+)+$")]
    endpoint: str | None = None
    scheme: Literal["https", "http"] = "https"
    ca_file: Path | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=10_000)] = 64
    polls_per_second: Annotated[float, Field(gt=0, le=1_000)] = 10.0
    resend_unknown: bool = False
    credentials: CredentialsFile = CredentialsFile()


class AccountsFile(_File):
    """All upstream accounts."""

    accounts: Annotated[list[AccountFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> AccountsFile:
        _unique("account", [account.name for account in self.accounts])
        return self


class GrantsFile(_File):
    """The platform's grants."""

    grants: list[GrantFile] = []


class OperatorFile(_File):
    """One operator of the platform: keys and nothing else, since no policy is asked about it."""

    name: Name
    keys: Annotated[list[KeyFile], Field(min_length=1)]


class OperatorsFile(_File):
    """The operators of the platform."""

    operators: Annotated[list[OperatorFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> OperatorsFile:
        _unique("operator", [operator.name for operator in self.operators])
        _unique("key", [key.id for operator in self.operators for key in operator.keys])
        return self


def _unique(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} defined twice: {', '.join(twice)}")


FileModel = TypeVar("FileModel", bound=_File)


def read(path: Path, model: type[FileModel]) -> FileModel:
    """Read and check one YAML file.

    Raises ConfigurationError with every fault, as "file:line: path: what is wrong". Values are not
    shown: they may be secrets.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError([_fault(path, text, fault) for fault in error.errors()]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigurationError([f"{path.name}:{line}: {error.problem}"]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError([f"{path.name}: {type(error).__name__}"]) from None


def fault_at(path: Path, field: str, problem: str) -> str:
    """Return a fault of one of the file's own fields, found by looking at other files."""
    return f"{path.name}:{_line(path.read_text(encoding='utf-8'), [field])}: {field}: {problem}"


def _fault(path: Path, text: str, fault: Any) -> str:
    where = [part for part in fault["loc"] if part not in ("rate", "day")]
    field = re.sub(r"\.\[", "[", ".".join(f"[{p}]" if isinstance(p, int) else p for p in where))
    return f"{path.name}:{_line(text, where)}: {field or 'file'}: {fault['msg']}"


def _line(text: str, where: list[str | int]) -> int:
    """Return the line of the deepest part of the path that the file has."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
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
