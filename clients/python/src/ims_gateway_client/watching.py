"""How far the watch of a job has come: what is news, when it ends, when it is resumed.

Decides for both clients; opens no stream itself.
"""

from typing import Final

from ims_gateway_client import jobs
from ims_gateway_client.errors import OutcomeUnknown, Unavailable
from ims_gateway_client.retries import Attempts
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import WatchJobRequest

_CUT_SHORT: Final = "the gateway ended the watch before the job had ended"


class Watch:
    """One watch, over as many streams as it takes. timeout_seconds: for all of it, or None."""

    def __init__(self, name: str, timeout_seconds: float | None) -> None:
        self.request = WatchJobRequest(name=name)
        self.ended = False
        self._attempts = Attempts(timeout_seconds)
        self._last: Job | None = None

    def remaining_seconds(self) -> float | None:
        """Return how long the next stream may last."""
        return self._attempts.remaining_seconds()

    def is_news(self, job: Job) -> bool:
        """Take note of what a stream delivered; a resumed one begins with what is known already."""
        self._attempts.made_contact()
        self.ended = jobs.is_terminal(job)
        news = job != self._last
        self._last = job
        return news

    def pause_after(self, error: Unavailable | None) -> float:
        """Return the seconds to pause before the watch is resumed, 0 if it has ended.

        error: why the stream broke, or None where the gateway closed it. Raises it when the gateway
        has been away for too long.
        """
        if self.ended:
            return 0.0
        return self._attempts.pause_after(
            error or Unavailable(_CUT_SHORT, job_name=self.request.name)
        )


def is_settled(job: Job) -> bool:
    """Return whether waiting for the job is over.

    Raises OutcomeUnknown for a job that only an operator can move: waiting could take days.
    """
    if job.state == Job.STATE_SUBMIT_UNKNOWN:
        raise OutcomeUnknown(
            "nobody knows whether the job was taken; an operator of the platform resolves it",
            reason="SUBMIT_OUTCOME_UNKNOWN",
            job_name=job.name,
            request_id=job.request_id,
        )
    return jobs.is_terminal(job)
