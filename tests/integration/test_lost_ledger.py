"""A ledger's file that somebody deletes or replaces while a gateway serves."""

from __future__ import annotations

import uuid

import grpc

from imsgateway.v1 import job_service_pb2
from tests.integration.world import a_world, cover, refused

Submit = job_service_pb2.SubmitJobRequest
FILES = ("ledger.db", "ledger.db-wal", "ledger.db-shm")


async def test_no_job_is_sent_that_only_a_deleted_ledger_knows(tmp_path):
    """SQLite goes on in a file without a name, and the next process would know none of it."""
    async with a_world(tmp_path) as world:
        request = Submit(job=cover(), request_id=str(uuid.uuid4()))
        await world.acme.jobs.SubmitJob(request)
        away = tmp_path / "away"
        away.mkdir()
        for name in FILES:
            (tmp_path / name).rename(away / name)

        answer = await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert world.sent == 1

        for name in FILES:
            (away / name).rename(tmp_path / name)
        repeated = await world.acme.jobs.SubmitJob(request)
        assert repeated.job.request_id == request.request_id
        await world.acme.jobs.SubmitJob(Submit(job=cover()))
        assert world.sent == world.used() == 2
