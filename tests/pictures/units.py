"""Numbers as Grafana would write them, for the units that the dashboards use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SCALES: Final[dict[str, Sequence[tuple[float, str]]]] = {
    "s": ((86_400, " d"), (3_600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")),
    "percentunit": ((0.01, " %"),),
    "reqps": ((1e3, " K req/s"), (1, " req/s")),
    "ops": ((1e3, " K ops/s"), (1, " ops/s")),
    "short": ((1e6, " M"), (1e3, " K"), (1, "")),
    "none": ((1, ""),),
}


def spelled(value: float, unit: str) -> str:
    """Return a value with its unit, with three figures."""
    scales = SCALES[unit]
    size, suffix = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
    if value == 0:
        size, suffix = next((scale for scale in scales if scale[0] == 1), scales[-1])
    return f"{value / size:.3g}{suffix}"
