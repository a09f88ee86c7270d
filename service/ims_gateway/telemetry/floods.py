"""Many refused calls of one kind become one record.

Decides which refused calls stand singly and which are only counted. What it never does: count a
call that was admitted, whose record says what became of a paid job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from google.rpc import code_pb2

from ims_gateway.telemetry.call import Call, decision_id

WINDOW_SECONDS: Final = 10.0
# Of each kind in each window, so many stand singly, and of those that are counted so many are told.
SINGLE: Final = 10
SAMPLES: Final = 3
# There are as many kinds as callers times methods times reasons. Beyond these, callers are not told
# apart any more: a tenant with a thousand principals must not write a thousand times the records.
KINDS: Final = 1_000
# A call that nobody waited for any more was not refused; it may even have been admitted.
NOT_REFUSED: Final = frozenset({code_pb2.OK, code_pb2.CANCELLED, code_pb2.DEADLINE_EXCEEDED})


class Kind(NamedTuple):
    """What calls have in common that are counted together."""

    tenant: str
    principal_tenant: str
    principal: str
    method: str
    code: int
    reason: str


@dataclass(slots=True)
class Aggregate:
    """The record of many calls. `changed` says whether any came since it was last asked for."""

    id: str
    kind: Kind
    time: float
    last_time: float = 0.0
    count: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)
    changed: bool = True

    def add(self, call: Call) -> None:
        """Count a call, which gets the id of this record."""
        call.id = self.id
        self.count += 1
        self.last_time = call.time
        self.changed = True
        if len(self.samples) < SAMPLES:
            record = call.record()
            told = {"decision_id", "count", "code", "reason", "steps"}
            self.samples.append({name: record[name] for name in record if name not in told})

    def record(self) -> Mapping[str, Any]:
        """Return it as it stands, with the fields of a call's record that all calls share."""
        return {
            "time": round(self.time, 6),
            "last_time": round(self.last_time, 6),
            "decision_id": self.id,
            **self.kind._asdict(),
            "code": code_pb2.Code.Name(self.kind.code),
            "count": self.count,
            "samples": [*self.samples],
        }


@dataclass(slots=True)
class _Window:
    ends: float
    single: int = 0
    aggregate: Aggregate | None = None


class Floods:
    """What was refused lately. `clock` gives seconds that only go forward."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[Kind, _Window] = {}
        self._ended: list[Aggregate] = []

    def take(self, call: Call) -> bool:
        """Count a call that has ended into the record of its flood; say no if it stands singly."""
        if call.code in NOT_REFUSED or call.quota not in ("", "refused"):
            return False
        kind, window = self._window(call)
        if window.single < SINGLE:
            window.single += 1
            return False
        if window.aggregate is None:
            window.aggregate = Aggregate(decision_id(call.time), kind, call.time)
        window.aggregate.add(call)
        return True

    def changed(self) -> list[Mapping[str, Any]]:
        """Return the aggregates to which a call has come since this was last asked."""
        running = [window.aggregate for window in self._windows.values() if window.aggregate]
        found = [aggregate for aggregate in (*self._ended, *running) if aggregate.changed]
        for aggregate in found:
            aggregate.changed = False
        return [aggregate.record() for aggregate in found]

    def ended(self) -> list[Mapping[str, Any]]:
        """Return the aggregates whose window is over, each once."""
        now = self._clock()
        for kind in [kind for kind, window in self._windows.items() if window.ends <= now]:
            self._end(kind)
        ended, self._ended = self._ended, []
        return [aggregate.record() for aggregate in ended]

    def close(self) -> None:
        """Let all windows be over."""
        for kind in list(self._windows):
            self._end(kind)

    def _window(self, call: Call) -> tuple[Kind, _Window]:
        kind, now = _kind(call), self._clock()
        if kind not in self._windows and len(self._windows) >= KINDS:
            kind = Kind("", "", "", "", call.code, call.reason)
        window = self._windows.get(kind)
        if window is not None and window.ends <= now:
            self._end(kind)
            window = None
        if window is None:
            window = self._windows[kind] = _Window(now + WINDOW_SECONDS)
        return kind, window

    def _end(self, kind: Kind) -> None:
        aggregate = self._windows.pop(kind).aggregate
        if aggregate is not None:
            self._ended.append(aggregate)


def _kind(call: Call) -> Kind:
    name, home = (call.principal.name, call.principal.tenant) if call.principal else ("", "")
    return Kind(call.tenant or home, home, name, call.method, call.code, call.reason)
