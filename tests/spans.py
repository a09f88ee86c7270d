"""Keeps the spans of a gateway in memory."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, Status, StatusCode

from ims_gateway.telemetry.providers import SERVICE
from ims_gateway.telemetry.spans import SCOPE, Facts


class SpanKeeper:
    """Keeps every span that has ended, as the SDK has it."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, facts: Facts) -> None:
        """Keep the span."""
        self.spans.append(readable(facts))

    def shutdown(self) -> None:
        """Go on keeping them."""


def readable(facts: Facts) -> ReadableSpan:
    """Return the SDK's span that tells these facts."""
    return ReadableSpan(
        facts.name,
        facts.context,
        facts.parent,
        SERVICE,
        facts.attributes,
        links=(Link(facts.cause),) if facts.cause and facts.cause.is_valid else (),
        kind=facts.kind,
        status=Status(StatusCode.ERROR, facts.error) if facts.error else Status(StatusCode.UNSET),
        start_time=facts.began,
        end_time=facts.ended,
        instrumentation_scope=SCOPE,
    )
