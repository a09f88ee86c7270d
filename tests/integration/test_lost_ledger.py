"""A ledger's file that somebody deletes or replaces while a gateway serves."""

from __future__ import annotations

import uuid

import grpc
from structlog.testing import capture_logs

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

        with capture_logs() as lines:
            for _ in range(2):
                answer = await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
                assert answer.code is grpc.StatusCode.UNAVAILABLE
                assert answer.reason == "STORE_UNAVAILABLE"
        assert world.sent == 1
        told = [line for line in lines if line["event"] == "the ledger cannot be written"]
        assert [line["reason"] for line in told] == ["SQLITE_READONLY_DBMOVED"]

        for name in FILES:
            (away / name).rename(tmp_path / name)
        repeated = await world.acme.jobs.SubmitJob(request)
        assert repeated.job.request_id == request.request_id
        await world.acme.jobs.SubmitJob(Submit(job=cover()))
        assert world.sent == world.used() == 2
