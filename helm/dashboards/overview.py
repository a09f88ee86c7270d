"""Is it well, and if not, where to look on."""

from __future__ import annotations

from typing import Final

from helm.dashboards.panels import Dashboard, Panel, Query, Row, by_replica, shares

FAULTS: Final = (
    "INTERNAL|STORE_UNAVAILABLE|UPSTREAM_UNREACHABLE|UPSTREAM_ERROR|SUBMIT_OUTCOME_UNKNOWN"
)
SUBMIT: Final = '$replicas,rpc_method="imsgateway.v1.JobService/SubmitJob"'
OTHERS: Final = '$replicas,rpc_method=~"imsgateway.*",rpc_method!~".*/(SubmitJobs?|WatchJob)"'

WELL: Final = (
    Panel(
        "Processes",
        "Gateway processes that Prometheus reads.",
        "none",
        (Query("count(imsgateway_configuration_faults{$replicas})", "processes"),),
        kind="stat",
        width=3,
        height=4,
        alarm=1,
        low=True,
    ),
    Panel(
        "Faults, last hour",
        "Share of calls, items of streams included, that failed for a reason on this side or the "
        f"service's: {FAULTS.replace('|', ', ')}. The objective is 0.1 %.",
        "percentunit",
        (
            Query(
                f'(sum(rate(imsgateway_decisions_total{{$replicas,imsgateway_reason=~"{FAULTS}"}}'
                "[1h])) or vector(0)) / sum(rate(imsgateway_decisions_total{$replicas}[1h]))",
                "faults",
            ),
        ),
        kind="stat",
        width=3,
        height=4,
        warn=0.001,
        alarm=0.0144,
    ),
    Panel(
        "Submits, p99",
        "99 of 100 submits of the last five minutes were answered within this time, the service's "
        "own included.",
        "s",
        (
            Query(
                "histogram_quantile(0.99, sum by (le) "
                f"(rate(rpc_server_call_duration_seconds_bucket{{{SUBMIT}}}[5m])))",
                "p99",
            ),
        ),
        kind="stat",
        width=3,
        height=4,
        warn=2,
        alarm=5,
    ),
    Panel(
        "Outcomes unknown",
        "Jobs of which nobody knows whether the service took them. They keep their quota until an "
        "operator settles them, and must never be sent again.",
        "none",
        (
            Query(
                'max(imsgateway_jobs{$gateway,imsgateway_job_state="SUBMIT_UNKNOWN"}) or vector(0)',
                "jobs",
            ),
        ),
        kind="stat",
        width=3,
        height=4,
        warn=1,
        alarm=10,
    ),
    Panel(
        "Oldest open job",
        "Age of the oldest job that the service took and has not ended.",
        "s",
        (
            Query(
                "max(imsgateway_jobs_oldest_age_seconds{$gateway,"
                'imsgateway_job_state=~"QUEUED|RUNNING|CANCELLING"}) or vector(0)',
                "age",
            ),
        ),
        kind="stat",
        width=3,
        height=4,
        warn=14_400,
        alarm=86_400,
    ),
    Panel(
        "Breakers",
        "The worst state of any account's breaker in any process. Open: submits are refused with "
        "UPSTREAM_UNREACHABLE and cost nothing.",
        "none",
        (Query("max(imsgateway_upstream_breaker{$replicas})", "worst"),),
        kind="stat",
        width=3,
        height=4,
        warn=1,
        alarm=2,
        values={0: ("closed", "green"), 1: ("half open", "orange"), 2: ("open", "red")},
    ),
    Panel(
        "Throttles",
        "How often the service has throttled submits in the last five minutes.",
        "none",
        (
            Query(
                "round(sum(increase(imsgateway_upstream_throttles_total{$replicas}[5m])))",
                "throttles",
            ),
        ),
        kind="stat",
        width=3,
        height=4,
        warn=1,
        alarm=60,
    ),
    Panel(
        "Configuration faults",
        "What is wrong with files that were not taken. What was in force before still is.",
        "none",
        (Query("max(imsgateway_configuration_faults{$replicas})", "faults"),),
        kind="stat",
        width=3,
        height=4,
        alarm=1,
    ),
)

TRAFFIC: Final = (
    Panel(
        "Calls by code",
        "Calls of the gateway's own services, by how they ended. A stream is one call.",
        "reqps",
        (
            Query(
                "sum by (rpc_response_status_code) (rate(rpc_server_call_duration_seconds_count"
                '{$replicas,rpc_method=~"imsgateway.*"}[$__rate_interval]))',
                "{{rpc_response_status_code}}",
            ),
        ),
        stacked=True,
        colors={"OK": "green", "INTERNAL": "dark-red", "UNKNOWN": "red", "UNAVAILABLE": "orange"},
    ),
    Panel(
        "Time of a submit",
        "SubmitJob from its first byte to its status: waiting for a turn and the service's answer "
        "included. A dot leads to the trace of one such call.",
        "s",
        shares("rpc_server_call_duration_seconds", SUBMIT),
        exemplars=True,
        warn=2,
        alarm=5,
    ),
    Panel(
        "Time of other calls, p99",
        "Calls that ask the ledger only, or the service about one job. Streams are left out.",
        "s",
        (
            Query(
                "label_replace(histogram_quantile(0.99, sum by (le, rpc_method) "
                f"(rate(rpc_server_call_duration_seconds_bucket{{{OTHERS}}}[$__rate_interval]))), "
                '"method", "$1", "rpc_method", ".*/(.*)")',
                "{{method}}",
            ),
        ),
        exemplars=True,
        warn=0.5,
        alarm=1,
    ),
)

DECISIONS: Final = (
    Panel(
        "Refusals by reason",
        "Calls and items of streams that did not go well. `imsgw decisions list --reason REASON` "
        "shows them one by one.",
        "reqps",
        (
            Query(
                "sum by (imsgateway_reason) (rate(imsgateway_decisions_total"
                '{$replicas,imsgateway_reason!="NONE"}[$__rate_interval]))',
                "{{imsgateway_reason}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Calls by tenant",
        "The ten tenants with most calls, items of streams included. Tenants beyond the bound of "
        "the label share `_other`.",
        "reqps",
        (
            Query(
                "topk(10, sum by (imsgateway_tenant) "
                "(rate(imsgateway_decisions_total{$replicas}[$__rate_interval])))",
                "{{imsgateway_tenant}}",
            ),
        ),
        leads_to_tenant=True,
    ),
    Panel(
        "Refusals by tenant",
        "The ten tenants that are refused most, for whatever reason.",
        "reqps",
        (
            Query(
                "topk(10, sum by (imsgateway_tenant) (rate(imsgateway_decisions_total"
                '{$replicas,imsgateway_reason!="NONE"}[$__rate_interval])))',
                "{{imsgateway_tenant}}",
            ),
        ),
        leads_to_tenant=True,
    ),
)

JOBS: Final = (
    Panel(
        "Submits by outcome",
        "accepted: paid. rejected, never_sent: quota returned. unknown: quota held. recalled: a "
        "repeated request id got the job that was there.",
        "ops",
        (
            Query(
                "sum by (imsgateway_outcome) "
                "(rate(imsgateway_jobs_submitted_total{$replicas}[$__rate_interval]))",
                "{{imsgateway_outcome}}",
            ),
        ),
        stacked=True,
        width=6,
        colors={"accepted": "green", "unknown": "red"},
    ),
    Panel(
        "Jobs by state",
        "Jobs in the ledger that have not ended.",
        "none",
        (
            Query(
                "max by (imsgateway_job_state) (imsgateway_jobs{$gateway})",
                "{{imsgateway_job_state}}",
            ),
        ),
        width=6,
        colors={"SUBMIT_UNKNOWN": "red"},
    ),
    Panel(
        "Oldest job by state",
        "Since when the oldest job has been there, by its state now.",
        "s",
        (
            Query(
                "max by (imsgateway_job_state) (imsgateway_jobs_oldest_age_seconds{$gateway})",
                "{{imsgateway_job_state}}",
            ),
        ),
        width=6,
        colors={"SUBMIT_UNKNOWN": "red"},
    ),
    Panel(
        "Jobs that ended",
        "By the state in which they did.",
        "ops",
        (
            Query(
                "sum by (imsgateway_job_state) "
                "(rate(imsgateway_jobs_ended_total{$replicas}[$__rate_interval]))",
                "{{imsgateway_job_state}}",
            ),
        ),
        stacked=True,
        width=6,
        colors={"SUCCEEDED": "green", "FAILED": "red"},
    ),
)

INSIDE: Final = (
    Panel(
        "Ledger: time of a commit",
        "One transaction with everything that had queued up, full sync included.",
        "s",
        shares("imsgateway_ledger_commit_duration_seconds"),
        width=6,
        warn=0.25,
        alarm=1,
    ),
    Panel(
        "Ledger: operations in a commit",
        "Grows with the load: that is how cost per job falls.",
        "none",
        shares("imsgateway_ledger_commit_size"),
        width=6,
    ),
    Panel(
        "Event-loop lag, p99",
        "By how much a process is late with what it meant to do. Every call of it waits as long.",
        "s",
        (
            by_replica(
                "histogram_quantile(0.99, sum by (le, pod, instance, worker) "
                "(rate(imsgateway_event_loop_lag_seconds_bucket{$replicas}[$__rate_interval])))"
            ),
        ),
        width=6,
        warn=0.1,
        alarm=0.25,
    ),
    Panel(
        "Configuration, records, workers",
        "Changes of the configuration by outcome, decision records that a sink could not take, and "
        "workers that ended and had successors, where there are several.",
        "none",
        (
            Query(
                "sum by (imsgateway_outcome) "
                "(increase(imsgateway_configuration_reloads_total{$replicas}[$__rate_interval]))",
                "changes {{imsgateway_outcome}}",
            ),
            Query(
                "sum by (imsgateway_sink) "
                "(increase(imsgateway_decisions_lost_total{$replicas}[$__rate_interval]))",
                "lost by {{imsgateway_sink}}",
            ),
            Query(
                "sum by (pod, instance) "
                "(increase(imsgateway_worker_restarts_total{$replicas}[$__rate_interval]))",
                "workers of {{pod}} {{instance}}",
            ),
        ),
        width=6,
    ),
)

OVERVIEW: Final = Dashboard(
    uid="ims-gateway-overview",
    title="IMS Gateway: overview",
    description="Is the gateway well, who is refused and why, and what becomes of the jobs.",
    rows=(
        Row("Is it well", WELL),
        Row("Traffic", TRAFFIC),
        Row("Decisions", DECISIONS),
        Row("Jobs", JOBS),
        Row("Inside", INSIDE),
    ),
)
