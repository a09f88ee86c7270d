"""The shape of limits and prices in the configuration's files, and what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    model_validator,
)

from ims_gateway.algorithms.table import TABLE
from ims_gateway.quota.limits import (
    BudgetLimit,
    ConcurrencyLimit,
    CountLimit,
    Dimension,
    Limit,
    RateLimit,
    Scope,
)
from ims_gateway.quota.prices import ANY, Price, PriceList
from ims_gateway.tenancy.shape import File, Name

LONGEST_REFILL_SECONDS: Final = 366 * 24 * 3600
# They travel in the trailers of each reply, and cost each admission a look.
MOST_LIMITS: Final = 64
LARGEST: Final = 10**15
ALGORITHMS: Final = frozenset(row.field for row in TABLE)


def _known(algorithm: str) -> str:
    # A misspelled one would cover nothing, and so limit nobody.
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{algorithm!r} is not an algorithm")
    return algorithm


Algorithm = Annotated[str, AfterValidator(_known)]
Micros = Annotated[int, Field(ge=0, le=LARGEST)]


class _LimitFile(File):
    """Whom a limit covers (by default everybody and everything), and what it counts separately.

    With `shadow` it is counted and reported, and refuses nothing.
    """

    id: Name
    principals: tuple[Name, ...] = ()
    algorithms: tuple[Algorithm, ...] = ()
    per: tuple[Dimension, ...] = ()
    shadow: bool = False

    @property
    def scope(self) -> Scope:
        """The scope that it stands for."""
        return Scope(frozenset(self.principals), frozenset(self.algorithms), frozenset(self.per))


class RateFile(_LimitFile):
    """At most `per_second` on average and `burst` at once."""

    kind: Literal["rate"]
    per_second: Annotated[float, Field(gt=0, le=100_000)]
    burst: Annotated[int, Field(ge=1, le=1_000_000)]

    @model_validator(mode="after")
    def _refills(self) -> RateFile:
        if self.burst / self.per_second > LONGEST_REFILL_SECONDS:
            raise ValueError("burst must refill within 366 days")
        return self


class CountFile(_LimitFile):
    """At most `max` in each calendar hour, day, week (from Monday) or month of the tenant."""

    kind: Literal["hour", "day", "week", "month"]
    max: Annotated[int, Field(ge=0, le=10**12)]


class ConcurrencyFile(_LimitFile):
    """At most `max` jobs that have not ended."""

    kind: Literal["concurrent"]
    max: Annotated[int, Field(ge=0, le=10**12)]


class BudgetFile(_LimitFile):
    """At most `max_micros` of money in each calendar window of the tenant.

    Micro-units are millionths of the price list's currency. `alerts` are percents of it.
    """

    kind: Literal["budget"]
    window: Literal["day", "week", "month"]
    max_micros: Micros
    alerts: tuple[Annotated[int, Field(ge=1, le=100)], ...] = ()


LimitFile: TypeAlias = Annotated[
    RateFile | CountFile | ConcurrencyFile | BudgetFile, Field(discriminator="kind")
]
LimitFiles = Annotated[tuple[LimitFile, ...], Field(max_length=MOST_LIMITS)]


class PriceFile(File):
    """The price of an algorithm, or of one of its models, in micro-units of the currency."""

    algorithm: Algorithm | Literal["*"]
    model: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    micros: Micros = 0
    micros_per_minute: Micros = 0

    @model_validator(mode="after")
    def _model_is_an_algorithm_s(self) -> PriceFile:
        if self.model is not None and self.algorithm == ANY:
            raise ValueError("a model needs its algorithm")
        return self

    @property
    def key(self) -> tuple[str, str]:
        """What the price is for."""
        return self.algorithm, self.model or ANY


class PricesFile(File):
    """The platform's price list."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    prices: Annotated[tuple[PriceFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_price_each(self) -> PricesFile:
        keys = [price.key for price in self.prices]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"two prices for {' '.join(twice[0])}")
        return self

    @model_validator(mode="after")
    def _prices_everything(self) -> PricesFile:
        # What has no price would be free, and pass every budget.
        priced = {price.algorithm for price in self.prices if price.model is None}
        if ANY not in priced and (missing := sorted(ALGORITHMS - priced)):
            raise ValueError(f'no price for {", ".join(missing)}; "*" is for any')
        return self

    @property
    def price_list(self) -> PriceList:
        """The price list that it stands for."""
        prices = {each.key: Price(each.micros, each.micros_per_minute) for each in self.prices}
        return PriceList(self.currency, prices)


def limit_of(file: LimitFile, time_zone: str, source: str) -> Limit:
    """Return the limit that an entry stands for; `source` says where it is written."""
    scope, shadow = file.scope, file.shadow
    match file:
        case RateFile():
            return RateLimit(
                file.id, file.per_second, file.burst, scope=scope, shadow=shadow, source=source
            )
        case ConcurrencyFile():
            return ConcurrencyLimit(file.id, file.max, scope=scope, shadow=shadow, source=source)
        case BudgetFile():
            return BudgetLimit(
                file.id,
                file.max_micros,
                time_zone,
                file.window,
                tuple(sorted(set(file.alerts))),
                scope=scope,
                shadow=shadow,
                source=source,
            )
        case CountFile():
            return CountLimit(
                file.id, file.max, time_zone, file.kind, scope=scope, shadow=shadow, source=source
            )


def names_principals(files: Sequence[LimitFile], principals: set[str]) -> None:
    """Raise ValueError where a limit names a principal that the tenant does not have.

    It would limit nobody, and nobody would notice.
    """
    for file in files:
        if unknown := sorted(set(file.principals) - principals):
            raise ValueError(f"limit {file.id} names no principal: {', '.join(unknown)}")
