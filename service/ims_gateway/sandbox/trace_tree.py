"""Keeps the spans of a run in memory and draws one trace as a tree."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from rich.tree import Tree

SHOWN = (
    "imsgateway.rule",
    "imsgateway.job_state",
    "imsgateway.upstream.action",
    "imsgateway.upstream.request_id",
    "http.response.status_code",
    "error.type",
)


class SpanKeeper(SpanProcessor):
    """Keeps every span that has ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span."""
        self.spans.append(span)


def trace_of(spans: Iterable[ReadableSpan], job: str) -> Tree:
    """Return the trace of the submit that made the job, as a tree with each span's time.

    Raises LookupError where no span names the job.
    """
    spans = list(spans)
    roots = [span for span in spans if (span.attributes or {}).get("imsgateway.job") == job]
    if not roots:
        raise LookupError(job)
    root = min(roots, key=lambda span: span.start_time or 0)
    tree = Tree(_line(root))
    steps = [span for span in spans if span.parent and _id(span.parent) == _id(root.context)]
    for step in sorted(steps, key=lambda span: span.start_time or 0):
        tree.add(_line(step))
    return tree


def _id(context: object) -> object:
    return getattr(context, "span_id", None)


def _line(span: ReadableSpan) -> str:
    milliseconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    facts = [
        f"{name.rpartition('.')[2]}={value!s}"
        for name, value in (span.attributes or {}).items()
        if name in SHOWN
    ]
    return f"{span.name}  [bold]{milliseconds:.2f} ms[/bold]  [dim]{' '.join(facts)}[/dim]"
