"""Which call to an upstream account goes out now, which waits, and which need not even wait.

A call needs a place among the account's calls in flight, a moment in its rate (`rate`), and a
service that is there (`breaker`). Where one is missing calls wait in turn (`turns`), each no longer
than its caller does. What it never does: make a call, or promise a time; it estimates one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import structlog

from ims_gateway.errors import TryLater, UpstreamBusy, UpstreamUnreachable
from ims_gateway.upstream.breaker import Breaker
from ims_gateway.upstream.errors import NotSent, Throttled, Unreached, UpstreamError
from ims_gateway.upstream.rate import Rate
from ims_gateway.upstream.turns import Standing, Turns
from ims_gateway.upstream.usage import Demand, Usage

# Of one tenant. Others have lines of their own, so nobody can fill theirs.
LONGEST_LINE: Final = 1_000
# A call that was given less time and found no connection says nothing about the service.
SECONDS_TO_CONNECT: Final = 2.0
# How long a process without a share waits for one, about.
SECONDS_TO_SHARE: Final = 1.0
# How much the last call counts for what calls take.
NEWEST_COUNTS: Final = 0.1

log = structlog.get_logger()


class Slots:
    """The places and the rate of one account, as far as they are this process's."""

    def __init__(self, account: str, places: int, per_second: float = math.inf) -> None:
        self._account = account
        self.limit = places
        self._whole = places, per_second
        self._processes = 1
        self.rate = Rate(per_second)
        self.breaker = Breaker(account)
        self._in_flight = 0
        self._turns: Turns[Place] = Turns()
        self._timer: asyncio.TimerHandle | None = None
        self._call_seconds = 0.0
        self._throttled = False
        self._usage = Usage(_now())

    def place(self, standing: Standing) -> Place:
        """Return a place to enter: it is taken at once where one is free and nobody waits."""
        return Place(self, standing)

    def grant(self, places: int, per_second: float, processes: int = 1) -> None:
        """Let this one of so many processes have these places and calls a second from now on."""
        self.limit = places
        self._processes = processes
        self.rate.change_share(per_second, _now())
        self._serve()

    def demand(self) -> Demand:
        """Return what the calls of this process need at present."""
        return self._usage.demand(_now(), self._in_flight, self._turns.weights(), len(self._turns))

    @property
    def in_flight(self) -> int:
        """How many calls have a place."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """How many calls wait for one."""
        return len(self._turns)

    @property
    def starved(self) -> bool:
        """Whether calls wait for a share more than for anything else."""
        return len(self._turns) > 0 and self._in_flight >= self.limit

    @contextmanager
    def learning(self, seconds: float) -> Iterator[None]:
        """Learn from the submit that is made meanwhile and is given so many seconds."""
        sent_at = _now()
        try:
            yield
        except Throttled as error:
            self.breaker.reached()
            self._slow_down(sent_at, error.retry_after_seconds or 0.0)
            raise
        except Unreached:
            if seconds >= SECONDS_TO_CONNECT:
                self.breaker.unreached(_now())
            raise
        except NotSent:
            raise
        except UpstreamError:
            self.breaker.reached()
            raise
        else:
            self.breaker.reached()

    def _slow_down(self, sent_at: float, pause_seconds: float) -> None:
        now = _now()
        if self.rate.throttle(now, sent_at=sent_at, pause_seconds=pause_seconds):
            self._throttled = True
            rate = round(self.rate.per_second(now), 1)
            log.warning("upstream throttles", account=self._account, calls_per_second=rate)

    def estimate_seconds(self, standing: Standing) -> float:
        """Return how long a call that comes now waits for its place, as things stand.

        A process that has less than others and needs more will have its part of the whole soon.
        """
        now = _now()
        places, per_second = (each / self._processes for each in self._whole)
        ahead = self._turns.ahead_of(standing)
        to_next = min(self.rate.seconds_to_next(now), SECONDS_TO_SHARE)
        by_rate = to_next + ahead / self.rate.per_second(now, at_least=per_second)
        in_line = ahead + 1 - max(0, self.limit - self._in_flight)
        by_places = max(0, in_line) * self._call_seconds / max(self.limit, places)
        return max(by_rate, by_places)

    def refusal(self, standing: Standing, seconds: float) -> TryLater | None:
        """Return why a call that can wait so long need not wait at all."""
        if (pause := self.breaker.seconds_to_try(_now())) > 0:
            return _unreachable(pause)
        estimate = self.estimate_seconds(standing)
        if self._turns.waiting_of(standing.tenant) >= LONGEST_LINE:
            return UpstreamBusy(
                "too many of the tenant's jobs wait already", retry_after_seconds=max(1.0, estimate)
            )
        if estimate + self._call_seconds > seconds:
            return UpstreamBusy(
                "no upstream call can be made in the time left",
                retry_after_seconds=max(0.1, estimate),
            )
        return None

    def ahead_of(self, standing: Standing) -> int:
        """Return how many calls go before one that comes now."""
        return self._turns.ahead_of(standing)

    def enter(self, place: Place) -> None:
        """Take the place if one is free and nobody waits."""
        if not self._turns and self._free(_now()):
            self._take(place)

    def line_up(self, place: Place) -> None:
        """Let the place be taken when its turn comes."""
        self._turns.add(place, place.standing)
        self._serve()

    def leave_line(self, place: Place) -> None:
        """Let it wait no longer."""
        self._turns.remove(place)

    def leave(self, place: Place) -> None:
        """Give a place back, and what it took of the rate where no call was made."""
        now = _now()
        self._in_flight -= 1
        if place.spent:
            self._learn(now - place.taken_at)
        else:
            self.rate.give_back(now)
        if place.probes:
            self.breaker.give_up_probe(now)
        self._serve()

    def _free(self, now: float) -> bool:
        return (
            self._in_flight < self.limit
            and self.breaker.seconds_to_try(now) <= 0
            and self.rate.seconds_to_next(now) <= 0
        )

    def _take(self, place: Place) -> None:
        now = _now()
        self._in_flight += 1
        self._usage.count(self._in_flight, place.standing)
        self.rate.take(now)
        place.take(now, probes=self.breaker.take())
        if self._throttled and not self.rate.throttled(now):
            self._throttled = False
            log.info("upstream throttles no more", account=self._account)

    def _serve(self) -> None:
        """Give free places to those who wait, for as long as there are both."""
        now = _now()
        while self._turns and self._free(now):
            self._take(self._turns.pop())
        pause = self.breaker.seconds_to_try(now)
        while self._turns and pause > 0:
            self._turns.pop().refuse(_unreachable(pause))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seconds = self.rate.seconds_to_next(now)
        if self._turns and self._in_flight < self.limit and seconds < math.inf:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._serve)

    def _learn(self, seconds: float) -> None:
        newest = NEWEST_COUNTS if self._call_seconds else 1.0
        self._call_seconds += newest * (seconds - self._call_seconds)


class Place:
    """At most one place of the account; given back when it is left, or before."""

    def __init__(self, slots: Slots, standing: Standing) -> None:
        self._slots = slots
        self._turn: asyncio.Future[None] | None = None
        self.standing = standing
        self.taken = False
        self.taken_at = 0.0
        self.spent = False
        self.probes = False

    @property
    def ahead(self) -> int:
        """How many calls go before this one, as things stand."""
        return self._slots.ahead_of(self.standing)

    @property
    def estimate_seconds(self) -> float:
        """How long it would have to wait, as things stand."""
        return self._slots.estimate_seconds(self.standing)

    def refusal(self, seconds: float) -> TryLater | None:
        """Return why there is no use in waiting for so long: UpstreamBusy, UpstreamUnreachable."""
        return None if self.taken else self._slots.refusal(self.standing, seconds)

    async def wait(self, seconds: float) -> None:
        """Wait for the place. Nothing was sent where this raises.

        Raises UpstreamBusy where none gets free in time, UpstreamUnreachable where the service is
        gone meanwhile: both at once, as soon as it is known.
        """
        if refusal := self.refusal(seconds):
            raise refusal
        loop = asyncio.get_running_loop()
        self._turn = loop.create_future()
        busy = UpstreamBusy("no upstream call can be made in the time left")
        timer = loop.call_later(seconds, self.refuse, busy)
        self._slots.line_up(self)
        try:
            await self._turn
        except BaseException:
            self._slots.leave_line(self)
            # It may have been this one's turn when its caller gave up.
            self.release()
            raise
        finally:
            timer.cancel()

    def take(self, now: float, *, probes: bool) -> None:
        """Be taken; `probes` where the call shows whether the service is back."""
        self.taken = True
        self.taken_at = now
        self.probes = probes
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def refuse(self, refusal: TryLater) -> None:
        """Tell the one who waits that there is no use in it."""
        if self._turn is not None and not self._turn.done():
            self._slots.leave_line(self)
            self._turn.set_exception(refusal)

    def spend(self) -> None:
        """Note that the call is made."""
        self.spent = True

    def release(self) -> None:
        """Give the place to whose turn it is. A second time does nothing."""
        if self.taken:
            self.taken = False
            self._slots.leave(self)

    async def __aenter__(self) -> Self:
        self._slots.enter(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _unreachable(pause_seconds: float) -> UpstreamUnreachable:
    return UpstreamUnreachable(
        "Intelligent Media Services cannot be reached at present",
        retry_after_seconds=max(0.1, pause_seconds),
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
