"""What became of a job, as spans in the trace of its submit: one trace shows it from call to end.

Decides what of a job's later life is shown: each change of its state, and nothing of a poll that
changed none. The submit's span is the parent, by the traceparent that the intent has kept, so a
replica that was not there at the submit, or a later process, goes on with the same trace.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind

from ims_gateway.jobs.record import JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.telemetry import conventions, propagation
from ims_gateway.telemetry.spans import Facts, Spans

TRACK: Final = "track"
# Ends that are errors, since the job was to run.
FAILED: Final = frozenset({State.FAILED, State.SUBMIT_UNKNOWN})


class Tracks:
    """Notes what the tracker finds. `began`, `ended`: microseconds since the epoch."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def changed(self, record: JobRecord, began: int, ended: int, request_id: str = "") -> None:
        """Show that a job has come to the state of its record; `request_id` is the service's."""
        submit = propagation.read(record.traceparent)
        failed = record.state in FAILED
        if not submit.is_valid or not self._spans.wanted(submit, refused=failed):
            return
        known = {
            conventions.TENANT: record.tenant,
            conventions.ALGORITHM: record.algorithm,
            conventions.ACCOUNT: record.account,
            conventions.JOB: record.name,
            conventions.JOB_STATE: record.state.name,
            conventions.UPSTREAM_REQUEST_ID: request_id,
            conventions.ERROR_TYPE: record.failure_code if failed else "",
        }
        facts = Facts(
            TRACK,
            SpanKind.INTERNAL,
            self._spans.below(submit),
            submit,
            began * 1000,
            max(began, ended) * 1000,
            {name: value for name, value in known.items() if value},
            record.failure_code if failed else "",
        )
        self._spans.hand_on(facts)
