"""Checks the parameters of the three operations as the API page describes them.

Decides whether a call would be accepted. Stricter than the real service may be: what the
page does not know is refused, so that a mistranslation shows.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ims_gateway.emulator.algorithms import ALGORITHMS, REGIONS, Algorithm
from ims_gateway.emulator.documents import Invalid, read_object
from ims_gateway.emulator.envelope import Refusal
from ims_gateway.emulator.job_params import Context
from ims_gateway.emulator.media import check_input, check_output

_JSON = frozenset({"Input", "Output", "JobParams", "ScheduleConfig"})
_SUBMIT = _JSON | {"FunctionName", "ModelId", "Name", "TemplateId", "UserData"}
_BY_JOB = frozenset({"JobId", "ClientToken"})
_NAME_CHARACTERS = 100
_USER_DATA_CHARACTERS = 256
_HIGHEST_PRIORITY, _LOWEST_PRIORITY = 1, 10


def check_submit(parameters: Mapping[str, str], region: str) -> None:
    """Check the parameters of SubmitIProductionJob.

    Raises Refusal: MissingParameter.<name>, InvalidParameter.<name>, InvalidParameter (a name
    that is not known) or InvalidParameter.FunctionNotSupported.
    """
    algorithm = _find_algorithm(parameters, region)
    _refuse_unknown(parameters, _SUBMIT)
    _require(parameters, "Input")
    _require(parameters, "Output")
    if algorithm.required and "TemplateId" not in parameters:  # a template may hold them
        _require(parameters, "JobParams")
    context = Context(region, parameters.get("ModelId", ""))
    checks: dict[str, Callable[[str], None]] = {
        "Input": lambda text: check_input(read_object(text), region, algorithm.input_suffix),
        "Output": lambda text: check_output(read_object(text), region, algorithm.placeholders),
        "ModelId": lambda text: _check_model(text, algorithm),
        "JobParams": lambda text: _check_job_params(read_object(text), algorithm, context),
        "ScheduleConfig": lambda text: _check_schedule(read_object(text)),
        "Name": lambda text: _check_length(text, _NAME_CHARACTERS),
        "UserData": lambda text: _check_length(text, _USER_DATA_CHARACTERS),
    }
    for name, check in checks.items():
        if name in parameters:
            _judge(name, check, parameters[name])


def read_job_id(parameters: Mapping[str, str]) -> str:
    """Return the JobId of a query or a cancel.

    Raises Refusal: MissingParameter.JobId, or InvalidParameter for a name that is not known.
    """
    _refuse_unknown(parameters, _BY_JOB)
    return _require(parameters, "JobId")


def decode(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return checked parameters with the JSON in them decoded."""
    return {
        name: read_object(value) if name in _JSON else value for name, value in parameters.items()
    }


def _judge(name: str, check: Callable[[str], None], text: str) -> None:
    try:
        check(text)
    except Invalid as error:
        raise Refusal(f"InvalidParameter.{name}", f"{name} {error}.") from error


def _find_algorithm(parameters: Mapping[str, str], region: str) -> Algorithm:
    algorithm = ALGORITHMS.get(_require(parameters, "FunctionName"))
    if algorithm is None or region not in REGIONS:
        raise Refusal(
            "InvalidParameter.FunctionNotSupported", "The function is not supported here."
        )
    return algorithm


def _require(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise Refusal(f"MissingParameter.{name}", f"The parameter {name} is missing.")
    return value


def _refuse_unknown(parameters: Mapping[str, str], known: frozenset[str]) -> None:
    if not parameters.keys() <= known:
        raise Refusal("InvalidParameter", "A parameter is not known to the operation.")


def _check_model(model_id: str, algorithm: Algorithm) -> None:
    if model_id and model_id not in algorithm.models:
        raise Invalid("must name a model of the function")


def _check_job_params(members: Mapping[str, Any], algorithm: Algorithm, context: Context) -> None:
    if not algorithm.params:
        raise Invalid("must be absent for a function without parameters")
    if not algorithm.required <= members.keys() <= algorithm.params.keys():
        raise Invalid("must have the members of the function and no others")
    for name, value in members.items():
        try:
            algorithm.params[name](value, context)
        except Invalid as error:
            raise Invalid(f"has a member {name} that {error}") from error


def _check_schedule(schedule: Mapping[str, Any]) -> None:
    if not schedule.keys() <= {"PipelineId", "Priority"}:
        raise Invalid("must have no other members than PipelineId and Priority")
    if not isinstance(schedule.get("PipelineId", ""), str):
        raise Invalid("must have a string in PipelineId")
    priority = schedule.get("Priority", _HIGHEST_PRIORITY)
    if type(priority) is not int or not _HIGHEST_PRIORITY <= priority <= _LOWEST_PRIORITY:
        raise Invalid(f"must have a Priority from {_HIGHEST_PRIORITY} to {_LOWEST_PRIORITY}")


def _check_length(text: str, most: int) -> None:
    if len(text) > most:
        raise Invalid(f"must not be longer than {most} characters")
