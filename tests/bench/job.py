"""The one job that every contestant submits, in the words of the contract and of the official SDK.

Decides nothing else: both forms come from the same message, so that all send the same parameters.
"""

from __future__ import annotations

import json
from typing import Any

from alibabacloud_ice20201109 import models  # type: ignore[import-untyped]

from ims_gateway.algorithms.translation import submit_parameters
from imsgateway.v1 import job_pb2


def job() -> job_pb2.Job:
    """Return a plain job: covers of a video, with the members that callers usually set."""
    return job_pb2.Job(
        display_name="Episode 1, covers",
        user_data='{"episode":"e01"}',
        priority=5,
        cover={
            "input": {"oss_uri": "oss://bench-media/episodes/e01.mp4"},
            "output": {"uri": "oss://bench-media/covers/{source}-{timestamp}-{sequenceId}.png"},
        },
    )


def parameters() -> dict[str, str]:
    """Return the job's parameters of SubmitIProductionJob, as they are sent."""
    return submit_parameters(job())


def sdk_request() -> Any:
    """Return the job as the official SDK's request."""
    sent = parameters()
    source, output = json.loads(sent["Input"]), json.loads(sent["Output"])
    schedule = json.loads(sent["ScheduleConfig"])
    return models.SubmitIProductionJobRequest(
        function_name=sent["FunctionName"],
        input=models.SubmitIProductionJobRequestInput(type=source["Type"], media=source["Media"]),
        output=models.SubmitIProductionJobRequestOutput(type=output["Type"], media=output["Media"]),
        schedule_config=models.SubmitIProductionJobRequestScheduleConfig(
            priority=schedule["Priority"]
        ),
        name=sent["Name"],
        user_data=sent["UserData"],
    )
