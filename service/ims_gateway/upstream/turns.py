"""Whose turn is next: deficit round robin over tenants, and by priority within a tenant.

In each round a tenant gets as many turns as it weighs. One that needs fewer saves some for later
rounds, and has them at once when it comes back: whoever sends no more than its share hardly notices
one that floods, even where its calls do not come evenly. Pure: knows no time, no places, no calls.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Turns that a tenant can save, where a round does not give it more.
MOST_SAVED: Final = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """Who asks for a turn. A weight of 2 gets two turns for one; a smaller priority goes first."""

    tenant: str
    weight: int = 1
    priority: int = 5


@dataclass(slots=True)
class _Line(Generic[T]):
    """Those of one tenant who wait, and how many turns it has left."""

    tenant: str
    weight: int
    credit: int = 0
    lanes: dict[int, OrderedDict[T, None]] = field(default_factory=dict)
    waiting: int = 0

    @property
    def most(self) -> int:
        return max(self.weight, MOST_SAVED)

    @property
    def ready(self) -> bool:
        return self.waiting > 0 and self.credit > 0

    def push(self, item: T, priority: int) -> None:
        self.lanes.setdefault(priority, OrderedDict())[item] = None
        self.waiting += 1

    def pop(self) -> T:
        priority = min(self.lanes)
        item, _ = self.lanes[priority].popitem(last=False)
        self._shrink(priority)
        return item

    def remove(self, item: T, priority: int) -> None:
        del self.lanes[priority][item]
        self._shrink(priority)

    def _shrink(self, priority: int) -> None:
        self.waiting -= 1
        if not self.lanes[priority]:
            del self.lanes[priority]


class Turns(Generic[T]):
    """Those who wait, each with its standing."""

    def __init__(self) -> None:
        self._standings: dict[T, Standing] = {}
        # A tenant without a line has all the turns that it can save.
        self._lines: dict[str, _Line[T]] = {}
        # Each line is in one of them: it waits and has turns left, or it is to get some.
        self._ready: deque[_Line[T]] = deque()
        self._others: deque[_Line[T]] = deque()

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
            line = self._lines[standing.tenant] = _Line(standing.tenant, standing.weight)
            line.credit = line.most
            self._others.append(line)
        was_ready, line.weight = line.ready, standing.weight
        line.push(item, standing.priority)
        self._standings[item] = standing
        if line.ready and not was_ready:
            self._others.remove(line)
            self._ready.append(line)

    def remove(self, item: T) -> None:
        """Let it wait no longer; does nothing where it does not."""
        if standing := self._standings.pop(item, None):
            line = self._lines[standing.tenant]
            was_ready = line.ready
            line.remove(item, standing.priority)
            if was_ready and not line.ready:
                self._ready.remove(line)
                self._others.append(line)
            self._forget()

    def pop(self) -> T:
        """Return the one whose turn it is. Raises LookupError where nobody waits."""
        if not self._standings:
            raise LookupError("nobody waits")
        while not self._ready:
            self._go_round()
        line = self._ready.popleft()
        line.credit -= 1
        item = line.pop()
        del self._standings[item]
        (self._ready if line.ready else self._others).append(line)
        self._forget()
        return item

    def ahead_of(self, standing: Standing) -> int:
        """Return how many would go before one that came now, if nobody came after it."""
        own = self._lines.get(standing.tenant)
        lanes = own.lanes.items() if own else ()
        before = sum(len(lane) for priority, lane in lanes if priority <= standing.priority)
        credit = own.credit if own else max(standing.weight, MOST_SAVED)
        others = [line for line in self._lines.values() if line is not own]
        if before < credit:
            return before + sum(min(line.waiting, line.credit, before + 1) for line in others)
        rounds = (before - credit) // standing.weight + 1
        return before + sum(
            min(line.waiting, line.credit + line.weight * rounds) for line in others
        )

    def _go_round(self) -> None:
        """Give the next line what a round gives it. One that can save no more is forgotten."""
        line = self._others.popleft()
        line.credit = min(line.credit + line.weight, max(line.most, line.credit))
        if line.ready:
            self._ready.append(line)
        elif line.credit < line.most:
            self._others.append(line)
        else:
            del self._lines[line.tenant]

    def _forget(self) -> None:
        """Begin anew where nobody waits: then everybody has had what it needs."""
        if not self._standings:
            self._lines.clear()
            self._ready.clear()
            self._others.clear()
