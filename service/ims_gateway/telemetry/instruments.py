"""What the gateway measures: each instrument's name, kind, unit, meaning and attributes.

The one list of them; docs/reference.md shows it, and a test holds it against what a running gateway
exposes. Names are OpenTelemetry's where it has one. It measures nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ims_gateway.telemetry import conventions as names

# Of attributes, in the order of their names.
Values = tuple[str | int, ...]

# A call that the gateway refuses by itself takes a millisecond or two, a submit some fifty, and a
# wait for the service may last as long as its caller does.
LATENCIES: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
# As far as one group of writes goes.
GROUP_SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Kind(StrEnum):
    """What becomes of measurements: a sum, the latest value, or how they are distributed."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One thing that is measured; `unit` as UCUM writes it, `boundaries` those of a histogram.

    A number without a unit has an annotation such as {job}: "1" would be taken for a ratio.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()

    def attributes_of(self, values: Values) -> dict[str, str | int]:
        """Return the attributes of a measurement; an empty value is none."""
        pairs = zip(self.attributes, values, strict=True)
        return {name: value for name, value in pairs if value != ""}


RPC_CALL_DURATION: Final = Instrument(
    "rpc.server.call.duration",
    Kind.HISTOGRAM,
    "s",
    "Time from a call's first message to its end, streams included.",
    (
        names.RPC_SYSTEM_NAME,
        names.RPC_METHOD,
        names.RPC_RESPONSE_STATUS_CODE,
        names.ERROR_TYPE,
    ),
    LATENCIES,
)
HTTP_REQUEST_DURATION: Final = Instrument(
    "http.client.request.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one call to the service, polls included; `error.type` says how it failed, as in "
    "Throttled or OutcomeUnknown.",
    (
        names.HTTP_METHOD,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
        names.HTTP_STATUS_CODE,
        names.ERROR_TYPE,
        names.ACCOUNT,
        names.UPSTREAM_ACTION,
    ),
    LATENCIES,
)
DECISIONS: Final = Instrument(
    "imsgateway.decisions",
    Kind.COUNTER,
    "{decision}",
    "Calls and items of streams, by the reason of their refusal: NONE where it went well, "
    "CANCELLED or DEADLINE_EXCEEDED where nobody waited for the answer.",
    (names.TENANT, names.REASON),
)
DECISIONS_LOST: Final = Instrument(
    "imsgateway.decisions.lost",
    Kind.COUNTER,
    "{record}",
    "Records of decisions that could not be written.",
    (names.SINK,),
)
SHADOW_DIFFERENCES: Final = Instrument(
    "imsgateway.policy.shadow_differences",
    Kind.COUNTER,
    "{decision}",
    "Decisions in which a policy on trial differs from the one in force.",
    (names.SHADOW_OUTCOME,),
)
JOBS_SUBMITTED: Final = Instrument(
    "imsgateway.jobs.submitted",
    Kind.COUNTER,
    "{job}",
    "Submits that the limits admitted, by what came of them: accepted, rejected (the service said "
    "no), unknown, never_sent; and recalled, where the request id had its job already.",
    (names.TENANT, names.ALGORITHM, names.OUTCOME),
)
JOBS_ENDED: Final = Instrument(
    "imsgateway.jobs.ended",
    Kind.COUNTER,
    "{job}",
    "Jobs that the service had taken and has ended.",
    (names.ALGORITHM, names.JOB_STATE),
)
JOBS: Final = Instrument(
    "imsgateway.jobs",
    Kind.GAUGE,
    "{job}",
    "Jobs in the ledger that have not ended; every replica says the same of all.",
    (names.JOB_STATE,),
)
JOBS_OLDEST_AGE: Final = Instrument(
    "imsgateway.jobs.oldest_age",
    Kind.GAUGE,
    "s",
    "Age of the oldest of those jobs, since its submit; 0 where there is none.",
    (names.JOB_STATE,),
)
COST: Final = Instrument(
    "imsgateway.cost",
    Kind.COUNTER,
    "{micro}",
    "What accepted jobs are taken to cost by the price list, in millionths of the currency.",
    (names.TENANT, names.ALGORITHM, names.CURRENCY),
)
QUOTA_LIMIT: Final = Instrument(
    "imsgateway.quota.limit",
    Kind.GAUGE,
    "{unit}",
    "What a limit allows, of tenants that have called; limits on trial are left out.",
    (names.TENANT, names.LIMIT_ID),
)
QUOTA_REMAINING: Final = Instrument(
    "imsgateway.quota.remaining",
    Kind.GAUGE,
    "{unit}",
    "What is left of it; of a limit that is counted separately, where least is left.",
    (names.TENANT, names.LIMIT_ID),
)
QUOTA_REFUSALS: Final = Instrument(
    "imsgateway.quota.refusals",
    Kind.COUNTER,
    "{refusal}",
    "Limits that had no room for a submit, as `submit/rate` or `cost/month`.",
    (names.TENANT, names.QUOTA_METRIC),
)
QUOTA_HOLDS: Final = Instrument(
    "imsgateway.quota.holds",
    Kind.GAUGE,
    "{hold}",
    "Holds of jobs of which it is not known whether the service took them: SUBMITTING, where that "
    "will be known soon, and SUBMIT_UNKNOWN, where an operator has to find out.",
    (names.JOB_STATE,),
)
QUEUE_WAIT: Final = Instrument(
    "imsgateway.queue.wait",
    Kind.HISTOGRAM,
    "s",
    "How long admitted submits waited for their place among the account's calls; 0 where one was "
    "free.",
    (names.ACCOUNT, names.TENANT),
    LATENCIES,
)
QUEUE_LENGTH: Final = Instrument(
    "imsgateway.queue.length",
    Kind.GAUGE,
    "{call}",
    "Submits that wait for a place.",
    (names.ACCOUNT,),
)
UPSTREAM_IN_FLIGHT: Final = Instrument(
    "imsgateway.upstream.in_flight",
    Kind.GAUGE,
    "{call}",
    "Submits that have a place.",
    (names.ACCOUNT,),
)
UPSTREAM_RATE: Final = Instrument(
    "imsgateway.upstream.rate",
    Kind.GAUGE,
    "{call}/s",
    "Submits a second that are allowed at present, lowered by throttles; none where nothing limits "
    "them.",
    (names.ACCOUNT,),
)
UPSTREAM_THROTTLES: Final = Instrument(
    "imsgateway.upstream.throttles",
    Kind.COUNTER,
    "{call}",
    "Calls of any kind that the service answered with a throttle.",
    (names.ACCOUNT,),
)
UPSTREAM_BREAKER: Final = Instrument(
    "imsgateway.upstream.breaker",
    Kind.GAUGE,
    "{condition}",
    "Whether submits go out: 0 closed (they do), 1 half open (one tries), 2 open (none).",
    (names.ACCOUNT,),
)
TRACKER_LAG: Final = Instrument(
    "imsgateway.tracker.lag",
    Kind.GAUGE,
    "s",
    "How late the most overdue poll of a configured account is.",
)
TRACKER_POLLS: Final = Instrument(
    "imsgateway.tracker.polls",
    Kind.COUNTER,
    "{poll}",
    "Queries of open jobs: changed, unchanged, missing (the service does not know the job) or "
    "failed.",
    (names.OUTCOME,),
)
LEDGER_COMMIT_DURATION: Final = Instrument(
    "imsgateway.ledger.commit.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one transaction of the ledger, from its begin until it is durable.",
    (),
    LATENCIES,
)
LEDGER_COMMIT_SIZE: Final = Instrument(
    "imsgateway.ledger.commit.size",
    Kind.HISTOGRAM,
    "{operation}",
    "Operations that shared one transaction.",
    (),
    GROUP_SIZES,
)
CONFIGURATION_RELOADS: Final = Instrument(
    "imsgateway.configuration.reloads",
    Kind.COUNTER,
    "{reload}",
    "Changes of the configuration: taken, or faulty where a file was not taken.",
    (names.OUTCOME,),
)
CONFIGURATION_FAULTS: Final = Instrument(
    "imsgateway.configuration.faults",
    Kind.GAUGE,
    "{fault}",
    "What is wrong with configuration files that were not taken.",
)
CONFIGURATION_TENANTS: Final = Instrument(
    "imsgateway.configuration.tenants",
    Kind.GAUGE,
    "{tenant}",
    "Tenants in force.",
)
EVENT_LOOP_LAG: Final = Instrument(
    "imsgateway.event_loop.lag",
    Kind.HISTOGRAM,
    "s",
    "How late the process's event loop runs what is due.",
    (),
    LATENCIES,
)
CREDENTIALS_TIME_LEFT: Final = Instrument(
    "imsgateway.credentials.time_left",
    Kind.GAUGE,
    "s",
    "Time until an account's key ends, 0 where there is none; not shown of a key without end.",
    (names.ACCOUNT,),
)
CERTIFICATE_TIME_LEFT: Final = Instrument(
    "imsgateway.certificate.time_left",
    Kind.GAUGE,
    "s",
    "Time until the server's certificate ends, where it has one.",
)
WORKER_RESTARTS: Final = Instrument(
    "imsgateway.worker.restarts",
    Kind.COUNTER,
    "{worker}",
    "Successors of workers that ended, where there are several.",
    (names.WORKER,),
)

INSTRUMENTS: Final = (
    RPC_CALL_DURATION,
    HTTP_REQUEST_DURATION,
    DECISIONS,
    DECISIONS_LOST,
    SHADOW_DIFFERENCES,
    JOBS_SUBMITTED,
    JOBS_ENDED,
    JOBS,
    JOBS_OLDEST_AGE,
    COST,
    QUOTA_LIMIT,
    QUOTA_REMAINING,
    QUOTA_REFUSALS,
    QUOTA_HOLDS,
    QUEUE_WAIT,
    QUEUE_LENGTH,
    UPSTREAM_IN_FLIGHT,
    UPSTREAM_RATE,
    UPSTREAM_THROTTLES,
    UPSTREAM_BREAKER,
    TRACKER_LAG,
    TRACKER_POLLS,
    LEDGER_COMMIT_DURATION,
    LEDGER_COMMIT_SIZE,
    CONFIGURATION_RELOADS,
    CONFIGURATION_FAULTS,
    CONFIGURATION_TENANTS,
    EVENT_LOOP_LAG,
    CREDENTIALS_TIME_LEFT,
    CERTIFICATE_TIME_LEFT,
    WORKER_RESTARTS,
)
