"""How far a bulk submit has come: what was sent, what was answered, what is sent again.

Decides for both clients; opens no stream itself. Every item keeps its request_id over as many
streams as it takes, so an item that was sent twice is still one job.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final

import grpc

from ims_gateway_client.error_details import error_of_status
from ims_gateway_client.errors import GatewayError, Unavailable
from ims_gateway_client.retries import Attempts
from ims_gateway_client.submits import submit_request
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import (
    SubmitJobRequest,
    SubmitJobsRequest,
    SubmitJobsResponse,
)

# Items sent and not answered, at most. The gateway works on 64 of a stream at once; the others are
# on their way while it does. They are what a broken stream costs in repeats.
WINDOW: Final = 256

Outcome = tuple[int, Job | GatewayError]


@dataclass(frozen=True, slots=True)
class Again:
    """An item that is sent once more on the same stream, after a pause."""

    request: SubmitJobsRequest
    pause_seconds: float


_CUT_SHORT: Final = "the gateway ended the stream before every item had its reply"


class Batch:
    """The items of one bulk submit. timeout_seconds: for all of it, or None."""

    def __init__(self, parent: str, timeout_seconds: float | None) -> None:
        self.exhausted = False
        self._parent = parent
        self._attempts = Attempts(timeout_seconds)
        self._count = 0
        self._unanswered: dict[int, SubmitJobsRequest] = {}
        self._attempts_at: dict[int, Attempts] = {}

    @property
    def ended(self) -> bool:
        """Whether there are no more items, and each has its reply."""
        return self.exhausted and not self._unanswered

    def remaining_seconds(self) -> float | None:
        """Return how long the next stream may last."""
        return self._attempts.remaining_seconds()

    def add(self, item: Job | SubmitJobRequest) -> SubmitJobsRequest:
        """Return the item as it is sent, now and again."""
        request = SubmitJobsRequest(index=self._count, request=self._request(item))
        self._unanswered[self._count] = request
        self._count += 1
        return request

    def unanswered(self) -> Sequence[SubmitJobsRequest]:
        """Return what a new stream begins with, in order."""
        return tuple(self._unanswered.values())

    def awaits(self, request: SubmitJobsRequest) -> bool:
        """Return whether the item is still without a reply."""
        return request.index in self._unanswered

    def settle(self, response: SubmitJobsResponse) -> Outcome | Again | None:
        """Return what came of an item, if that is its last word.

        None is for an item that was answered before: it was sent twice, and is one job.
        """
        self._attempts.made_contact()
        request = self._unanswered.get(response.index)
        if request is None:
            return None
        if response.WhichOneof("outcome") == "error":
            error = error_of_status(response.error, request.request)
            if again := self._again(request, error):
                return again
            return self._answered(request, error)
        return self._answered(request, response.job)

    def pause_after(self, error: Unavailable | None) -> float:
        """Return the seconds to pause before the next stream, 0 if none is needed.

        error: why the stream broke, or None where the gateway closed it. Raises it when the gateway
        has been away for too long.
        """
        if self.ended:
            return 0.0
        return self._attempts.pause_after(
            error or Unavailable(_CUT_SHORT, code=grpc.StatusCode.UNAVAILABLE)
        )

    def give_up(self, error: GatewayError) -> Sequence[Outcome]:
        """Return every item without a reply, each with the error under its own request_id."""
        outcomes = []
        for index, request in self._unanswered.items():
            of_item = copy(error)
            of_item.request_id = request.request.request_id
            outcomes.append((index, of_item))
        return outcomes

    def _answered(self, request: SubmitJobsRequest, said: Job | GatewayError) -> Outcome:
        del self._unanswered[request.index]
        self._attempts_at.pop(request.index, None)
        return request.index, said

    def _again(self, request: SubmitJobsRequest, error: GatewayError) -> Again | None:
        """Return when an item is sent again: after the same errors as a single submit, as often."""
        if not isinstance(error, Unavailable):
            return None
        attempts = self._attempts_at.setdefault(request.index, Attempts(self.remaining_seconds()))
        try:
            return Again(request, attempts.pause_after(error))
        except Unavailable:
            return None

    def _request(self, item: Job | SubmitJobRequest) -> SubmitJobRequest:
        if isinstance(item, Job):
            return submit_request(item, request_id=None, parent=self._parent)
        request = submit_request(
            item.job, request_id=item.request_id or None, parent=item.parent or self._parent
        )
        request.validate_only = item.validate_only
        return request
