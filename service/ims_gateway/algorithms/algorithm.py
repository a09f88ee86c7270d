"""What a row of the algorithm table says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ims_gateway.algorithms.decoding import Decoding
from ims_gateway.algorithms.encoding import Encoding, as_it_is


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name on the wire, the field of the contract, and how it is encoded."""

    name: str
    field: str
    encode: Encoding = as_it_is


@dataclass(frozen=True, slots=True)
class TypedMember:
    """A repeated or message field of the typed result, and how it is read out of Result."""

    field: str
    decode: Decoding


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One algorithm.

    `field` is the algorithm's field in Job, `function_name` the service's FunctionName.
    `default_file` names the output file where neither the caller nor the tenant does; it is given
    the algorithm's message. `parameters` become members of JobParams, `model` becomes ModelId.
    `files_field` is the field of the typed result that receives the files, None where none is made.
    """

    field: str
    function_name: str
    default_file: Callable[[Any], str]
    parameters: tuple[Parameter, ...] = ()
    model: Parameter | None = None
    files_field: str | None = None
    typed_members: tuple[TypedMember, ...] = ()


def always(name: str) -> Callable[[Any], str]:
    """Name the same file whatever the parameters are."""
    return lambda _: name
