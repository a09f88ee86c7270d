"""How an account is divided among the processes that use it. Pure.

Weighted max-min: nobody gets more than it wants while somebody else lacks something; those who lack
get as much as their weights say; what nobody wants is spread evenly, for calls that come at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Of an account, kept for processes that have had no calls yet, all together.
RESERVE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Claim:
    """How much a process wants, and the weight of the tenants whose calls it has."""

    weight: float
    wanted: float


def divide(total: float, claims: Sequence[Claim]) -> list[float]:
    """Return the share of each claim, in their order; together they are the total."""
    least = RESERVE * total / max(1, len(claims))
    wanted = [max(claim.wanted, least) for claim in claims]
    weights = [max(1.0, claim.weight) for claim in claims]
    shares = [0.0] * len(claims)
    left, weight_left = total, sum(weights)
    for number in sorted(range(len(claims)), key=lambda each: wanted[each] / weights[each]):
        shares[number] = min(wanted[number], left * weights[number] / weight_left)
        left -= shares[number]
        weight_left -= weights[number]
    return [share + max(0.0, left) / len(claims) for share in shares]


def divide_whole(total: int, claims: Sequence[Claim], turn: int) -> list[int]:
    """Divide what cannot be split. What is left over goes round with the turn.

    With fewer places than processes, each of them is served in time.
    """
    exact = divide(total, claims)
    shares = [math.floor(share + 1e-9) for share in exact]
    owed = [number for number, share in enumerate(exact) if share > shares[number] + 1e-9]
    for step in range(total - sum(shares)):
        shares[owed[(turn + step) % len(owed)]] += 1
    return shares
