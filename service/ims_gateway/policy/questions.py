"""What a call asks the policy."""

from __future__ import annotations

from ims_gateway.algorithms.translation import ceilings
from ims_gateway.policy.decision import Ask
from ims_gateway.policy.matching import ABSENT
from ims_gateway.policy.objects import touched
from imsgateway.v1 import job_pb2


def to_submit(subject: str, job: job_pb2.Job) -> Ask:
    """Return the question about a valid job and every object that it reads or writes."""
    limits = ceilings(job)
    return Ask(
        subject=subject,
        action="submit",
        algorithm=job.WhichOneof("algorithm") or ABSENT,
        objects=tuple((found.access, found.object) for found in touched(job)),
        priority=limits.priority,
        model=limits.model,
        pipeline=limits.pipeline,
        template=limits.template,
    )


def to_follow(subject: str, tenant: str, action: str, algorithm: str = ABSENT) -> Ask:
    """Return the question about get, list, watch or cancel in tenants/{tenant}.

    They touch no object of the caller's. A list is of no algorithm.
    """
    return Ask(subject, action, algorithm, objects=(("none", tenant),))
