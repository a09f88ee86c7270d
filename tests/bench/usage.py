"""What processes take of the machine, as Linux counts it in /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB of 10^6 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


class Meter:
    """Reads how many cores each process keeps busy, from its construction on.

    What all other processes of the machine and its hypervisor take is found under "others".
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._started = perf_counter()
        self._before = self._readings()

    def seconds(self) -> dict[str, float]:
        """Return the processor time since then."""
        return {name: after - self._before[name] for name, after in self._readings().items()}

    def cores(self) -> dict[str, float]:
        """Return the processor time since then, for each second that has passed."""
        passed = perf_counter() - self._started
        return {name: seconds / passed for name, seconds in self.seconds().items()}

    def _readings(self) -> dict[str, float]:
        ours = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        return {**ours, "others": _busy_seconds() - sum(ours.values())}


def _busy_seconds() -> float:
    """Return the processor time of the whole machine that was not idle.

    With what a hypervisor gave to somebody else: it is as much missing here as if it was used.
    """
    with Path("/proc/stat").open(encoding="ascii") as lines:
        user, nice, system, _idle, _wait, irq, softirq, steal = (
            int(field) for field in lines.readline().split()[1:9]
        )
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND
