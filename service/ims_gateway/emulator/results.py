"""What a query answers: the job, and once it has succeeded its files and result.

Decides names of files and shapes of replies. Makes no file: addresses and signatures only
look real.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

from ims_gateway.emulator.algorithms import ALGORITHMS, Algorithm
from ims_gateway.emulator.faults import FaultKind
from ims_gateway.emulator.jobs import SUCCESS, Job
from ims_gateway.emulator.media import OssAddress, fill, read_oss_address

# Wire facts: OutputUrls live about an hour.
_URL_SECONDS = 3600
_DEFAULT_PRIORITY = 6
_NO_OUTCOME: Mapping[str, Any] = {"OutputFiles": [], "OutputMediaIds": [], "OutputUrls": []}
_ERROR_SENTENCE = (
    "The bucket you are attempting to access must be addressed using the specified endpoint."
)


def describe(job: Job, region: str, now: float) -> dict[str, Any]:
    """Return the members of a QueryIProductionJob reply, without the RequestId.

    What was not submitted is absent, except ScheduleConfig, which has defaults.
    """
    decoded = job.decoded
    echoed = ("FunctionName", "Name", "TemplateId", "JobParams", "ModelId", "UserData")
    finished_at = job.finished_at(now)
    finish = {} if finished_at is None else {"FinishTime": _utc(finished_at)}
    outcome = _outcome(job, decoded, region, now) if job.status(now) == SUCCESS else _NO_OUTCOME
    return {
        "JobId": job.job_id,
        "Status": job.status(now),
        "CreateTime": _utc(job.accepted_at),
        **finish,
        **{name: job.parameters[name] for name in echoed if name in job.parameters},
        "Input": decoded["Input"],
        "Output": _output(decoded["Output"], outcome),
        "ScheduleConfig": {
            "PipelineId": _identifier("default-pipeline", job.caller.account_id),
            "Priority": _DEFAULT_PRIORITY,
            **decoded.get("ScheduleConfig", {}),
        },
        **outcome,
    }


def _outcome(job: Job, decoded: Mapping[str, Any], region: str, now: float) -> Mapping[str, Any]:
    if job.course is FaultKind.SUCCESS_WITH_ERROR_FILE:
        return {**_NO_OUTCOME, "OutputFiles": [_ERROR_SENTENCE], "Result": "{}"}
    algorithm = ALGORITHMS[decoded["FunctionName"]]
    files = _files(job, decoded, algorithm, region)
    return {
        "OutputFiles": [file.text(region) for file in files],
        "OutputMediaIds": _media_ids(job, decoded["Output"], files),
        "OutputUrls": [_signed_url(file, region, now) for file in files],
        "Result": json.dumps(algorithm.result([file.key for file in files])),
    }


def _files(
    job: Job, decoded: Mapping[str, Any], algorithm: Algorithm, region: str
) -> list[OssAddress]:
    output = decoded["Output"]
    path = output["Media"] if output["Type"] == "OSS" else output.get("OutputUrl")
    if path is None:
        # Where the upstream keeps files of media assets is its own affair; this is ours.
        name = f"{{source}}-{{resultType}}-{{sequenceId}}.{algorithm.suffix}"
        path = f"oss://ims-emulator-{region}/{job.job_id}/{name}"
    address = read_oss_address(path, region)
    source = PurePosixPath(decoded["Input"]["Media"]).stem
    finished_at = int(job.accepted_at + job.run_seconds)
    return [
        OssAddress(
            address.scheme,
            address.bucket,
            fill(
                address.key,
                {
                    "source": source,
                    "timestamp": str(finished_at),
                    # Five digits, as the file names in the query call's example.
                    "sequenceId": f"{number:05}",
                    "resultType": result_type,
                },
            ),
        )
        for number, result_type in enumerate(algorithm.files, start=1)
    ]


def _media_ids(job: Job, output: Mapping[str, Any], files: Sequence[OssAddress]) -> list[str]:
    if output["Type"] == "OSS" or not files:
        return []
    if output.get("Media"):
        return [output["Media"]]
    return [_identifier(job.job_id, str(number)) for number in range(len(files))]


def _output(output: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    made = outcome["OutputMediaIds"]
    return {**output, "Media": made[0]} if made else dict(output)


def _signed_url(file: OssAddress, region: str, now: float) -> str:
    signature = base64.b64encode(hashlib.sha1(file.key.encode()).digest())  # noqa: S324 - looks
    query = urlencode(
        {
            "Expires": int(now) + _URL_SECONDS,
            "OSSAccessKeyId": "STS.emulator",
            "Signature": signature.decode(),
        }
    )
    return f"https://{file.bucket}.oss-{region}.aliyuncs.com/{quote(file.key)}?{query}"


def _identifier(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
