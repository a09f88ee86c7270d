"""Write the parts of the documentation that the code already says.

Tables stand between two markers of a page, `<!-- generated: NAME -->` and `<!-- end -->`. Editors
check the configuration's files with the schemas in docs/schemas/.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args

from google.protobuf import descriptor_pb2
from google.rpc import code_pb2
from opentelemetry.sdk.metrics import MeterProvider
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from ims_gateway import errors
from ims_gateway.algorithms.algorithm import Algorithm, Parameter
from ims_gateway.algorithms.table import TABLE
from ims_gateway.policy.findings import KINDS
from ims_gateway.policy.suite_file import SuiteFile
from ims_gateway.settings import Settings
from ims_gateway.telemetry.instruments import INSTRUMENTS, Instrument, Kind
from ims_gateway.telemetry.meters import Meters
from ims_gateway.telemetry.prometheus import PrometheusReader, family
from ims_gateway.tenancy.credentials_file import KINDS as KINDS_OF_CREDENTIALS
from ims_gateway.tenancy.files import AccountsFile, IssuersFile, TenantFile
from ims_gateway.tenancy.grant_file import GrantsFile
from ims_gateway.tenancy.limits_file import PricesFile
from ims_gateway.tenancy.principal_file import OperatorsFile
from ims_gateway.tenancy.shape import File
from imsgateway.v1 import errors_pb2

ROOT: Final = Path(__file__).resolve().parents[1]
IMAGE: Final = ROOT / "build" / "imsgateway.binpb"
SCHEMAS: Final[dict[str, type[File]]] = {
    "tenant": TenantFile,
    "grants": GrantsFile,
    "accounts": AccountsFile,
    "issuers": IssuersFile,
    "operators": OperatorsFile,
    "prices": PricesFile,
    "suite": SuiteFile,
}
PAGES: Final = ("README.md", "docs/reference.md")
MARKED: Final = re.compile(r"(<!-- generated: (\w+) -->).*?(<!-- end -->)", re.DOTALL)


TYPES: Final = {
    Path: "path",
    SecretStr: "secret",
    str: "text",
    bool: "true or false",
    int: "integer",
    float: "number",
}


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table of Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def comments(file_name: str) -> dict[tuple[int, ...], str]:
    """Return the comments of a proto, by the path of what they stand beside."""
    image = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    file = next(file for file in image.file if file.name == f"imsgateway/v1/{file_name}")
    return {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }


def algorithms() -> str:
    """Return the algorithms with what they are sent as."""
    # Path of a message's comment in a file: field 4 (message_type), index.
    said = comments("algorithms.proto")
    image = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    file = next(file for file in image.file if file.name == "imsgateway/v1/algorithms.proto")
    meaning = {message.name: said[4, i] for i, message in enumerate(file.message_type)}
    return table(
        ("algorithm", "FunctionName", "what it does", "parameters"),
        [
            (
                f"`{row.field}`",
                row.function_name,
                meaning[row.function_name],
                ", ".join(f"`{parameter.field}`" for parameter in _parameters(row)) or "none",
            )
            for row in TABLE
        ],
    )


def _parameters(row: Algorithm) -> tuple[Parameter, ...]:
    return row.parameters if row.model is None else (*row.parameters, row.model)


def reasons() -> str:
    """Return the reasons of refusals with their codes."""
    said = comments("errors.proto")
    classes = {kind.reason: kind for kind in _refusals(errors.Refusal) if hasattr(kind, "reason")}
    rows = []
    for index, value in enumerate(errors_pb2.ErrorReason.DESCRIPTOR.values):
        if value.number in classes:
            code = code_pb2.Code.Name(classes[value.number].code)
            text = said[5, 0, 2, index].partition(": ")[2]
            rows.append(
                (f"`{errors.reason_name(value.number)}`", code, text[:1].upper() + text[1:])
            )
    return table(("reason", "code", "meaning"), rows)


def _refusals(kind: type[errors.Refusal]) -> list[type[errors.Refusal]]:
    found = [kind]
    for below in kind.__subclasses__():
        found += _refusals(below)
    return found


def settings() -> str:
    """Return the settings of `imsgw serve`."""
    rows = []
    for name, field in Settings.model_fields.items():
        required = field.default is PydanticUndefined
        default = "required" if required else f"`{field.default}`"
        variable = f"`IMSGW_{name.upper()}`"
        rows.append((variable, _type(field.annotation), default, field.description or ""))
    return table(("variable", "type", "default", "meaning"), rows)


def _type(annotation: Any) -> str:
    known = [part for part in get_args(annotation) or (annotation,) if part is not NoneType]
    return TYPES[known[0]]


def lint() -> str:
    """Return what `imsgw policy lint` finds."""
    rows = [
        (f"`{code}`", str(kind.severity), kind.meaning, kind.mend) for code, kind in KINDS.items()
    ]
    return table(("code", "severity", "meaning", "mend"), rows)


def metrics() -> str:
    """Return what is measured."""
    rows = [
        (
            f"`{each.name}`",
            f"`{_exposed(each)}`",
            each.kind.value,
            each.unit.replace("{", "").replace("}", ""),
            ", ".join(f"`{name}`" for name in each.attributes),
            each.description,
        )
        for each in INSTRUMENTS
    ]
    return table(("instrument", "Prometheus", "kind", "unit", "attributes", "meaning"), rows)


def _exposed(instrument: Instrument) -> str:
    """Return the name that the Prometheus port gives it, by measuring once."""
    reader = PrometheusReader()
    meters = Meters(MeterProvider([reader], shutdown_on_exit=False), [reader])
    values = [""] * len(instrument.attributes)
    match instrument.kind:
        case Kind.COUNTER:
            meters.counter(instrument).add(*values)
        case Kind.GAUGE:
            meters.gauge(instrument, lambda: [(tuple(values), 1)])
        case Kind.HISTOGRAM:
            meters.histogram(instrument).record(1, *values)
    data = reader.get_metrics_data()
    if data is None:
        raise LookupError(instrument.name)
    shown = family(data.resource_metrics[0].scope_metrics[0].metrics[0])
    return f"{shown.name}_total" if shown.type == "counter" else shown.name


def credentials() -> str:
    """Return the kinds of credentials that an account can have."""
    rows = []
    for kind in KINDS_OF_CREDENTIALS:
        members = [
            f"`{name}`" + (" (required)" if field.is_required() else "")
            for name, field in kind.model_fields.items()
            if name != "type"
        ]
        (name,) = get_args(kind.model_fields["type"].annotation)
        said = " ".join((kind.__doc__ or "").split())
        rows.append((f"`{name}`", said, ", ".join(members) or "none"))
    return table(("type", "where keys come from", "members"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "algorithms": algorithms,
    "credentials": credentials,
    "lint": lint,
    "metrics": metrics,
    "reasons": reasons,
    "settings": settings,
}


def rendered(page: str) -> str:
    """Return the page with every table as the code says it today."""
    return MARKED.sub(lambda mark: f"{mark[1]}\n{TABLES[mark[2]]()}\n{mark[3]}", page)


def schema(model: type[File]) -> str:
    """Return the JSON Schema of a configuration file."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def files() -> dict[str, str]:
    """Return the text of every file that is written, by its path in the repository."""
    pages = {name: rendered((ROOT / name).read_text(encoding="utf-8")) for name in PAGES}
    schemas = {f"docs/schemas/{name}.json": schema(model) for name, model in SCHEMAS.items()}
    return pages | schemas


def main() -> None:
    """Write the files, or with --check say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if outdated")
    check = parser.parse_args().check
    outdated = []
    for name, after in files().items():
        path = ROOT / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before != after:
            outdated.append(name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(after, encoding="utf-8")
    if check and outdated:
        sys.exit(f"out of date, run `make docs`: {', '.join(outdated)}")


if __name__ == "__main__":
    main()
