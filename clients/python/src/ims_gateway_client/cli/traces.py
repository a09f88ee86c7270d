"""What happened to a job, drawn as a tree with its times.

Decides what stands beside a step, and against what its bar is drawn: a step of the submit against
the whole submit, a state against the job's whole life. Prints nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ims_gateway_client.cli.bars import WIDTH, bar
from ims_gateway_client.cli.console import plain
from ims_gateway_client.cli.tables import facts_table, state_text, time_text
from ims_gateway_client.jobs import is_terminal
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_trace_pb2 import JobTrace

_OK: Final = ("ok", "OK")
_WITH_BARS: Final = 5
_MINUTE: Final = 60.0
# Attributes have the names of spans; beside a step of a known name fewer words are enough.
_WORDS: Final = {
    "imsgateway.rule": "rule",
    "imsgateway.quota.outcome": "quota",
    "imsgateway.upstream.request_id": "request",
}
# Too much for a line, and in the JSON.
_LEFT_OUT: Final = frozenset({"imsgateway.policy_version"})


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the tree. Seconds from the begin of it all; None where they are not known."""

    name: Text
    at: float | None = None
    took: float | None = None
    facts: Text = field(default_factory=Text)


def trace_tree(trace: JobTrace, *, narrow: bool = False) -> Group:
    """Return a job's steps and states, each with when it began and how long it took.

    A narrow one is without bars.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, justify="right")
    if not narrow:
        table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    begin = _begin(trace).ToMicroseconds()
    _add(table, _submit(trace), sorted(_steps(trace, begin), key=_order))
    _add(table, _life(trace, begin), list(_states(trace, begin)))
    return Group(_head(trace), "", table)


def _head(trace: JobTrace) -> Table:
    table = facts_table()
    table.add_row("job", plain(trace.name.removesuffix("/trace")))
    table.add_row("algorithm", plain(trace.algorithm.replace("_", "-")))
    table.add_row("state", state_text(Job(state=trace.state)))
    if trace.HasField("failure"):
        table.add_row("failure", plain(f"{trace.failure.code}: {trace.failure.message}"))
    table.add_row("begun", time_text(_begin(trace)))
    table.add_row("trace id", plain(trace.trace_id))
    table.add_row("decision id", plain(trace.decision_id))
    return table


def _add(table: Table, root: _Line, below: Sequence[_Line]) -> None:
    """Add a line and those below it, their bars drawn against its time."""
    for number, line in enumerate((root, *below)):
        guide = "" if number == 0 else "└─ " if number == len(below) else "├─ "
        times = (
            "" if line.at is None else f"+{span_text(line.at)}",
            "" if line.took is None else span_text(line.took),
        )
        drawn = [_waterfall(root, line)] if len(table.columns) == _WITH_BARS else []
        table.add_row(Text.assemble((guide, "dim"), line.name), *times, *drawn, line.facts)


def _waterfall(root: _Line, line: _Line) -> str:
    """Return a bar that stands where the line's time lies in its root's."""
    if not root.took or line.at is None or line.took is None:
        return ""
    begin = min(max((line.at - (root.at or 0.0)) / root.took, 0.0), 1.0)
    cells = min(int(begin * WIDTH), WIDTH - 1)
    share = line.took / root.took
    return " " * cells + bar(min(share * WIDTH / (WIDTH - cells), 1.0), WIDTH - cells)


def _submit(trace: JobTrace) -> _Line:
    if not trace.HasField("submit"):
        under_way = trace.state == Job.STATE_SUBMITTING
        why = (
            "still under way" if under_way else "not on record: only the latest decisions are kept"
        )
        return _Line(Text("submit"), facts=Text(why, style="dim"))
    call = trace.submit
    facts = _outcome(call.code, call.reason)
    if call.code in ("CANCELLED", "DEADLINE_EXCEEDED"):
        facts.append("; the caller left, the submit went on", style="dim")
    return _Line(Text("submit"), 0.0, call.duration.ToMicroseconds() / 1e6, facts)


def _steps(trace: JobTrace, begin: int) -> Iterator[_Line]:
    steps = trace.submit.steps
    for step in steps:
        known = step.HasField("start_offset")
        at = step.start_offset.ToMicroseconds() / 1e6 if known else None
        took = step.duration.ToMicroseconds() / 1e6
        yield _Line(Text(plain(step.name)), at, took, _beside(step))
    if trace.HasField("dispatch_time") and "send" not in [step.name for step in steps]:
        at = _seconds(trace.dispatch_time, begin)
        yield _Line(Text("dispatch"), at, facts=Text("from here on it may have gone out", "dim"))


def _beside(step: JobTrace.Step) -> Text:
    facts = [
        f"{_WORDS.get(name, name)} {value}"
        for name, value in step.attributes.items()
        if name not in _LEFT_OUT
    ]
    facts += [f"{each.limit_id} {each.remaining} of {each.limit} left" for each in step.limits]
    outcome = "" if step.outcome in _OK else f"{step.outcome}  "
    return Text.assemble((plain(outcome), "red"), (plain(", ".join(sorted(facts))), "dim"))


def _life(trace: JobTrace, begin: int) -> _Line:
    """Return the line of the job's whole life, up to now where it has not ended."""
    facts = Text()
    if trace.HasField("next_poll_time"):
        wait = _seconds(trace.next_poll_time, trace.read_time.ToMicroseconds())
        facts = Text(f"asked about again in {span_text(max(wait, 0.0))}", style="dim")
    times = [change.time for change in trace.changes] or [trace.read_time]
    end = times[-1] if is_terminal(Job(state=trace.state)) else trace.read_time
    at = _seconds(times[0], begin)
    return _Line(Text("job"), at, _seconds(end, begin) - at, facts)


def _states(trace: JobTrace, begin: int) -> Iterator[_Line]:
    ends = [*(change.time for change in trace.changes[1:]), trace.read_time]
    for change, until in zip(trace.changes, ends, strict=False):
        job = Job(state=change.state)
        at = _seconds(change.time, begin)
        took = None if is_terminal(job) else _seconds(until, begin) - at
        yield _Line(state_text(job), at, took, Text(plain(change.cause), style="dim"))


def _outcome(code: str, reason: str) -> Text:
    return Text(plain(f"{code} {reason}".strip()), style="green" if code in _OK else "red")


def _begin(trace: JobTrace) -> Timestamp:
    """Return when it all began: the call, where it is on record."""
    if trace.HasField("submit"):
        return trace.submit.start_time
    return trace.changes[0].time if trace.changes else trace.read_time


def _order(line: _Line) -> float:
    """Return what lines are sorted by; those without a time come last."""
    return math.inf if line.at is None else line.at


def _seconds(time: Timestamp, begin: int) -> float:
    return (time.ToMicroseconds() - begin) / 1e6


def span_text(seconds: float) -> str:
    """Return a span of time as people read it, such as "0.31 ms", "2.4 s" or "3 m 05 s"."""
    if seconds < 1:
        return f"{seconds * 1e3:.2f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.2f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {seconds:02} s"
