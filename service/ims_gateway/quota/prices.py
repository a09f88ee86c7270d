"""What a job is taken to cost, by the platform's price list. Integers; the bill is the provider's.

A price is flat or by the minute of the media that the caller declares. Parts of a micro-unit are
rounded up, so that many small jobs do not slip through a budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MICROSECONDS_PER_MINUTE: Final = 60_000_000
ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """What one job costs, in micro-units: flat, plus an amount for each minute of its media."""

    flat: int = 0
    per_minute: int = 0

    def cost(self, media_duration: int | None) -> int:
        """Return what a job costs whose media last so many microseconds; unknown counts as none."""
        return self.flat - (-self.per_minute * (media_duration or 0) // MICROSECONDS_PER_MINUTE)


NOTHING: Final = Price()


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices by algorithm and model, and the label of their currency, such as CNY.

    The price for an algorithm's model goes before that for the algorithm, and that before the one
    for any.
    """

    currency: str = ""
    prices: Mapping[tuple[str, str], Price] = field(default_factory=dict)

    def price(self, algorithm: str, model: str = ANY) -> Price | None:
        """Return the price of such a job, None where the list has none."""
        for key in ((algorithm, model), (algorithm, ANY), (ANY, ANY)):
            if (found := self.prices.get(key)) is not None:
                return found
        return None

    def of(self, algorithm: str) -> dict[str, Price]:
        """Return the algorithm's prices by model; ANY is for those that have none of their own."""
        found = {
            model: price
            for (priced, model), price in self.prices.items()
            if priced == algorithm and model != ANY
        }
        rest = self.price(algorithm)
        return found if rest is None else {ANY: rest, **found}

    def cost(self, algorithm: str, model: str, media_duration: int | None) -> int:
        """Return the cost of a job in micro-units; without a price it costs nothing."""
        return (self.price(algorithm, model) or NOTHING).cost(media_duration)


NO_PRICES: Final = PriceList()
