"""One tenant: what it calls, what it is refused, what it has left, what it costs."""

from __future__ import annotations

from typing import Final

from helm.dashboards.panels import Dashboard, Panel, Query, Row, Variable, shares

MINE: Final = '$replicas,imsgateway_tenant="$tenant"'
LEDGER: Final = '$gateway,imsgateway_tenant="$tenant"'

GLANCE: Final = (
    Panel(
        "Calls",
        "Calls and items of streams, now.",
        "reqps",
        (Query(f"sum(rate(imsgateway_decisions_total{{{MINE}}}[5m]))", "calls"),),
        kind="stat",
        width=4,
        height=4,
    ),
    Panel(
        "Refused",
        "Share of the calls of the last five minutes that did not go well, for whatever reason.",
        "percentunit",
        (
            Query(
                f'(sum(rate(imsgateway_decisions_total{{{MINE},imsgateway_reason!="NONE"}}[5m])) '
                f"or vector(0)) / sum(rate(imsgateway_decisions_total{{{MINE}}}[5m]))",
                "refused",
            ),
        ),
        kind="stat",
        width=4,
        height=4,
        warn=0.05,
        alarm=0.5,
    ),
    Panel(
        "Jobs taken",
        "Jobs that the service took within the time shown.",
        "none",
        (
            Query(
                f"round(sum(increase(imsgateway_jobs_submitted_total{{{MINE},"
                'imsgateway_outcome="accepted"}[$__range])))',
                "jobs",
            ),
        ),
        kind="stat",
        width=4,
        height=4,
    ),
    Panel(
        "Cost",
        "By the price list, within the time shown, in units of the currency.",
        "none",
        (
            Query(
                "sum by (imsgateway_currency) "
                f"(increase(imsgateway_cost_total{{{MINE}}}[$__range])) / 1e6",
                "{{imsgateway_currency}}",
            ),
        ),
        kind="stat",
        width=4,
        height=4,
    ),
    Panel(
        "Least quota left",
        "Of the limit that is nearest to its end.",
        "percentunit",
        (
            Query(
                f"min(imsgateway_quota_remaining{{{LEDGER}}} / imsgateway_quota_limit{{{LEDGER}}})",
                "left",
            ),
        ),
        kind="stat",
        width=4,
        height=4,
        warn=0.2,
        alarm=0.1,
        low=True,
    ),
    Panel(
        "Wait for a turn, p99",
        "Of the submits of the last five minutes that found no free place.",
        "s",
        (
            Query(
                "histogram_quantile(0.99, sum by (le) "
                f"(rate(imsgateway_queue_wait_seconds_bucket{{{MINE}}}[5m])))",
                "p99",
            ),
        ),
        kind="stat",
        width=4,
        height=4,
        warn=2,
        alarm=10,
    ),
)

CALLS: Final = (
    Panel(
        "Calls by reason",
        "NONE went well. `imsgw decisions list --parent tenants/TENANT` shows them one by one.",
        "reqps",
        (
            Query(
                "sum by (imsgateway_reason) "
                f"(rate(imsgateway_decisions_total{{{MINE}}}[$__rate_interval]))",
                "{{imsgateway_reason}}",
            ),
        ),
        stacked=True,
        colors={"NONE": "green"},
    ),
    Panel(
        "Refused by limits",
        "By what the limit counts: submit/rate, submit/day, jobs/open, cost/month and so on.",
        "reqps",
        (
            Query(
                "sum by (imsgateway_quota_metric) "
                f"(rate(imsgateway_quota_refusals_total{{{MINE}}}[$__rate_interval]))",
                "{{imsgateway_quota_metric}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Wait for a turn",
        "How long submits wait for a place among the account's calls: the tenant's weight and the "
        "load of the others decide.",
        "s",
        shares("imsgateway_queue_wait_seconds", MINE),
        exemplars=True,
        warn=2,
        alarm=10,
    ),
)

QUOTA: Final = (
    Panel(
        "Left of each limit",
        "Share that is left now. Limits that are counted by principal or algorithm show the one "
        "with the least.",
        "percentunit",
        (
            Query(
                "sort(min by (imsgateway_limit_id) "
                f"(imsgateway_quota_remaining{{{LEDGER}}} / imsgateway_quota_limit{{{LEDGER}}}))",
                "{{imsgateway_limit_id}}",
            ),
        ),
        kind="bargauge",
        warn=0.2,
        alarm=0.1,
        low=True,
        top=1,
    ),
    Panel(
        "Used of each limit",
        "Share that is used. It falls where a window of the limit ends, in the tenant's time zone.",
        "percentunit",
        (
            Query(
                f"1 - min by (imsgateway_limit_id) (imsgateway_quota_remaining{{{LEDGER}}} "
                f"/ imsgateway_quota_limit{{{LEDGER}}})",
                "{{imsgateway_limit_id}}",
            ),
        ),
        warn=0.8,
        alarm=0.9,
        top=1,
    ),
    Panel(
        "Left, in figures",
        "Submits, jobs, or millionths of the currency, as the limit counts.",
        "short",
        (
            Query(
                f"sort(min by (imsgateway_limit_id) (imsgateway_quota_remaining{{{LEDGER}}}))",
                "{{imsgateway_limit_id}}",
            ),
        ),
        kind="stat",
    ),
)

JOBS: Final = (
    Panel(
        "Submits by outcome",
        "accepted: paid. rejected, never_sent: quota returned. unknown: quota held.",
        "ops",
        (
            Query(
                "sum by (imsgateway_outcome) "
                f"(rate(imsgateway_jobs_submitted_total{{{MINE}}}[$__rate_interval]))",
                "{{imsgateway_outcome}}",
            ),
        ),
        stacked=True,
        colors={"accepted": "green", "unknown": "red"},
    ),
    Panel(
        "Jobs taken by algorithm",
        "Jobs that the service took.",
        "ops",
        (
            Query(
                "sum by (imsgateway_algorithm) (rate(imsgateway_jobs_submitted_total"
                f'{{{MINE},imsgateway_outcome="accepted"}}[$__rate_interval]))',
                "{{imsgateway_algorithm}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Cost per hour by algorithm",
        "By the price list, in units of the currency.",
        "short",
        (
            Query(
                "sum by (imsgateway_algorithm, imsgateway_currency) "
                f"(rate(imsgateway_cost_total{{{MINE}}}[$__rate_interval])) * 3600 / 1e6",
                "{{imsgateway_algorithm}} ({{imsgateway_currency}})",
            ),
        ),
        stacked=True,
    ),
)

TENANT: Final = Dashboard(
    uid="ims-gateway-tenant",
    title="IMS Gateway: tenant",
    description="What one tenant calls, is refused, has left and costs.",
    variables=(
        Variable("tenant", "Tenant", "imsgateway_tenant", "imsgateway_decisions_total", many=False),
    ),
    rows=(
        Row("$tenant", GLANCE),
        Row("Calls", CALLS),
        Row("Quota", QUOTA),
        Row("Jobs and money", JOBS),
    ),
)
