"""What a dashboard is made of, and how Grafana spells it.

Queries are PromQL with two shorthands: `$replicas` selects the scraped processes that the variables
at the top of the dashboard name; `$gateway` selects all replicas, for what each of them reads from
the ledger and which must not be counted once a replica.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from helm.dashboards.writing import written

SCHEMA_VERSION: Final = 41
COLUMNS: Final = 24
SHORTHANDS: Final = {
    "$gateway": 'namespace="$namespace",job="$job"',
    "$replicas": 'namespace="$namespace",job="$job",pod=~"$pod"',
}
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
TAG: Final = "ims-gateway"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called: `{{label}}` is the label's value."""

    expression: str
    legend: str

    @property
    def promql(self) -> str:
        """The expression with its shorthands written out, on one line."""
        text = " ".join(self.expression.split())
        for short, selection in SHORTHANDS.items():
            text = text.replace(short, selection)
        return text


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is Grafana's id of one; `warn` and `alarm` are bounds in that unit.

    Bounds are upper ones, or with `low` lower ones. `values` names what numbers mean.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    kind: str = "timeseries"
    stacked: bool = False
    exemplars: bool = False
    warn: float | None = None
    alarm: float | None = None
    low: bool = False
    top: float | None = None
    values: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    leads_to_tenant: bool = False

    def json(self, number: int, x: int, y: int) -> Json:
        """Return the panel as Grafana has it, at its place in the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(i, query) for i, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": OPTIONS[self.kind] | self._naming,
        }

    def _target(self, index: int, query: Query) -> Json:
        instant = self.kind in {"stat", "bargauge"}
        return {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": query.promql,
            "legendFormat": query.legend,
            "instant": instant,
            "range": not instant,
            # Each query would show the same ones.
            "exemplar": self.exemplars and index == len(self.queries) - 1,
        }

    @property
    def _naming(self) -> Json:
        """Of a figure whose name says something, show the name."""
        named = self.kind == "stat" and "{{" in self.queries[0].legend
        return {"textMode": "value_and_name"} if named else {}

    def _defaults(self) -> Json:
        found: Json = {"unit": self.unit, "min": 0, "thresholds": self._thresholds()}
        if self.top is not None:
            found["max"] = self.top
        if self.values:
            options = {
                str(number): {"text": text, "color": color, "index": number}
                for number, (text, color) in self.values.items()
            }
            found["mappings"] = [{"type": "value", "options": options}]
        if self.leads_to_tenant:
            found["links"] = [{"title": "This tenant", "url": TENANT_URL}]
        if self.kind == "timeseries":
            found["custom"] = {
                # A line of nothing would colour the top of the stack.
                "lineWidth": 0 if self.stacked else 1,
                "fillOpacity": 70 if self.stacked else 8,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "off" if self._unbounded else "dashed"},
            }
        return found

    @property
    def _unbounded(self) -> bool:
        return self.warn is None and self.alarm is None

    def _thresholds(self) -> Json:
        """Return the colours from the least value up, as Grafana wants them."""
        bounds = [(self.warn, "orange"), (self.alarm, "red")]
        known = [(value, color) for value, color in bounds if value is not None]
        colors = ["green", *(color for _, color in known)]
        if self.low:
            known.reverse()
            colors.reverse()
        steps = zip(colors, [None, *(value for value, _ in known)], strict=True)
        return {
            "mode": "absolute",
            "steps": [{"color": color, "value": value} for color, value in steps],
        }

    def _overrides(self) -> list[Json]:
        return [
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
            }
            for name, color in self.colors.items()
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading; they fill the grid from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top: values of a label. Of several that fit, `many` may be chosen at once."""

    name: str
    title: str
    label: str
    metric: str
    many: bool = True

    def json(self) -> Json:
        """Return the variable as Grafana has it. "All" also fits series without the label."""
        found: Json = {
            "name": self.name,
            "label": self.title,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": f"label_values({self.metric}, {self.label})", "refId": self.name},
            "refresh": 2,
            "sort": 1,
            "multi": self.many,
            "includeAll": self.many,
        }
        if self.many:
            found |= {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
        return found


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    def text(self) -> str:
        """Return the dashboard's file."""
        return written(self._json()) + "\n"

    def _json(self) -> Json:
        choice = {"name": "datasource", "label": "Prometheus", "type": "datasource"}
        variables = [variable.json() for variable in (*EVERYWHERE, *self.variables)]
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": "now-3h", "to": "now"},
            "refresh": "30s",
            "links": [LINKS],
            "templating": {"list": [choice | {"query": "prometheus"}, *variables]},
            "annotations": {"list": []},
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        placed: list[Json] = []
        y = 0
        for row in self.rows:
            place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
            placed.append(
                {
                    "id": len(placed) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
            )
            x, y, deepest = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, deepest = 0, y + deepest, 0
                placed.append(panel.json(len(placed) + 1, x, y))
                x, deepest = x + panel.width, max(deepest, panel.height)
            y += deepest
        return placed


def by_replica(expression: str) -> Query:
    """Return a query whose series are the processes of the gateway."""
    return Query(expression, "{{pod}} {{instance}} {{worker}}")


def shares(metric: str, selection: str = "$replicas") -> tuple[Query, ...]:
    """Return the queries of the median and of the 99th percentile of a histogram."""
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by (le) "
            f"(rate({metric}_bucket{{{selection}}}[$__rate_interval])))",
            name,
        )
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    )


_LEGEND: Final = {"displayMode": "list", "placement": "bottom", "showLegend": True}
_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
OPTIONS: Final[Mapping[str, Json]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {"reduceOptions": _LAST, "colorMode": "value", "graphMode": "none"},
    "bargauge": {"reduceOptions": _LAST, "orientation": "horizontal", "displayMode": "basic"},
    "state-timeline": {"legend": _LEGEND | {"showLegend": False}, "showValue": "auto"},
}
LINKS: Final = {
    "type": "dashboards",
    "title": "IMS Gateway",
    "tags": [TAG],
    "includeVars": True,
    "keepTime": True,
}
TENANT_URL: Final = (
    "/d/ims-gateway-tenant?var-tenant=${__field.labels.imsgateway_tenant}"
    "&${datasource:queryparam}&${namespace:queryparam}&${job:queryparam}&${__url_time_range}"
)
_SEEN: Final = "imsgateway_configuration_faults"
_OF_NAMESPACE: Final = f'{_SEEN}{{namespace="$namespace"}}'
_OF_JOB: Final = f'{_SEEN}{{namespace="$namespace",job="$job"}}'
# One gateway at a time, since two have two ledgers. Outside Kubernetes there is no namespace and no
# pod: Grafana then leaves the first empty, which fits series that have none, and "All" fits, too.
EVERYWHERE: Final = (
    Variable("namespace", "Namespace", "namespace", _SEEN, many=False),
    Variable("job", "Job", "job", _OF_NAMESPACE, many=False),
    Variable("pod", "Pod", "pod", _OF_JOB),
)
