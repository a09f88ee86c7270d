"""Reads the reply of QueryIProductionJob: where the job stands, and what it has made.

Decides what counts as success: a "Success" with an error sentence where a file's name should be is
a failure (wire facts). Never raises on what the service says, and never stores anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from ims_gateway.algorithms.algorithm import Algorithm
from ims_gateway.algorithms.cleaning import fit, without_queries
from ims_gateway.algorithms.translation import algorithm_of
from imsgateway.v1 import job_pb2, media_pb2

OUTPUT_NOT_WRITTEN: Final = "OUTPUT_NOT_WRITTEN"
JOB_FAILED: Final = "JOB_FAILED"
MAX_MESSAGE_CHARS: Final = 500

# Every other status is one that a job passes through: Analyzing, Analysing, Init, Processing, and
# any that is not known yet (wire facts).
_STATES: Final = {
    "Queuing": job_pb2.Job.STATE_QUEUED,
    "Success": job_pb2.Job.STATE_SUCCEEDED,
    "Fail": job_pb2.Job.STATE_FAILED,
}
_ADDRESS: Final = re.compile(r"(?:oss|https?)://([^/]*)/(.*)", re.IGNORECASE | re.DOTALL)
_FILE_TYPE: Final = re.compile(r"\.\w+$", re.ASCII)


@dataclass(frozen=True, slots=True)
class File:
    """A file that the job has made. `download_url` is presigned and empty where it is not known."""

    uri: str
    media_id: str = ""
    download_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the job failed: one of the codes above, and what the service said."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands upstream.

    `state` is QUEUED, RUNNING, SUCCEEDED or FAILED, and only the last has a `failure`. `result` is
    the parsed Result, its text where it is not JSON, and None where there is none.
    """

    state: job_pb2.Job.State
    files: tuple[File, ...] = ()
    result: Any = None
    failure: Failure | None = None


def storable(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply as it may be stored, a JSON object that `progress` reads like the reply.

    It holds no OutputUrls, and no queries of addresses in any other member.
    """
    # In this order: JSON in a text may spell what no text holds, and is written anew.
    return {
        name: fit(without_queries(value)) for name, value in reply.items() if name != "OutputUrls"
    }


def progress(reply: Mapping[str, Any]) -> Progress:
    """Return where the job stands, from a reply of QueryIProductionJob or what was stored of it."""
    kept = storable(reply)
    result = _read_json(kept.get("Result"))
    state = _state(kept.get("Status"))
    sentence = _error_sentence(kept)
    if state == job_pb2.Job.STATE_FAILED:
        said = sentence or (result if isinstance(result, str) else "")
        message = said or "the service reports that the job failed and does not say why"
        return Progress(state, result=result, failure=_failure(JOB_FAILED, message))
    if state == job_pb2.Job.STATE_SUCCEEDED and sentence:
        failure = _failure(OUTPUT_NOT_WRITTEN, sentence)
        return Progress(job_pb2.Job.STATE_FAILED, result=result, failure=failure)
    return Progress(state, files=_files(kept, _texts(fit(reply.get("OutputUrls")))), result=result)


def apply(job: job_pb2.Job, progress: Progress, *, with_download_urls: bool = False) -> None:
    """Put the raw result and, where the job has succeeded, its typed result into the job.

    The job's state and failure are left to the caller, who knows whether it was cancelled.
    """
    algorithm = algorithm_of(job)
    task = getattr(job, algorithm.field)
    task.ClearField("result")
    job.ClearField("raw_result")
    if progress.result is not None:
        job.raw_result.CopyFrom(json_format.ParseDict(progress.result, Value()))
    if progress.state == job_pb2.Job.STATE_SUCCEEDED:
        members = _typed_members(algorithm, progress, with_download_urls=with_download_urls)
        task.result.CopyFrom(type(task.result)(**members))


def _typed_members(
    algorithm: Algorithm, progress: Progress, *, with_download_urls: bool
) -> dict[str, Any]:
    members: dict[str, Any] = {
        member.field: member.decode(progress.result) for member in algorithm.typed_members
    }
    if algorithm.files_field is not None:
        members[algorithm.files_field] = [
            media_pb2.OutputFile(
                uri=file.uri,
                media_id=file.media_id,
                download_url=file.download_url if with_download_urls else "",
            )
            for file in progress.files
        ]
    return members


def _state(status: Any) -> job_pb2.Job.State:
    known = _STATES.get(status) if isinstance(status, str) else None
    return job_pb2.Job.STATE_RUNNING if known is None else known


def _failure(code: str, message: str) -> Failure:
    return Failure(code, message[:MAX_MESSAGE_CHARS])


def _files(kept: Mapping[str, Any], urls: list[str]) -> tuple[File, ...]:
    """Put together what the reply lists side by side."""
    names = _texts(kept.get("OutputFiles"))
    media_ids = _texts(kept.get("OutputMediaIds"))
    count = len(names) or len(media_ids)
    return tuple(
        File(uri, media_id, url)
        for uri, media_id, url in zip(
            _aligned(names, count), _aligned(media_ids, count), _aligned(urls, count), strict=True
        )
    )


def _aligned(texts: list[str], count: int) -> list[str]:
    # Lists of different lengths cannot be matched: no address is better than another file's.
    return texts if len(texts) == count else [""] * count


def _error_sentence(kept: Mapping[str, Any]) -> str:
    """Return the first error that stands where a file's name should be, else an empty text."""
    folder, file_type = _asked_for(kept.get("Output"))
    for name in _texts(kept.get("OutputFiles")):
        is_file = (
            not re.search(r"\s", name)
            or _ADDRESS.match(name)
            or (file_type and name.lower().endswith(file_type))
            or (folder and name.lstrip("/").startswith(folder))
        )
        if not is_file:
            return name
    return ""


def _asked_for(output: Any) -> tuple[str, str]:
    """Return folder and file type of the output that was asked for, each empty if it has none."""
    output = _read_json(output)
    if not isinstance(output, Mapping):
        return "", ""
    uri = output.get("Media" if output.get("Type") == "OSS" else "OutputUrl")
    address = _ADDRESS.match(uri) if isinstance(uri, str) else None
    if address is None:
        return "", ""
    key = address[2]
    folder = key[: key.partition("{")[0].rfind("/") + 1]
    file_type = _FILE_TYPE.search(key)
    return folder, file_type[0].lower() if file_type else ""


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _read_json(value: Any) -> Any:
    """Return what a text of JSON holds, and everything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return fit(json.loads(value)) if value else None
    except (ValueError, RecursionError):
        return value
