"""Draws a dashboard in its own grid: one SVG, out of the panels' JSON and what their queries said.

Not Grafana, but enough of it to see whether a panel says what it should.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from tests.pictures.units import spelled

CELL: Final = (58, 32)
GAP: Final = 4
PALETTE: Final = (
    *("#56A64B", "#F2CC0C", "#3274D9", "#FF780A", "#E02F44", "#A352CC", "#1F9E9E", "#705DA0"),
    *("#8F7A2B", "#6B7A8F"),
)
NAMED: Final = {
    "green": "#56A64B",
    "orange": "#FF780A",
    "red": "#E02F44",
    "dark-red": "#8B1A2B",
}
INK: Final = "#24292E"
PALE: Final = "#6E7781"
LINE: Final = "#E4E7EB"
Points = list[tuple[float, float]]
Span = tuple[float, float]
STEPS: Final = (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Series:
    """A named line: times in seconds since the epoch, and values."""

    name: str
    points: Points

    @property
    def last(self) -> float:
        """The latest value."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Box:
    """A panel's place on the page, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Plot:
    """Where values go: from `start` to `end`, and from nothing up to `top`."""

    box: Box
    start: float
    end: float
    top: float

    def at(self, moment: float, value: float) -> str:
        """Return where a value of a moment is."""
        x = self.box.x + (moment - self.start) / (self.end - self.start) * self.box.width
        y = self.box.y + self.box.height * (1 - min(value / self.top, 1))
        return f"{x:.1f},{y:.1f}"


def page(dashboard: dict[str, Any], drawn: Iterable[str]) -> tuple[str, int, int]:
    """Return the page with the panels on it, its width and its height."""
    width = 24 * CELL[0] + 2 * GAP
    height = 40 + max(_box(panel).y + _box(panel).height for panel in dashboard["panels"])
    title = _text(12, 26, dashboard["title"], size=17, bold=True)
    body = f'<g transform="translate(0,40)">{"".join(drawn)}</g>'
    font = "font-family:Inter,DejaVu Sans,sans-serif"
    svg = f'<svg width="{width}" height="{height}" style="{font}">{title}{body}</svg>'
    style = "margin:0;background:#F4F5F7"
    return f'<!doctype html><meta charset="utf-8"><body style="{style}">{svg}', width, int(height)


def panel(what: dict[str, Any], series: list[Series], dots: Points, span: Span) -> str:
    """Return one panel of a time; `dots` are exemplars, times and values."""
    box = _box(what)
    if what["type"] == "row":
        return _text(box.x + 6, box.y + 23, what["title"], size=14, bold=True)
    frame = (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="3" '
        f'fill="white" stroke="{LINE}"/>'
    )
    title = _text(box.x + 8, box.y + 18, what["title"], size=12, bold=True)
    inside = Box(box.x + 8, box.y + 28, box.width - 16, box.height - 36)
    draw = {
        "stat": _stat,
        "bargauge": _bars,
        "timeseries": _lines,
        "state-timeline": _states,
    }[what["type"]]
    body = draw(what, series, dots, Plot(inside, *span, 1)) if series else _nothing(inside)
    return frame + title + body


def _box(what: dict[str, Any]) -> Box:
    grid = what["gridPos"]
    width, height = CELL
    return Box(
        GAP + grid["x"] * width,
        grid["y"] * height,
        grid["w"] * width - GAP,
        grid["h"] * height - GAP,
    )


def _nothing(box: Box) -> str:
    return _text(box.x + box.width / 2, box.y + box.height / 2, "No data", anchor="middle")


def _stat(what: dict[str, Any], series: list[Series], _: Any, plot: Plot) -> str:
    box = plot.box
    named = "textMode" in what["options"]
    each = box.width / len(series)
    found = []
    for index, one in enumerate(series):
        text, color = _said(what, one.last)
        middle = box.x + each * (index + 0.5)
        size = 30 if len(series) == 1 else 22
        found.append(
            _text(middle, box.y + 44, text, size=size, color=color, anchor="middle", bold=True)
        )
        if named:
            found.append(_text(middle, box.y + 66, one.name, anchor="middle"))
    return "".join(found)


def _said(what: dict[str, Any], value: float) -> tuple[str, str]:
    """Return the text and the colour of a value, by the panel's mappings and thresholds."""
    defaults = what["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings", ()):
        if found := mapping["options"].get(f"{value:.0f}"):
            return found["text"], NAMED[found["color"]]
    steps = defaults["thresholds"]["steps"]
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return spelled(value, defaults["unit"]), NAMED[reached[-1]["color"]]


def _bars(what: dict[str, Any], series: list[Series], _: Any, plot: Plot) -> str:
    box = plot.box
    top = what["fieldConfig"]["defaults"].get("max") or max(one.last for one in series) or 1
    each = min(box.height / len(series), 30)
    names = min(max(_width(one.name) for one in series) + 8, box.width / 2)
    room = box.width - names - 60
    found = []
    for index, one in enumerate(series):
        text, color = _said(what, one.last)
        y = box.y + index * each
        found.append(_text(box.x, y + each / 2 + 4, one.name, color=INK))
        bar = f'x="{box.x + names}" y="{y + 3}" height="{each - 6}"'
        found.append(f'<rect {bar} width="{room}" fill="#EEF0F2"/>')
        found.append(f'<rect {bar} width="{room * min(one.last / top, 1):.1f}" fill="{color}"/>')
        found.append(_text(box.x + names + room + 6, y + each / 2 + 4, text, color=color))
    return "".join(found)


def _lines(what: dict[str, Any], series: list[Series], dots: Points, plot: Plot) -> str:
    box = plot.box
    defaults = what["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    colors = _colors(what, series)
    legend, used = _legend(series, colors, box)
    shapes = _stacked(series) if stacked else [(one.points, None) for one in series]
    highest = max((value for points, _ in shapes for _, value in points), default=0)
    highest = max([highest, *(value for _, value in dots)])
    top = defaults.get("max") or _round_up(highest)
    inside = Box(box.x + 64, box.y + 4, box.width - 70, box.height - 26 - used)
    plot = Plot(inside, plot.start, plot.end, top)
    found = [_axes(plot, defaults["unit"]), _bounds(defaults, plot)]
    for (points, below), color in zip(shapes, colors, strict=True):
        found.append(_shape(plot, points, below, color))
    for moment, value in dots:
        x, y = plot.at(moment, value).split(",")
        if not plot.start <= moment <= plot.end:
            continue
        found.append(
            f'<circle cx="{x}" cy="{y}" r="1.5" fill="white" stroke="#3274D9" opacity="0.7"/>'
        )
    return "".join([*found, legend])


def _stacked(series: list[Series]) -> list[tuple[Points, Any]]:
    """Return each line on top of those before it, and the line below it."""
    moments = sorted({moment for one in series for moment, _ in one.points})
    sums = dict.fromkeys(moments, 0.0)
    found = []
    for one in series:
        below = list(sums.items())
        for moment, value in one.points:
            sums[moment] += value
        found.append((list(sums.items()), below))
    return found


def _shape(plot: Plot, points: Points, below: Points | None, color: str) -> str:
    line = " ".join(plot.at(*point) for point in points)
    floor = below or [(points[0][0], 0.0), (points[-1][0], 0.0)]
    area = f"{line} {' '.join(plot.at(*point) for point in reversed(floor))}"
    if below:
        return f'<polygon points="{area}" fill="{color}" opacity="0.7"/>'
    return (
        f'<polygon points="{area}" fill="{color}" opacity="0.06"/>'
        f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.4" '
        # Without soft edges the picture is a third smaller.
        'shape-rendering="crispEdges"/>'
    )


def _states(what: dict[str, Any], series: list[Series], _: Any, plot: Plot) -> str:
    box = plot.box
    each = min((box.height - 24) / len(series), 60)
    inside = Box(box.x + 64, box.y, box.width - 70, box.height - 24)
    plot = Plot(inside, plot.start, plot.end, 1)
    found = [_times(plot)]
    for index, one in enumerate(series):
        y = box.y + index * each
        found.append(_text(box.x, y + each / 2, one.name, color=INK))
        for (moment, value), (after, _) in zip(one.points, one.points[1:], strict=False):
            x = float(plot.at(moment, 0).split(",")[0])
            width = float(plot.at(after, 0).split(",")[0]) - x + 0.5
            bar = f'x="{x}" y="{y + 4}" width="{width}" height="{each - 10}"'
            found.append(f'<rect {bar} fill="{_said(what, value)[1]}" opacity="0.75"/>')
    return "".join(found)


def _axes(plot: Plot, unit: str) -> str:
    box = plot.box
    found = []
    for step in range(5):
        value = plot.top * step / 4
        y = box.y + box.height * (1 - step / 4)
        found.append(
            f'<line x1="{box.x}" x2="{box.x + box.width}" y1="{y}" y2="{y}" stroke="{LINE}"/>'
        )
        found.append(_text(box.x - 6, y + 4, spelled(value, unit), size=10, anchor="end"))
    return "".join([*found, _times(plot)])


def _times(plot: Plot) -> str:
    box = plot.box
    found = []
    for step in range(1, 4):
        moment = plot.start + (plot.end - plot.start) * step / 4
        clock = time.strftime("%H:%M:%S", time.gmtime(moment))
        x = box.x + box.width * step / 4
        found.append(_text(x, box.y + box.height + 14, clock, size=10, anchor="middle"))
    return "".join(found)


def _bounds(defaults: dict[str, Any], plot: Plot) -> str:
    """Return the thresholds that lie within the plot."""
    found = []
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or not 0 < step["value"] <= plot.top:
            continue
        _, y = plot.at(plot.start, step["value"]).split(",")
        x, width = plot.box.x, plot.box.width
        found.append(
            f'<line x1="{x}" x2="{x + width}" y1="{y}" y2="{y}" '
            f'stroke="{NAMED[step["color"]]}" stroke-dasharray="6 4"/>'
        )
    return "".join(found)


def _legend(series: list[Series], colors: list[str], box: Box) -> tuple[str, float]:
    """Return the names below the plot, and the height that they take."""
    x, line, found = box.x, 0, []
    for one, color in zip(series, colors, strict=True):
        width = _width(one.name) + 26
        if x + width > box.x + box.width and x > box.x:
            x, line = box.x, line + 1
        found.append((x, line, one.name, color))
        x += width
    lines = line + 1
    top = box.y + box.height - lines * 15 + 8
    parts = [
        f'<rect x="{x}" y="{top + line * 15 - 4}" width="12" height="4" fill="{color}"/>'
        + _text(x + 16, top + line * 15 + 2, name, size=11)
        for x, line, name, color in found
    ]
    return "".join(parts), lines * 15


def _width(text: str) -> float:
    """Return about how wide a small text is."""
    return sum(8.2 if letter.isupper() or letter == "_" else 6.6 for letter in text)


def _colors(what: dict[str, Any], series: list[Series]) -> list[str]:
    fixed = {
        override["matcher"]["options"]: NAMED[override["properties"][0]["value"]["fixedColor"]]
        for override in what["fieldConfig"]["overrides"]
    }
    free = [color for color in PALETTE if color not in fixed.values()]
    return [fixed.get(one.name) or free[index % len(free)] for index, one in enumerate(series)]


def _round_up(value: float) -> float:
    if value <= 0:
        return 1
    size = 10 ** math.floor(math.log10(value))
    return next(step * size for step in STEPS if value <= step * size)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    color: str = PALE,
    anchor: str = "start",
    bold: bool = False,
) -> str:
    weight = ' font-weight="600"' if bold else ""
    fill = INK if bold and color == PALE else color
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"'
        f"{weight}>{escape(text)}</text>"
    )
