"""How the results of `imsgw policy` are printed, for people and for programs. Decides the words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:  # other commands start without casbin
    from ims_gateway.policy.findings import Finding
    from ims_gateway.policy.replay import Change, Group, Replay, Verdict
    from ims_gateway.policy.suites import Outcome


def complain(lines: Iterable[str]) -> None:
    """Print lines to standard error."""
    for line in lines:
        typer.echo(line, err=True)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


def print_finding(found: Finding) -> None:
    """Print where a finding is, what it is and how to mend it."""
    rule = f"{found.rule}: " if found.rule else ""
    typer.echo(f"{_place(found.file, found.line)}: {found.kind.severity} {found.code}")
    typer.echo(f"    {rule}{found.what}")
    typer.echo(f"    {found.kind.meaning} {found.kind.mend}")


def finding_facts(found: Finding) -> dict[str, Any]:
    """Return a finding for programs."""
    return {**dataclasses.asdict(found), **dataclasses.asdict(found.kind)}


def print_outcome(outcome: Outcome) -> None:
    """Print what came of a case."""
    case = outcome.case
    if outcome.wrong:
        place = _place(case.file, case.line)
        typer.echo(f"FAIL {place} {case.written.name}: {outcome.wrong}")
    else:
        typer.echo(f"ok   {case.file} {case.written.name}")


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """Return what came of a case, for programs."""
    case = outcome.case
    return {
        "file": case.file,
        "line": case.line if outcome.wrong else 0,
        "name": case.written.name,
        "passed": not outcome.wrong,
        "wrong": outcome.wrong,
    }


def print_replay(found: Replay, *, as_json: bool) -> None:
    """Print what a change would allow and deny, most calls first."""
    changes = sorted(found.changes.items(), key=lambda each: -each[1].calls)
    if as_json:
        counts = {
            name: getattr(found, name) for name in ("asked", "without_question", "unreadable")
        }
        print_json({**counts, "changes": [_change(group, change) for group, change in changes]})
        return
    for group, change in changes:
        _print_change(group, change)
    typer.echo(
        f"{found.asked} calls asked anew, {sum(each.calls for _, each in changes)} with another "
        f"answer; {found.without_question} records without a question, "
        f"{found.unreadable} unreadable"
    )


def _print_change(group: Group, change: Change) -> None:
    now = "newly allowed" if group.after.allowed else "newly denied"
    typer.echo(f"{now}: {group.subject} in {group.tenant}, {group.action} {group.algorithm}")
    typer.echo(f"    before     {_verdict(group.before)}")
    typer.echo(f"    after      {_verdict(group.after)}")
    typer.echo(f"    calls      {change.calls}, such as {', '.join(change.decision_ids)}")
    for named in change.objects:
        typer.echo(f"    refused    {named}")


def _verdict(verdict: Verdict) -> str:
    failed = f" ({verdict.dimension})" if verdict.dimension else ""
    word = "allowed" if verdict.allowed else f"denied{failed}"
    return f"{word} by {verdict.rule}" if verdict.rule else word


def _change(group: Group, change: Change) -> dict[str, Any]:
    return {**dataclasses.asdict(group), **dataclasses.asdict(change)}
