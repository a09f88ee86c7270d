"""Translates a job of the contract into the parameters of SubmitIProductionJob.

Decides how a job is spelled, exactly as the API page says; what is not set is not sent, so that the
service's own defaults hold. Pure. Never checks a job: that was done when it was validated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from ims_gateway.algorithms.algorithm import Algorithm, Parameter
from ims_gateway.algorithms.spelling import Json, compact_json
from ims_gateway.algorithms.table import TABLE
from imsgateway.v1 import job_pb2, media_pb2

BY_FIELD: Final[Mapping[str, Algorithm]] = {algorithm.field: algorithm for algorithm in TABLE}

_BIZ: Final = {media_pb2.MediaAsset.BIZ_IMS: "IMS", media_pb2.MediaAsset.BIZ_VOD: "VOD"}


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What of a job a grant can limit. priority None and empty texts mean "not asked for"."""

    priority: int | None
    model: str
    pipeline: str
    template: str


def algorithm_of(job: job_pb2.Job) -> Algorithm:
    """Return the row of the job's algorithm. Raises KeyError for a job without one."""
    return BY_FIELD[job.WhichOneof("algorithm") or ""]


def submit_parameters(job: job_pb2.Job) -> dict[str, str]:
    """Return the query parameters of SubmitIProductionJob, decoded.

    Input, Output, ScheduleConfig and JobParams are each one compact JSON text (wire facts). The job
    is valid and has its output. Raises KeyError otherwise.
    """
    algorithm = algorithm_of(job)
    fields = _set_fields(getattr(job, algorithm.field))
    parameters = {
        "FunctionName": algorithm.function_name,
        "Input": compact_json(_input(fields["input"])),
        "Output": compact_json(_output(fields["output"])),
        "JobParams": _json_or_nothing(_encoded(algorithm.parameters, fields)),
        "ModelId": _model(algorithm, fields),
        "Name": job.display_name,
        "ScheduleConfig": _json_or_nothing(_schedule(job)),
        "TemplateId": job.template_id,
        "UserData": job.user_data,
    }
    return {name: value for name, value in parameters.items() if value}


def ceilings(job: job_pb2.Job) -> Ceilings:
    """Return what the policy compares with the ceilings of a grant."""
    algorithm = algorithm_of(job)
    return Ceilings(
        priority=job.priority if job.HasField("priority") else None,
        model=_model(algorithm, _set_fields(getattr(job, algorithm.field))),
        pipeline=job.pipeline_id,
        template=job.template_id,
    )


def with_default_output(job: job_pb2.Job, directory: str) -> job_pb2.Job:
    """Return the job with an output in `directory`, such as oss://bucket/folder, if it has none.

    The job itself is left as the caller sent it: a repeated request is compared to its body.
    """
    algorithm = algorithm_of(job)
    if getattr(job, algorithm.field).HasField("output"):
        return job
    filled = job_pb2.Job()
    filled.CopyFrom(job)
    task = getattr(filled, algorithm.field)
    task.output.uri = f"{directory.rstrip('/')}/{algorithm.default_file(task)}"
    return filled


def _set_fields(message: Message) -> dict[str, Any]:
    # What ListFields leaves out is what is not set: the one rule for every kind of field.
    return {field.name: value for field, value in message.ListFields()}


def _encoded(parameters: tuple[Parameter, ...], fields: Mapping[str, Any]) -> dict[str, Json]:
    members: dict[str, Json] = {}
    for parameter in parameters:
        if parameter.field in fields:
            value = parameter.encode(fields[parameter.field])
            if value is not None:
                members[parameter.name] = value
    return members


def models_of(algorithm: Algorithm) -> tuple[str, ...]:
    """Return the service's names of the models that a job of the algorithm can name."""
    if algorithm.model is None:
        return ()
    fields: Any = job_pb2.Job.DESCRIPTOR.fields_by_name
    model = fields[algorithm.field].message_type.fields_by_name[algorithm.model.field]
    numbers = (value.number for value in model.enum_type.values)
    return tuple(str(algorithm.model.encode(number)) for number in numbers if number)


def _model(algorithm: Algorithm, fields: Mapping[str, Any]) -> str:
    if algorithm.model is None or algorithm.model.field not in fields:
        return ""
    return str(algorithm.model.encode(fields[algorithm.model.field]))


def _input(source: media_pb2.MediaInput) -> dict[str, str]:
    if source.WhichOneof("source") == "media_id":
        return {"Type": "Media", "Media": source.media_id}
    return {"Type": "OSS", "Media": source.oss_uri}


def _output(output: Message) -> dict[str, str]:
    fields = _set_fields(output)
    uri = fields.get("uri", "")
    asset = fields.get("media_asset")
    if asset is None:
        return {"Type": "OSS", "Media": uri}
    members = {
        "Type": "Media",
        "Media": asset.media_id,
        "Biz": _BIZ.get(asset.biz, ""),
        "OutputUrl": uri,
    }
    return {name: value for name, value in members.items() if value}


def _schedule(job: job_pb2.Job) -> dict[str, Json]:
    members: dict[str, Json] = {}
    if job.pipeline_id:
        members["PipelineId"] = job.pipeline_id
    if job.HasField("priority"):
        members["Priority"] = job.priority
    return members


def _json_or_nothing(members: dict[str, Json]) -> str:
    return compact_json(members) if members else ""
