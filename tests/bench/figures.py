"""What the turns say: the median of each figure, and the gateway compared with the others.

Every comparison has a gateway's figure, a baseline's, and their ratio gateway / baseline, all of
them from medians over the turns. A goal means:

    throughput               the least ratio
    median latency added     the most milliseconds between gateway and floor, one call in flight
    idle worker RSS          the most MB (of 10^6 bytes) for the gateway, whatever the floor takes
    no goal (null)           for information

`build/bench.json` holds the comparisons. What is asserted, where anything is, is never a time of
its own but a difference or a ratio of two that were measured in the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.contestants import Turn


@dataclass(frozen=True, slots=True)
class Comparison:
    """One entry of the results. `met` is None where there is no goal."""

    name: str
    gateway: float
    baseline: float
    ratio: float
    goal: float | None
    met: bool | None


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a figure over the turns, and how far the turns lie apart."""

    middle: float
    least: float
    most: float


Figure = Callable[[Turn], float]


def jobs_per_second(turn: Turn) -> float:
    """Throughput under full load."""
    return turn.loaded.jobs_per_second


def cpu_us_per_job(turn: Turn) -> float:
    """Processor time of the contestant's process for each job under full load, in µs."""
    return turn.cpu_us_per_job


def p50_ms(turn: Turn) -> float:
    """Median latency under full load."""
    return turn.loaded.p50_ms


def p99_ms(turn: Turn) -> float:
    """99th percentile of latency under full load."""
    return turn.loaded.p99_ms


def alone_p50_ms(turn: Turn) -> float:
    """Median latency with one call in flight; 0 for what is no server."""
    return turn.alone.p50_ms if turn.alone else 0.0


def idle_mb(turn: Turn) -> float:
    """Resident memory of an idle worker; 0 for what is no server."""
    return turn.idle_mb or 0.0


def spread(turns: Sequence[Turn], contestant: str, figure: Figure) -> Spread:
    """Return one contestant's figure over all its turns."""
    values = [figure(turn) for turn in turns if turn.contestant == contestant]
    return Spread(median(values), min(values), max(values))


def compare(turns: Sequence[Turn]) -> list[Comparison]:
    """Return every comparison of the run."""

    def pair(figure: Figure, baseline: str) -> tuple[float, float]:
        return (
            spread(turns, "gateway", figure).middle,
            spread(turns, baseline, figure).middle,
        )

    def share(name: str, baseline: str, goal: float) -> Comparison:
        ours, theirs = pair(jobs_per_second, baseline)
        return _comparison(name, ours, theirs, goal, met=ours / theirs >= goal)

    def plain(name: str, figure: Figure, baseline: str) -> Comparison:
        return _comparison(name, *pair(figure, baseline), None, met=None)

    latency = pair(alone_p50_ms, "floor")
    memory = pair(idle_mb, "floor")
    return [
        share("throughput vs floor", "floor", 0.60),
        share("throughput vs SDK sync 16 threads", "sdk sync", 1.0),
        share("throughput vs SDK async 32", "sdk async", 1.0),
        _comparison("median latency added, ms", *latency, 3.0, met=latency[0] - latency[1] <= 3.0),
        _comparison("idle worker RSS MB", *memory, 120.0, met=memory[0] <= 120.0),
        plain("median latency at 32 in flight vs floor, ms", p50_ms, "floor"),
        plain("p99 latency at 32 in flight vs floor, ms", p99_ms, "floor"),
        plain("CPU time per job vs floor, us", cpu_us_per_job, "floor"),
        plain("CPU time per job vs SDK sync, us", cpu_us_per_job, "sdk sync"),
        plain("CPU time per job vs SDK async, us", cpu_us_per_job, "sdk async"),
    ]


def _comparison(
    name: str, gateway: float, baseline: float, goal: float | None, *, met: bool | None
) -> Comparison:
    return Comparison(name, gateway, baseline, gateway / baseline, goal, met)
