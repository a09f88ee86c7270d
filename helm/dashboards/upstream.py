"""The service behind the gateway, and the money that goes to it."""

from __future__ import annotations

from typing import Final

from helm.dashboards.panels import Dashboard, Panel, Query, Row, Variable, by_replica

ACCOUNT: Final = '$replicas,imsgateway_account=~"$account"'
ACTION: Final = "imsgateway_upstream_action"

GLANCE: Final = (
    Panel(
        "Calls out",
        "Signed calls to the service, now.",
        "reqps",
        (
            Query(
                f"sum(rate(http_client_request_duration_seconds_count{{{ACCOUNT}}}[5m]))", "calls"
            ),
        ),
        kind="stat",
        width=4,
        height=4,
    ),
    Panel(
        "Breaker",
        "The worst state in any process. Open: five calls in a row did not reach the service.",
        "none",
        (Query(f"max(imsgateway_upstream_breaker{{{ACCOUNT}}})", "worst"),),
        kind="stat",
        width=4,
        height=4,
        warn=1,
        alarm=2,
        values={0: ("closed", "green"), 1: ("half open", "orange"), 2: ("open", "red")},
    ),
    Panel(
        "Waiting for a turn",
        "Submits in the queues of all processes.",
        "none",
        (Query(f"sum(imsgateway_queue_length{{{ACCOUNT}}})", "submits"),),
        kind="stat",
        width=4,
        height=4,
        warn=100,
        alarm=1000,
    ),
    Panel(
        "Tracker lag",
        "How late the most overdue query of an open job is.",
        "s",
        (Query("max(imsgateway_tracker_lag_seconds{$gateway})", "lag"),),
        kind="stat",
        width=4,
        height=4,
        warn=15,
        alarm=60,
    ),
    Panel(
        "Credentials end in",
        "Of the account whose credentials end first. Those without an end do not show.",
        "s",
        (Query(f"min(imsgateway_credentials_time_left_seconds{{{ACCOUNT}}})", "left"),),
        kind="stat",
        width=4,
        height=4,
        warn=600,
        alarm=300,
        low=True,
    ),
    Panel(
        "Certificate ends in",
        "Of the gRPC server's certificate, in the process where it ends first.",
        "s",
        (Query("min(imsgateway_certificate_time_left_seconds{$replicas})", "left"),),
        kind="stat",
        width=4,
        height=4,
        warn=604_800,
        alarm=86_400,
        low=True,
    ),
)

CALLS: Final = (
    Panel(
        "Calls out by action and status",
        "No status: the connection failed or the answer did not come in time.",
        "reqps",
        (
            Query(
                f"sum by ({ACTION}, http_response_status_code) "
                f"(rate(http_client_request_duration_seconds_count{{{ACCOUNT}}}"
                "[$__rate_interval]))",
                "{{imsgateway_upstream_action}} {{http_response_status_code}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Time of a call out, p99",
        "From the first byte to the last of the answer. A dot leads to the trace of one call.",
        "s",
        (
            Query(
                f"histogram_quantile(0.99, sum by (le, {ACTION}) "
                f"(rate(http_client_request_duration_seconds_bucket{{{ACCOUNT}}}"
                "[$__rate_interval])))",
                "{{imsgateway_upstream_action}}",
            ),
        ),
        exemplars=True,
        warn=2,
        alarm=5,
    ),
    Panel(
        "Calls out that failed",
        "By error type: a status, or what became of the connection.",
        "reqps",
        (
            Query(
                f"sum by (error_type) (rate(http_client_request_duration_seconds_count{{{ACCOUNT},"
                'error_type!=""}[$__rate_interval]))',
                "{{error_type}}",
            ),
        ),
        stacked=True,
    ),
)

ROOM: Final = (
    Panel(
        "In flight",
        "Submits under way, all processes together; at most `max_in_flight` of the account.",
        "none",
        (
            Query(
                f"sum by (imsgateway_account) (imsgateway_upstream_in_flight{{{ACCOUNT}}})",
                "{{imsgateway_account}}",
            ),
        ),
        width=6,
    ),
    Panel(
        "Rate allowed",
        "Submits a second that all processes together may make now: `calls_per_second`, or less "
        "after throttles. Accounts without a rate do not show.",
        "reqps",
        (
            Query(
                f"sum by (imsgateway_account) (imsgateway_upstream_rate_per_second{{{ACCOUNT}}})",
                "{{imsgateway_account}}",
            ),
        ),
        width=6,
    ),
    Panel(
        "Throttles",
        "Submits that the service turned away as too many. Each halves the rate for a while.",
        "reqps",
        (
            Query(
                "sum by (imsgateway_account) "
                f"(rate(imsgateway_upstream_throttles_total{{{ACCOUNT}}}[$__rate_interval]))",
                "{{imsgateway_account}}",
            ),
        ),
        width=6,
        warn=0.1,
    ),
    Panel(
        "Breakers",
        "The worst state in any process.",
        "none",
        (
            Query(
                f"max by (imsgateway_account) (imsgateway_upstream_breaker{{{ACCOUNT}}})",
                "{{imsgateway_account}}",
            ),
        ),
        kind="state-timeline",
        width=6,
        warn=1,
        alarm=2,
        values={0: ("closed", "green"), 1: ("half open", "orange"), 2: ("open", "red")},
    ),
    Panel(
        "Queue",
        "Submits that wait for a turn, all processes together.",
        "none",
        (
            Query(
                f"sum by (imsgateway_account) (imsgateway_queue_length{{{ACCOUNT}}})",
                "{{imsgateway_account}}",
            ),
        ),
        width=6,
    ),
    Panel(
        "Wait for a turn by tenant, p99",
        "The ten tenants that wait longest.",
        "s",
        (
            Query(
                "topk(10, histogram_quantile(0.99, sum by (le, imsgateway_tenant) "
                f"(rate(imsgateway_queue_wait_seconds_bucket{{{ACCOUNT}}}[$__rate_interval]))))",
                "{{imsgateway_tenant}}",
            ),
        ),
        width=6,
        exemplars=True,
        warn=2,
        alarm=10,
        leads_to_tenant=True,
    ),
    Panel(
        "Tracker lag",
        "How late the most overdue query of an open job is. It grows where `polls_per_second` is "
        "too low for the jobs that are open.",
        "s",
        (Query("max(imsgateway_tracker_lag_seconds{$gateway})", "lag"),),
        width=6,
        warn=15,
        alarm=60,
    ),
    Panel(
        "Queries of open jobs",
        "By what came of them.",
        "ops",
        (
            Query(
                "sum by (imsgateway_outcome) "
                "(rate(imsgateway_tracker_polls_total{$replicas}[$__rate_interval]))",
                "{{imsgateway_outcome}}",
            ),
        ),
        width=6,
        stacked=True,
    ),
)

MONEY: Final = (
    Panel(
        "Cost per hour by tenant",
        "By the price list, in units of the currency; the ten tenants that spend most.",
        "short",
        (
            Query(
                "topk(10, sum by (imsgateway_tenant, imsgateway_currency) "
                "(rate(imsgateway_cost_total{$replicas}[$__rate_interval]))) * 3600 / 1e6",
                "{{imsgateway_tenant}} ({{imsgateway_currency}})",
            ),
        ),
        width=6,
        stacked=True,
        leads_to_tenant=True,
    ),
    Panel(
        "Cost per hour by algorithm",
        "By the price list, in units of the currency.",
        "short",
        (
            Query(
                "sum by (imsgateway_algorithm, imsgateway_currency) "
                "(rate(imsgateway_cost_total{$replicas}[$__rate_interval])) * 3600 / 1e6",
                "{{imsgateway_algorithm}} ({{imsgateway_currency}})",
            ),
        ),
        width=6,
        stacked=True,
    ),
    Panel(
        "Least left of any limit",
        "The ten tenants that are nearest to the end of a limit, by what is left of it.",
        "percentunit",
        (
            Query(
                "bottomk(10, min by (imsgateway_tenant, imsgateway_limit_id) "
                "(imsgateway_quota_remaining{$gateway} / imsgateway_quota_limit{$gateway}))",
                "{{imsgateway_tenant}} {{imsgateway_limit_id}}",
            ),
        ),
        width=6,
        kind="bargauge",
        warn=0.2,
        alarm=0.1,
        low=True,
        top=1,
        leads_to_tenant=True,
    ),
    Panel(
        "Holds",
        "Jobs that hold quota while nobody knows whether the service took them: SUBMITTING for a "
        "moment, SUBMIT_UNKNOWN until an operator has settled them.",
        "none",
        (
            Query(
                "max by (imsgateway_job_state) (imsgateway_quota_holds{$gateway})",
                "{{imsgateway_job_state}}",
            ),
        ),
        width=6,
    ),
)

KEYS: Final = (
    Panel(
        "Credentials: time left",
        "Saws where credentials are renewed in time; a line that goes on falling is not renewed.",
        "s",
        (
            Query(
                "min by (imsgateway_account) "
                f"(imsgateway_credentials_time_left_seconds{{{ACCOUNT}}})",
                "{{imsgateway_account}}",
            ),
        ),
        width=12,
        height=6,
        warn=600,
        alarm=300,
        low=True,
    ),
    Panel(
        "Certificate: time left",
        "Of the gRPC server's certificate. Without TLS there is none.",
        "s",
        (by_replica("imsgateway_certificate_time_left_seconds{$replicas}"),),
        width=12,
        height=6,
        warn=604_800,
        alarm=86_400,
        low=True,
    ),
)

UPSTREAM: Final = Dashboard(
    uid="ims-gateway-upstream",
    title="IMS Gateway: upstream and money",
    description="How the service answers, how much room its accounts have, and what it all costs.",
    variables=(
        Variable("account", "Account", "imsgateway_account", "imsgateway_upstream_in_flight"),
    ),
    rows=(
        Row("At a glance", GLANCE),
        Row("Calls to the service", CALLS),
        Row("Room of the accounts, and the jobs that are open", ROOM),
        Row("Money", MONEY),
        Row("What ends", KEYS),
    ),
)
