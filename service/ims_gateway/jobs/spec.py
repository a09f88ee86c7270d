"""A job as its caller meant it: without the fields that only the gateway sets."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from imsgateway.v1 import job_pb2


def spec_of(job: job_pb2.Job) -> job_pb2.Job:
    """Return a copy without the fields marked OUTPUT_ONLY, which a request may hold (AIP-203)."""
    spec = job_pb2.Job()
    spec.CopyFrom(job)
    _clear(spec)
    algorithm = spec.WhichOneof("algorithm")
    if algorithm:
        _clear(getattr(spec, algorithm))
    return spec


def body_hash(spec: job_pb2.Job) -> bytes:
    """Return what two requests with one request id must have in common."""
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()


def _clear(message: Message) -> None:
    for name in _output_only(message.DESCRIPTOR):
        message.ClearField(name)


@lru_cache(maxsize=256)
def _output_only(descriptor: Descriptor) -> tuple[str, ...]:
    behaviors = field_behavior_pb2.field_behavior
    return tuple(
        field.name
        for field in descriptor.fields
        if field_behavior_pb2.OUTPUT_ONLY in field.GetOptions().Extensions[behaviors]
    )
