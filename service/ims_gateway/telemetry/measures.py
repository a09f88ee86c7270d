"""What the steps of a call measure, in the words of those who take them.

Decides which labels an event has. Everything here is called on the event loop, and waits for
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.rpc import code_pb2

from ims_gateway.jobs.record import Intent, JobRecord
from ims_gateway.jobs.tracker import Poll
from ims_gateway.settlement import Outcome
from ims_gateway.telemetry import instruments
from ims_gateway.telemetry.call import Call
from ims_gateway.telemetry.labels import TenantLabels
from ims_gateway.telemetry.meters import Meters
from ims_gateway.telemetry.step import SERVER_FAULTS
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.errors import Throttled, UpstreamError

RPC_SYSTEM: Final = "grpc"
METHOD: Final = "POST"
# As the conventions call a method that a server does not have.
OTHER_METHOD: Final = "_OTHER"
WENT_WELL: Final = "NONE"


class CallMeasures:
    """Measures every call that has ended; `methods` are those that may be told apart."""

    def __init__(self, meters: Meters, labels: TenantLabels, methods: frozenset[str]) -> None:
        self._labels = labels
        self._methods = methods
        self._durations = meters.histogram(instruments.RPC_CALL_DURATION)
        self._decisions = meters.counter(instruments.DECISIONS)
        self._refusals = meters.counter(instruments.QUOTA_REFUSALS)

    def ended(self, call: Call) -> None:
        """Count a call, or an item of a stream, that has ended, and what its limits said."""
        self._decisions.add(self._labels.of(call.tenant or _home(call)), _reason(call))
        for breach in call.breaches:
            self._refusals.add(self._labels.of(breach.tenant), breach.metric)
        # The items of a stream are no RPCs; their stream is counted once.
        if call.index is None:
            code = code_pb2.Code.Name(call.code)
            self._durations.record(
                call.duration_us / 1e6,
                RPC_SYSTEM,
                call.method if call.method in self._methods else OTHER_METHOD,
                code,
                code if call.code in SERVER_FAULTS else "",
                context=call.context,
            )


class SubmitMeasures:
    """Measures submits that the limits have admitted."""

    def __init__(self, meters: Meters, labels: TenantLabels) -> None:
        self._labels = labels
        self._submitted = meters.counter(instruments.JOBS_SUBMITTED)
        self._cost = meters.counter(instruments.COST)
        self._waits = meters.histogram(instruments.QUEUE_WAIT)

    def waited(self, call: Call, intent: Intent, seconds: float) -> None:
        """Measure how long a submit has waited for its place."""
        label = self._labels.of(intent.tenant)
        self._waits.record(seconds, intent.account, label, context=call.context)

    def settled(self, job: Intent | JobRecord, outcome: Outcome, currency: str = "") -> None:
        """Count a job that was settled or recalled, and what it costs in the currency."""
        label = self._labels.of(job.tenant)
        self._submitted.add(label, job.algorithm, outcome.value)
        if isinstance(job, Intent) and job.cost and outcome is Outcome.ACCEPTED:
            self._cost.add(label, job.algorithm, currency, amount=job.cost)


class UpstreamMeasures:
    """Measures every request to the service, submits and polls alike."""

    def __init__(self, meters: Meters, accounts: Mapping[str, Account]) -> None:
        self._durations = meters.histogram(instruments.HTTP_REQUEST_DURATION)
        self._throttles = meters.counter(instruments.UPSTREAM_THROTTLES, accounts)
        self._servers = {name: _server(account) for name, account in accounts.items()}

    def ended(
        self, account: Account, action: str, seconds: float, end: int | UpstreamError
    ) -> None:
        """Measure a request; `end` is the status of its answer, or the way in which it failed."""
        if isinstance(end, Throttled):
            self._throttles.add(account.name)
        status: int | str
        if isinstance(end, UpstreamError):
            status, error = end.http_status or "", type(end).__name__
        else:
            status, error = end, ""
        self._durations.record(
            seconds,
            METHOD,
            *self._servers[account.name],
            status,
            error,
            account.name,
            action,
        )


class TrackerMeasures:
    """Measures polls, and counts the jobs that they end."""

    def __init__(self, meters: Meters) -> None:
        self.polled = meters.counter(instruments.TRACKER_POLLS, Poll).add
        self._ended = meters.counter(instruments.JOBS_ENDED)

    def ended(self, record: JobRecord) -> None:
        """Count a job that has ended."""
        self._ended.add(record.algorithm, record.state.name)


def _server(account: Account) -> tuple[str, int]:
    host, _, port = account.endpoint.partition(":")
    return host, int(port or (443 if account.scheme == "https" else 80))


def _home(call: Call) -> str:
    return call.principal.tenant if call.principal else ""


def _reason(call: Call) -> str:
    if call.reason:
        return call.reason
    return WENT_WELL if call.code == code_pb2.OK else code_pb2.Code.Name(call.code)
