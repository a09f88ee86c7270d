"""The official client against the emulator: the proof that both speak the same protocol."""

import asyncio
import time

import pytest
from alibabacloud_ice20201109 import models
from alibabacloud_ice20201109.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException, ThrottlingException
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.core import DaraCore

from ims_gateway.emulator import AccessKey, Emulator, EmulatorSettings, FaultKind, FaultPlan

SECRET = "secret"
OPERATIONS = {
    "submit": models.SubmitIProductionJobRequest,
    "query": models.QueryIProductionJobRequest,
    "cancel": models.CancelIProductionJobRequest,
}


@pytest.fixture(params=["http", "https"])
async def emulator(request):
    """Run over one of the two protocols, by the real clock that the client signs with."""
    settings = EmulatorSettings(
        access_keys={
            "AKID": AccessKey(SECRET),
            "STS": AccessKey(SECRET, security_token="token+/="),
        },
        http_port=0 if request.param == "http" else None,
        https_port=0 if request.param == "https" else None,
        job_seconds=3600,
        clock=time.time,
    )
    async with Emulator(settings) as running:
        yield running
    # The client keeps its connections in a class attribute and never closes them.
    for session in DaraCore._sessions.values():
        session.close()
    DaraCore._sessions.clear()


@pytest.fixture(params=["sync", "async"])
def call(request, emulator):
    """Call an operation with the official client, either way."""

    async def run(operation, key="AKID", token=None, secret=SECRET, **parameters):
        client = Client(
            Config(
                access_key_id=key,
                access_key_secret=secret,
                security_token=token,
                endpoint=emulator.http_endpoint or emulator.https_endpoint,
                protocol="http" if emulator.http_endpoint else "https",
                region_id="cn-shanghai",
                ca=str(emulator.ca_file) if emulator.ca_file else None,
            )
        )
        message = OPERATIONS[operation](**parameters)
        name = f"{operation}_iproduction_job"
        if request.param == "sync":
            return (await asyncio.to_thread(getattr(client, name), message)).body
        return (await getattr(client, f"{name}_async")(message)).body

    return run


def demanding_job():
    """Return a job whose values need every kind of encoding."""
    return {
        "function_name": "VideoDetext",
        "name": "a+b c/d:é~*'()测试",
        "input": models.SubmitIProductionJobRequestInput(
            type="OSS", media="oss://bucket/in/a b+c%20测.mp4"
        ),
        "output": models.SubmitIProductionJobRequestOutput(
            type="OSS", media="oss://bucket/out/{source}-{timestamp}.mp4"
        ),
        "schedule_config": models.SubmitIProductionJobRequestScheduleConfig(priority=3),
        "job_params": '{"LimitRegion": [[0, 0, 0.3, 0.3]], "Time": [5, 20]}',
        "user_data": '{"test":1}&x=y#z?',
    }


async def test_official_client_submits_queries_and_cancels(emulator, call):
    """All three operations are accepted, and come back as the client's own models."""
    submitted = await call("submit", **demanding_job())
    (job,) = emulator.jobs
    assert submitted.job_id == job.job_id
    assert job.parameters["Name"] == "a+b c/d:é~*'()测试"
    assert job.parameters["UserData"] == '{"test":1}&x=y#z?'
    assert job.decoded["Input"]["Media"] == "oss://bucket/in/a b+c%20测.mp4"
    assert job.decoded["ScheduleConfig"] == {"Priority": 3}

    queried = await call("query", job_id=submitted.job_id)
    assert (queried.status, queried.function_name) == ("Queuing", "VideoDetext")
    assert queried.user_data == '{"test":1}&x=y#z?'
    assert queried.schedule_config.priority == 3

    assert (await call("cancel", job_id=submitted.job_id)).message == "success"
    assert (await call("query", job_id=submitted.job_id)).status == "Fail"


async def test_official_client_with_sts_credentials_is_accepted(emulator, call):
    """The client sends and signs the token and the key id."""
    await call("submit", key="STS", token="token+/=", **demanding_job())
    assert emulator.jobs[0].caller.access_key_id == "STS"


async def test_official_client_reads_refusals(emulator, call):
    """Codes and throttling times arrive where its users look for them."""
    with pytest.raises(ClientException) as refused:
        await call("submit", secret="wrong", **demanding_job())
    assert refused.value.code == "SignatureDoesNotMatch"
    with pytest.raises(ClientException) as refused:
        await call("submit", **demanding_job() | {"function_name": "Nothing"})
    assert refused.value.code == "InvalidParameter.FunctionNotSupported"
    emulator.add_fault(FaultPlan(FaultKind.THROTTLE, retry_after_ms=1500))
    with pytest.raises(ThrottlingException) as throttled:
        await call("submit", **demanding_job())
    assert (throttled.value.code, throttled.value.retry_after) == ("Throttling.User", 1500)
    assert emulator.jobs == ()
