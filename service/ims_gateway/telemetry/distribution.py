"""Histograms: amounts are counted here as they come, and shown when metrics are collected.

A record by the SDK takes ten to twenty microseconds, and a submit makes several. What is shown is
as the SDK's own histogram would have it; how that gets out, `readers.py` knows.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from operator import add
from threading import Lock
from time import time_ns

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint
from opentelemetry.trace import SpanContext

from ims_gateway.telemetry.instruments import Instrument, Values


@dataclass(slots=True)
class Series:
    """Amounts that share their attributes, counted by bucket.

    An exemplar is the latest amount of its bucket whose span is sampled, with its time. Times are
    nanoseconds since the epoch.
    """

    counts: list[int]
    began: int = field(default_factory=time_ns)
    sum: float = 0
    least: float = math.inf
    most: float = -math.inf
    exemplars: dict[int, tuple[float, int, SpanContext]] = field(default_factory=dict)

    def add(self, later: Series) -> None:
        """Add what was recorded since. Lists and dictionaries are replaced: others have them."""
        self.counts = [*map(add, self.counts, later.counts)]
        self.sum += later.sum
        self.least = min(self.least, later.least)
        self.most = max(self.most, later.most)
        self.exemplars = self.exemplars | later.exemplars


class Distribution:
    """A histogram, recorded by the values of its attributes in their order.

    Any thread may record or read. A reader takes away what was recorded and leaves nothing in its
    place, so no series is written to any more once somebody looks at it; and a recorder waits for a
    reader as long as two assignments take, however many series there are.
    """

    __slots__ = ("_boundaries", "_instrument", "_readings", "_recorded", "_recording", "_sharing")

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._boundaries = instrument.boundaries
        self._recorded: dict[Values, Series] = {}
        self._recording = Lock()
        self._readings: list[_Reading] = []
        self._sharing = Lock()

    def record(self, amount: float, *values: str | int, context: Context | None = None) -> None:
        """Record an amount; the span of the context, or else the current one, is its exemplar."""
        bucket = bisect_left(self._boundaries, amount)
        span = trace.get_current_span(context).get_span_context()
        with self._recording:
            series = self._recorded.get(values)
            if series is None:
                series = self._recorded[values] = Series([0] * (len(self._boundaries) + 1))
            series.counts[bucket] += 1
            series.sum += amount
            if amount < series.least:  # noqa: PLR1730 - two calls take as long as all the rest
                series.least = amount
            if amount > series.most:  # noqa: PLR1730 - likewise
                series.most = amount
            if span.trace_flags.sampled:
                series.exemplars[bucket] = (amount, time_ns(), span)

    def read_as(self, temporality: AggregationTemporality) -> Callable[[], Histogram | None]:
        """Return what one reader reads with, which is its own; None is read where nothing is."""
        reading = _Reading(temporality)
        self._readings.append(reading)
        return partial(self._read, reading)

    def _read(self, reading: _Reading) -> Histogram | None:
        with self._sharing:
            with self._recording:
                recorded, self._recorded = self._recorded, {}
            for each in self._readings:
                each.add(recorded)
            return reading.shown(self._instrument, time_ns())


class _Reading:
    """What one reader has to show: all that there ever was, or what is new since it last did."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        self._temporality = temporality
        self._series: dict[Values, Series] = {}
        self._last = 0

    def add(self, recorded: Mapping[Values, Series]) -> None:
        for values, series in recorded.items():
            known = self._series.get(values)
            if known is None:
                self._series[values] = replace(series)
            else:
                known.add(series)

    def shown(self, instrument: Instrument, time: int) -> Histogram | None:
        points = [
            _point(instrument, values, series, self._last or series.began, time)
            for values, series in self._series.items()
        ]
        if self._temporality is AggregationTemporality.DELTA:
            self._series, self._last = {}, time
        # An exemplar is shown once, in either way.
        for series in self._series.values():
            series.exemplars = {}
        return Histogram(points, self._temporality) if points else None


def _point(
    instrument: Instrument, values: Values, series: Series, start: int, time: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=instrument.attributes_of(values),
        start_time_unix_nano=start,
        time_unix_nano=time,
        count=sum(series.counts),
        sum=series.sum,
        bucket_counts=tuple(series.counts),
        explicit_bounds=instrument.boundaries,
        min=series.least,
        max=series.most,
        exemplars=[
            Exemplar({}, amount, moment, span.span_id, span.trace_id)
            for _, (amount, moment, span) in sorted(series.exemplars.items())
        ],
    )
