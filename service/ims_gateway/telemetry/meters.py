"""Makes the instruments of one gateway, and hands them to those who measure.

A counter is kept here and read when metrics are collected: the SDK takes ten microseconds for each
addition, and a submit makes several. A histogram is kept likewise, in `distribution.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from ims_gateway.telemetry.distribution import Distribution
from ims_gateway.telemetry.instruments import Instrument, Values
from ims_gateway.telemetry.readers import DistributionReader

SCOPE: Final = "ims_gateway"

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


class Meters:
    """The instruments of one provider, whose `readers` show its histograms."""

    def __init__(self, provider: MeterProvider, readers: Iterable[DistributionReader] = ()) -> None:
        self._meter = provider.get_meter(SCOPE)
        self._readers = tuple(readers)

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
        distribution = Distribution(instrument)
        for reader in self._readers:
            reader.show(instrument.name, distribution)
        # Holds its place, which readers fill in.
        self._meter.create_observable_gauge(
            instrument.name, [lambda _: [Observation(0)]], instrument.unit, instrument.description
        )
        return distribution


def _callback(
    instrument: Instrument, observe: Observe
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [
        Observation(amount, instrument.attributes_of(values)) for values, amount in observe()
    ]
