"""The life of a job: its states, and the changes between them that are allowed."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from imsgateway.v1 import job_pb2


class State(IntEnum):
    """The states of the contract, with its numbers."""

    SUBMITTING = job_pb2.Job.STATE_SUBMITTING
    QUEUED = job_pb2.Job.STATE_QUEUED
    RUNNING = job_pb2.Job.STATE_RUNNING
    CANCELLING = job_pb2.Job.STATE_CANCELLING
    SUCCEEDED = job_pb2.Job.STATE_SUCCEEDED
    FAILED = job_pb2.Job.STATE_FAILED
    CANCELLED = job_pb2.Job.STATE_CANCELLED
    REJECTED = job_pb2.Job.STATE_REJECTED
    SUBMIT_UNKNOWN = job_pb2.Job.STATE_SUBMIT_UNKNOWN


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.SUBMITTING: frozenset({State.QUEUED, State.REJECTED, State.SUBMIT_UNKNOWN}),
    State.SUBMIT_UNKNOWN: frozenset({State.QUEUED, State.REJECTED}),
    State.QUEUED: frozenset(
        {State.RUNNING, State.CANCELLING, State.SUCCEEDED, State.FAILED, State.CANCELLED}
    ),
    State.RUNNING: frozenset({State.CANCELLING, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.CANCELLING: frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.REJECTED: frozenset(),
}
TERMINAL: Final = frozenset(state for state, following in TRANSITIONS.items() if not following)
# States in which the service knows the job and has not ended it: those are polled.
OPEN: Final = (State.QUEUED, State.RUNNING, State.CANCELLING)
