"""What a tenant has used: of its limits now, and day by day in its own time zone.

Any principal of a tenant may know; nobody else's use is shown. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import takewhile
from typing import Final
from zoneinfo import ZoneInfo

from ims_gateway.errors import InvalidRequest, Violation
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.usage import Used
from ims_gateway.quota.charges import LimitState
from ims_gateway.quota.prices import PriceList
from ims_gateway.quota.windows import MICROSECONDS, day_window
from ims_gateway.telemetry.call import Call
from ims_gateway.tenancy.tenant import Tenant

DEFAULT_DAYS: Final = 31
# Nothing was used before there were gateways; a forged token is not to ask for the year one.
FIRST_DAY: Final = date(2020, 1, 1)


@dataclass(frozen=True, slots=True)
class Day:
    """What was used on one day, by algorithm."""

    date: date
    algorithms: Mapping[str, Used]


class Consumption:
    """Answers from the ledger. `clock` gives microseconds since the epoch."""

    def __init__(
        self, ledger: Ledger, prices: Callable[[], PriceList], clock: Callable[[], int]
    ) -> None:
        self._ledger = ledger
        self._prices = prices
        self._clock = clock

    @property
    def currency(self) -> str:
        """The label of the price list, empty where there is none."""
        return self._prices().currency

    async def limits(self, call: Call, tenant: Tenant) -> tuple[LimitState, ...]:
        """Return each limit of the tenant, as it stands. Raises StoreUnavailable."""
        with call.step("usage"):
            return await self._ledger.usage(tenant.name, tenant.limits)

    async def days(
        self, call: Call, tenant: Tenant, *, page_size: int, page_token: str
    ) -> tuple[list[Day], str]:
        """Return days, newest first, and the token of the next page.

        Raises InvalidRequest for a token that is none, StoreUnavailable.
        """
        today = datetime.fromtimestamp(
            self._clock() / MICROSECONDS, ZoneInfo(tenant.time_zone)
        ).date()
        newest = _date_of(page_token, today) if page_token else today
        dates = [newest - timedelta(days=number) for number in range(page_size or DEFAULT_DAYS)]
        dates = list(takewhile(lambda day: day >= FIRST_DAY, dates))
        windows = [day_window(day, tenant.time_zone) for day in dates]
        with call.step("usage"):
            history = await self._ledger.history(tenant.name, windows)
        days = [
            Day(day, algorithms)
            for day, window, algorithms in zip(dates, windows, history.windows, strict=True)
            if history.earliest is not None and window.end > history.earliest
        ]
        more = (
            history.earliest is not None
            and bool(windows)
            and windows[-1].start > history.earliest
            and dates[-1] > FIRST_DAY
        )
        return days, (dates[-1] - timedelta(days=1)).isoformat() if more else ""


def _date_of(token: str, today: date) -> date:
    try:
        return min(today, date.fromisoformat(token))
    except ValueError:
        fault = "is not a next_page_token of this list"
        raise InvalidRequest((Violation("page_token", "page_token", fault),)) from None
