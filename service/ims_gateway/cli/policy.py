"""imsgw policy: policies as code, read from files and asked offline.

Decides the flags, the words, and the exit codes, which are made for CI. What is found is found in
`policy/`; a running gateway is not asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ims_gateway.cli import policy_report as report
from ims_gateway.cli.form import Form, Output

if TYPE_CHECKING:  # imported where they are needed: other commands start without casbin
    from ims_gateway.policy.suites import Outcome, Suites
    from ims_gateway.tenancy.directory import Directory

app = typer.Typer(help="Policies as code.", no_args_is_help=True)

FOUND: Final = 1
TROUBLE: Final = 2
# Of sysexits.h.
UNUSABLE: Final = 78


ConfigDir = Annotated[
    Path, typer.Option(envvar="IMSGW_CONFIG_DIR", show_envvar=True, help="The gateway's files.")
]


@app.callback()
def policy() -> None:
    """Policies as code."""


@app.command(epilog="Exit codes: 0 clean · 1 findings · 2 wrong flags · 78 no configuration there")
def lint(
    *,
    config_dir: ConfigDir,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count, too.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """Find grants that cannot be meant: malformed, unreachable, overbroad or shadowed ones."""
    from ims_gateway.policy.findings import Severity  # noqa: PLC0415 - see above
    from ims_gateway.policy.lint import lint as find  # noqa: PLC0415

    _check_folder(config_dir, UNUSABLE)
    found = find(config_dir)
    if output is Form.JSON:
        report.print_json([report.finding_facts(each) for each in found])
    else:
        for each in found:
            report.print_finding(each)
        typer.echo(f"{len(found)} findings")
    if any(strict or each.kind.severity is Severity.ERROR for each in found):
        raise typer.Exit(FOUND)


@app.command("test", epilog="Exit codes: 0 as expected · 1 other answers · 2 wrong flags or files")
def run_suites(
    suites: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SUITE", help="Default: policy_tests/*.yaml of the configuration."),
    ] = None,
    *,
    config_dir: ConfigDir,
    output: Output = Form.TABLE,
) -> None:
    """Ask policies what their suites say, and compare the answers."""
    from ims_gateway.policy.suites import Examiner  # noqa: PLC0415 - see above

    directory = _directory(config_dir, TROUBLE)
    examiner = Examiner()
    read = (
        examiner.read_files({str(path): path for path in suites})
        if suites
        else examiner.read(config_dir)
    )
    outcomes, missing = _run(directory, read)
    troubles = [*(str(fault) for found in read.faults.values() for fault in found), *missing]
    failed = [outcome for outcome in outcomes if outcome.wrong]
    if output is Form.JSON:
        report.print_json(
            {"cases": [report.outcome_facts(each) for each in outcomes], "troubles": troubles}
        )
    else:
        for each in outcomes:
            report.print_outcome(each)
        typer.echo(f"{len(outcomes)} cases, {len(failed)} with another answer")
        report.complain(troubles)
    if troubles:
        raise typer.Exit(TROUBLE)
    if failed:
        raise typer.Exit(FOUND)


@app.command(epilog="Exit codes: 0 the same answers · 1 other answers · 2 trouble")
def diff(
    *,
    before: Annotated[Path, typer.Option(help="Configuration as it is.")],
    after: Annotated[Path, typer.Option(help="Configuration as it would be.")],
    decisions: Annotated[Path, typer.Option(help="Decision log: one record of JSON a line.")],
    output: Output = Form.TABLE,
) -> None:
    """Show what a change would newly allow or deny of the calls on record."""
    from ims_gateway.policy.replay import replay  # noqa: PLC0415 - see above

    directories = _directory(before, TROUBLE), _directory(after, TROUBLE)
    try:
        with decisions.open(encoding="utf-8", errors="replace") as lines:
            found = replay(lines, *directories)
    except OSError as error:
        report.complain([f"{decisions}: {error.strerror}"])
        raise typer.Exit(TROUBLE) from None
    report.print_replay(found, as_json=output is Form.JSON)
    if found.unreadable and not found.asked:
        report.complain([f"{decisions}: holds no record of a decision"])
        raise typer.Exit(TROUBLE)
    if found.changes:
        raise typer.Exit(FOUND)


@app.command(epilog="Exit codes: 0 allowed · 1 denied · 2 wrong flags or job · 78 configuration")
def explain(
    job: Annotated[str, typer.Argument(metavar="JOB", help="As YAML or JSON; - for input.")],
    *,
    tenant: Annotated[str, typer.Option(help="For which tenant the job is.")],
    principal: Annotated[
        str, typer.Option(help="Its principal, or tenants/TENANT/principals/NAME of another.")
    ],
    config_dir: ConfigDir,
    output: Output = Form.TABLE,
) -> None:
    """Say what the policy of the files says about a job, and what comes closest."""
    from google.protobuf import json_format  # noqa: PLC0415 - see above

    from ims_gateway.errors import InvalidRequest  # noqa: PLC0415
    from ims_gateway.policy.policies import build  # noqa: PLC0415
    from ims_gateway.policy.suites import Examiner, question, subject_of  # noqa: PLC0415
    from ims_gateway.preview import decision_message  # noqa: PLC0415
    from ims_gateway_client.cli.console import console  # noqa: PLC0415
    from ims_gateway_client.cli.job_files import read_job  # noqa: PLC0415
    from ims_gateway_client.cli.tables import decision_table  # noqa: PLC0415

    found = _directory(config_dir, UNUSABLE).tenant(tenant)
    if found is None:
        raise typer.BadParameter(f"there is no tenant {tenant}", param_hint="--tenant")
    validation = Examiner().validation()
    try:
        ask = question(subject_of(principal), found, read_job(job), validation)
    except InvalidRequest as error:
        report.complain(f"{each.path}: {each.description}" for each in error.violations)
        raise typer.Exit(TROUBLE) from None
    decision = build(found, found.grants).explain(ask)
    message = decision_message(decision, "")
    if output is Form.JSON:
        typer.echo(json_format.MessageToJson(message, ensure_ascii=False))
    else:
        console().print(decision_table(message))
    raise typer.Exit(0 if decision.allowed else FOUND)


def _check_folder(folder: Path, code: int) -> None:
    from ims_gateway.tenancy.platform import place_of  # noqa: PLC0415 - see above

    if not (place_of(folder) / "accounts.yaml").is_file():
        report.complain([f"{folder}: there is no accounts.yaml"])
        raise typer.Exit(code)


def _directory(folder: Path, code: int) -> Directory:
    """Return what is on file; a tenant that is left out would make every answer a guess."""
    from ims_gateway.tenancy.loading import load  # noqa: PLC0415 - see above
    from ims_gateway.tenancy.reading import ConfigurationError  # noqa: PLC0415

    _check_folder(folder, code)
    try:
        loaded = load(folder)
    except ConfigurationError as error:
        report.complain(map(str, error.faults))
        raise typer.Exit(code) from None
    if loaded.faults:
        report.complain(str(fault) for found in loaded.faults.values() for fault in found)
        raise typer.Exit(code)
    return loaded.directory


def _run(directory: Directory, read: Suites) -> tuple[list[Outcome], list[str]]:
    """Return the outcomes of all suites, and what is said of tenants that are not there."""
    outcomes: list[Outcome] = []
    missing: list[str] = []
    for name, files in read.tenants.items():
        tenant = directory.tenant(name)
        if tenant is None:
            missing += (f"{file}: there is no tenant {name}" for file in sorted(files))
        else:
            outcomes += read.run(tenant)
    return sorted(outcomes, key=lambda each: (each.case.file, each.case.number)), missing
