"""Whose turn is next: the tenant that has had least for its weight, and by priority within it.

Each turn brings a tenant 1 / weight further along one road, and who is furthest behind goes first
(start-time fair queueing). One that sends nothing falls behind, by no more than `ROUNDS_SAVED`; one
that floods is always in front. So who sends no more than its share hardly notices a flood, even
where all is taken and its calls do not come evenly. Pure: knows no time, no places, no calls.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import floor
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# How far a tenant falls behind at most: so many times its weight it may have at once.
ROUNDS_SAVED: Final = 10
# Parts of a round that estimates tell apart.
STEPS: Final = 4


@dataclass(frozen=True, slots=True)
class Standing:
    """Who asks for a turn. A weight of 2 gets two turns for one; a smaller priority goes first."""

    tenant: str
    weight: int = 1
    priority: int = 5


@dataclass(slots=True, eq=False)
class _Line(Generic[T]):
    """Those of one tenant who wait, and how far its turns bring it."""

    tenant: str
    weight: int
    # Where the turn after all that wait begins, and where each of theirs does.
    reached: float
    begins: deque[float] = field(default_factory=deque)
    lanes: dict[int, OrderedDict[T, None]] = field(default_factory=dict)
    # Whether it is among those that are looked at for the next turn.
    queued: bool = False

    @property
    def waiting(self) -> int:
        return len(self.begins)

    def push(self, item: T, priority: int) -> float:
        begin = self.reached
        self.lanes.setdefault(priority, OrderedDict())[item] = None
        self.begins.append(begin)
        self.reached += 1 / self.weight
        return begin

    def pop(self) -> T:
        priority = min(self.lanes)
        item, _ = self.lanes[priority].popitem(last=False)
        self._shrink(priority)
        self.begins.popleft()
        return item

    def remove(self, item: T, priority: int) -> float:
        del self.lanes[priority][item]
        self._shrink(priority)
        self.reached = self.begins.pop()
        return self.reached

    def _shrink(self, priority: int) -> None:
        if not self.lanes[priority]:
            del self.lanes[priority]


class Turns(Generic[T]):
    """Those who wait, each with its standing."""

    def __init__(self) -> None:
        self._standings: dict[T, Standing] = {}
        # A tenant without a line is as far behind as one can be.
        self._lines: dict[str, _Line[T]] = {}
        self._idle: OrderedDict[str, _Line[T]] = OrderedDict()
        # The lines that wait, the one that is furthest behind first; of equals the first to come.
        # One in which nobody waits any more is put right when it is met.
        self._queue: list[tuple[float, int, _Line[T]]] = []
        self._order = count()
        # Where the foremost turn began.
        self._front = 0.0
        # How many turns begin where, for estimates: many tenants may wait.
        self._steps: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._standings)

    def waiting_of(self, tenant: str) -> int:
        """Return how many of the tenant wait."""
        line = self._lines.get(tenant)
        return line.waiting if line else 0

    def weights(self) -> dict[str, int]:
        """Return the weights of the tenants of which somebody waits."""
        return {line.tenant: line.weight for line in self._lines.values() if line.waiting}

    def add(self, item: T, standing: Standing) -> None:
        """Let it wait, behind its tenant's others of the same priority."""
        line = self._lines.get(standing.tenant)
        if line is None:
            line = _Line(standing.tenant, standing.weight, self._begin)
            self._lines[standing.tenant] = line
        if not line.waiting:
            line.reached = max(line.reached, self._begin)
            self._idle.pop(line.tenant, None)
        line.weight = standing.weight
        self._steps[_step(line.push(item, standing.priority))] += 1
        self._standings[item] = standing
        if not line.queued:
            self._enqueue(line)

    def remove(self, item: T) -> None:
        """Let it wait no longer; does nothing where it does not."""
        if standing := self._standings.pop(item, None):
            line = self._lines[standing.tenant]
            self._uncount(line.remove(item, standing.priority))
            self._rest(line)

    def pop(self) -> T:
        """Return the one whose turn it is. Raises LookupError where nobody waits."""
        if not self._standings:
            raise LookupError("nobody waits")
        line = self._next()
        begin = line.begins[0]
        self._front = max(self._front, begin)
        item = line.pop()
        self._uncount(begin)
        del self._standings[item]
        if line.waiting:
            self._enqueue(line)
        self._rest(line)
        return item

    def ahead_of(self, standing: Standing) -> int:
        """Return how many would go before one that came now, if nobody came after it.

        Of other tenants perhaps a few more, of those whose turns begin at about the same point.
        """
        line = self._lines.get(standing.tenant)
        lanes = line.lanes.items() if line else ()
        before = sum(len(lane) for priority, lane in lanes if priority <= standing.priority)
        if line is None or not line.waiting:
            begin = max(line.reached, self._begin) if line else self._begin
        else:
            begin = line.begins[before] if before < line.waiting else line.reached
        last = _step(begin)
        all_before = sum(turns for step, turns in self._steps.items() if step <= last)
        return before + all_before - (bisect_right(line.begins, last, key=_step) if line else 0)

    @property
    def _begin(self) -> float:
        """Where a tenant begins that has had no turn for long."""
        return self._front - ROUNDS_SAVED

    def _enqueue(self, line: _Line[T]) -> None:
        line.queued = True
        heappush(self._queue, (line.begins[0], next(self._order), line))

    def _next(self) -> _Line[T]:
        """Take the line out of the queue that is furthest behind of those that wait."""
        while True:
            begin, _, line = heappop(self._queue)
            line.queued = False
            if line.waiting and begin == line.begins[0]:
                return line
            if line.waiting:
                # It was empty for a while.
                self._enqueue(line)

    def _uncount(self, begin: float) -> None:
        step = _step(begin)
        self._steps[step] -= 1
        if not self._steps[step]:
            del self._steps[step]

    def _rest(self, line: _Line[T]) -> None:
        """Remember where a line has got to for as long as that matters."""
        if not line.waiting:
            self._idle[line.tenant] = line
        while self._idle and next(iter(self._idle.values())).reached <= self._begin:
            tenant, _ = self._idle.popitem(last=False)
            del self._lines[tenant]
        if not self._standings:
            # Everybody has had what it needs: all begin anew.
            self._lines.clear()
            self._idle.clear()
            self._queue.clear()


def _step(begin: float) -> int:
    return floor(begin * STEPS)
