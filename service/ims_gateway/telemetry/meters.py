"""Makes the instruments of one gateway, and hands them to those who measure.

A counter is kept here and read when metrics are collected: the SDK takes ten microseconds for each
addition, and a submit makes several. Histograms are the SDK's own, which gives them exemplars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation

from ims_gateway.telemetry.instruments import Instrument

SCOPE: Final = "ims_gateway"

Values = tuple[str | int, ...]
Observe = Callable[[], Iterable[tuple[Values, float]]]


class Tally:
    """A counter: what was added, by the values of its attributes in their order.

    One thread adds, any may read.
    """

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[Values, float] = {}

    def add(self, *values: str, amount: float = 1) -> None:
        """Add to the sum of these values; an amount of 0 makes it be there."""
        self._sums[values] = self._sums.get(values, 0) + amount

    def sums(self) -> Iterable[tuple[Values, float]]:
        """Return what there is."""
        return self._sums.copy().items()


class Distribution:
    """A histogram, recorded by the values of its attributes in their order."""

    __slots__ = ("_attributes", "_histogram", "_names")

    def __init__(self, histogram: Histogram, names: tuple[str, ...]) -> None:
        self._histogram = histogram
        self._names = names
        # Made once for each series, not for each call.
        self._attributes: dict[Values, dict[str, str | int]] = {}

    def record(self, amount: float, *values: str | int, context: Context | None = None) -> None:
        """Record an amount; the span of the context, or else the current one, is its exemplar."""
        attributes = self._attributes.get(values)
        if attributes is None:
            attributes = self._attributes[values] = attributes_of(self._names, values)
        self._histogram.record(amount, attributes, context)


class Meters:
    """The instruments of one provider."""

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter(SCOPE)

    def counter(self, instrument: Instrument, known: Iterable[str] = ()) -> Tally:
        """Return a counter; of one with one attribute, the values that are known begin at 0.

        One that first shows when something has happened never seems to have risen.
        """
        tally = Tally()
        for value in known:
            tally.add(value, amount=0)
        self.count(instrument, tally.sums)
        return tally

    def count(self, instrument: Instrument, observe: Observe) -> None:
        """Show sums that somebody else keeps."""
        self._meter.create_observable_counter(
            instrument.name,
            [_callback(instrument, observe)],
            instrument.unit,
            instrument.description,
        )

    def gauge(self, instrument: Instrument, observe: Observe) -> None:
        """Show what `observe` returns, in whatever thread collects: it waits for nothing."""
        self._meter.create_observable_gauge(
            instrument.name,
            [_callback(instrument, observe)],
            instrument.unit,
            instrument.description,
        )

    def histogram(self, instrument: Instrument) -> Distribution:
        """Return a histogram."""
        histogram = self._meter.create_histogram(
            instrument.name,
            instrument.unit,
            instrument.description,
            explicit_bucket_boundaries_advisory=instrument.boundaries,
        )
        return Distribution(histogram, instrument.attributes)


def attributes_of(names: tuple[str, ...], values: Values) -> dict[str, str | int]:
    """Return the attributes of a measurement; an empty value is none."""
    return {name: value for name, value in zip(names, values, strict=True) if value != ""}


def _callback(
    instrument: Instrument, observe: Observe
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    names = instrument.attributes
    return lambda _: [
        Observation(amount, attributes_of(names, values)) for values, amount in observe()
    ]
