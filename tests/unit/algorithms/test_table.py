"""The table says all that the contract says, and nothing twice."""

import pytest
from google.api import field_behavior_pb2
from google.protobuf.message import Message

from ims_gateway.algorithms.table import TABLE
from imsgateway.v1 import job_pb2

COMMON = {"input", "output"}


def fields_of(algorithm):
    """Return the fields of an algorithm's message."""
    return job_pb2.Job.DESCRIPTOR.fields_by_name[algorithm.field].message_type.fields


def is_output_only(field):
    """Say whether a caller cannot set the field."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY in behaviors


def identify(algorithm):
    """Name a row."""
    return algorithm.field


@pytest.mark.parametrize("algorithm", TABLE, ids=identify)
def test_every_parameter_of_the_contract_has_one_place_on_the_wire(algorithm):
    """A new field without a row would be accepted, billed and not sent."""
    declared = {field.name for field in fields_of(algorithm) if not is_output_only(field)} - COMMON
    models = () if algorithm.model is None else (algorithm.model,)
    placed = [parameter.field for parameter in (*algorithm.parameters, *models)]

    assert sorted(placed) == sorted(declared)
    assert len({parameter.name for parameter in algorithm.parameters}) == len(algorithm.parameters)


@pytest.mark.parametrize("algorithm", TABLE, ids=identify)
def test_every_enum_value_has_a_name_on_the_wire(algorithm):
    """A new enum value without a name would pass validation and break the call."""
    models = () if algorithm.model is None else (algorithm.model,)
    fields = {field.name: field for field in fields_of(algorithm)}
    for parameter in (*algorithm.parameters, *models):
        for value in encodable_values(fields[parameter.field]):
            assert parameter.encode(value)


@pytest.mark.parametrize("algorithm", TABLE, ids=identify)
def test_every_member_of_the_typed_result_is_filled(algorithm):
    """A member of a result that no row fills would always be empty."""
    result = getattr(getattr(job_pb2.Job(), algorithm.field), "result")  # noqa: B009 - beside its like
    files = () if algorithm.files_field is None else (algorithm.files_field,)
    filled = [*files, *(member.field for member in algorithm.typed_members)]

    assert sorted(filled) == sorted(field.name for field in result.DESCRIPTOR.fields)


def test_no_two_algorithms_share_a_function_name_or_a_default_file():
    """Two jobs that end in the same second must not overwrite each other's files."""
    job = job_pb2.Job()
    files = [algorithm.default_file(getattr(job, algorithm.field)) for algorithm in TABLE]

    assert len(set(files)) == len(TABLE)
    assert len({algorithm.function_name for algorithm in TABLE}) == len(TABLE)


def encodable_values(field) -> list[int | list[int] | Message]:
    """Return one value of a field for each enum value that can stand in it, other than none."""
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values if value.number]
        return [[number] for number in numbers] if field.is_repeated else numbers
    if field.message_type is None or field.is_repeated:
        return []
    message = field.message_type._concrete_class
    return [
        message(**{inner.name: value.number})
        for inner in field.message_type.fields
        if inner.enum_type is not None
        for value in inner.enum_type.values
        if value.number
    ]
