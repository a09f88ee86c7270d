"""Exact counts of what came in and what became of it, by operation.

Decides nothing. Tests and the reliability suite take these as the truth about submissions.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ims_gateway.emulator.call import ACTIONS

# Operations nobody knows share one row, so that callers cannot grow the table.
_UNKNOWN = "Unknown"


@dataclass(slots=True)
class ActionCounts:
    """Counts of one operation.

    received: calls read, whatever came of them. verified: with a good signature and a fresh
    nonce. accepted: done; for submits, jobs made. nonce_replays: refused for a used nonce,
    also part of refused, which counts by error code.
    """

    received: int = 0
    verified: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def nonce_replays(self) -> int:
        """How many calls carried a nonce that had been spent."""
        return self.refused["SignatureNonceUsed"]


class Counts:
    """The counts of every operation."""

    def __init__(self) -> None:
        self._by_action: Mapping[str, ActionCounts] = {}
        self.clear()

    def of(self, action: str) -> ActionCounts:
        """Return the counts of an operation; those that do not exist share one."""
        return self._by_action.get(action) or self._by_action[_UNKNOWN]

    def clear(self) -> None:
        """Start again from zero."""
        self._by_action = {action: ActionCounts() for action in (*ACTIONS, _UNKNOWN)}

    def document(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {
            action: {
                "received": counts.received,
                "verified": counts.verified,
                "accepted": counts.accepted,
                "nonce_replays": counts.nonce_replays,
                "refused": dict(counts.refused),
            }
            for action, counts in self._by_action.items()
        }
