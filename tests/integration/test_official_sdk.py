"""The oracle: what reaches the service from us is what the official SDK sends for the same job.

The SDK's requests are made from what a golden case says that the service should be told, and not by
our translation, so that a mistake of ours cannot hide on both sides.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from alibabacloud_ice20201109 import models
from alibabacloud_ice20201109.client import Client
from alibabacloud_tea_openapi.models import Config
from google.protobuf import json_format

from ims_gateway.algorithms.translation import submit_parameters
from ims_gateway.emulator import AccessKey, Emulator, EmulatorSettings
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import UpstreamClient
from ims_gateway.upstream.credentials import EnvironmentCredentials
from imsgateway.v1 import job_pb2

REGION = "cn-shanghai"
KEY_ID, SECRET = "oracle-key-id", "oracle-key-secret"
FOLDER = Path(__file__).parents[1] / "cases"
GOOD = {
    f"{path.parent.name}/{path.stem}": document
    for path in sorted(FOLDER.glob("*/*.yaml"))
    if "upstream" in (document := yaml.safe_load(path.read_text("utf-8")))
}


@pytest.fixture
async def emulator():
    """Run an emulator over plain HTTP, which is what the SDK can be pointed at."""
    settings = EmulatorSettings(access_keys={KEY_ID: AccessKey(SECRET)}, region=REGION)
    async with Emulator(settings) as running:
        yield running


@pytest.fixture
def sdk(emulator):
    """Make the official SDK's client, pointed at the emulator."""
    return Client(
        Config(
            access_key_id=KEY_ID,
            access_key_secret=SECRET,
            endpoint=emulator.http_endpoint,
            protocol="http",
            region_id=REGION,
        )
    )


@pytest.fixture
async def ours(emulator):
    """Make our own client, pointed at the same emulator."""
    credentials = EnvironmentCredentials(
        {"ALIBABA_CLOUD_ACCESS_KEY_ID": KEY_ID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET}
    )
    account = Account(
        name="oracle",
        region=REGION,
        credentials=credentials,
        endpoint=emulator.http_endpoint,
        scheme="http",
    )
    async with UpstreamClient(account) as client:
        yield client


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
async def test_what_arrives_from_us_is_what_the_sdk_sends(case, emulator, sdk, ours):
    """The parameters agree after decoding, with the SDK's sync client and with its async one."""
    request = sdk_request(case)
    job = json_format.ParseDict(case["job"], job_pb2.Job())

    await asyncio.to_thread(sdk.submit_iproduction_job, request)
    await sdk.submit_iproduction_job_async(request)
    await ours.submit(submit_parameters(job))

    by_sync_sdk, by_async_sdk, by_us = emulator.jobs
    assert by_us.parameters.keys() == by_sync_sdk.parameters.keys()
    assert decoded(by_us, case) == decoded(by_sync_sdk, case) == decoded(by_async_sdk, case)
    for name in {"Input", "Output", "ScheduleConfig"} & by_us.parameters.keys():
        # The order of members is nobody's promise; spaces and escapes are.
        assert sorted(by_us.parameters[name]) == sorted(by_sync_sdk.parameters[name])


def sdk_request(case: dict[str, Any]) -> models.SubmitIProductionJobRequest:
    """Return the request that somebody makes who reads the API page and knows no gateway."""
    told = case["upstream"]
    job_params = dict(told.get("JobParams", {}))
    for member in case.get("json_strings", ()):
        job_params[member] = json.dumps(job_params[member])
    source, output, schedule = told["Input"], told["Output"], told.get("ScheduleConfig")
    return models.SubmitIProductionJobRequest(
        function_name=told["FunctionName"],
        input=models.SubmitIProductionJobRequestInput(type=source["Type"], media=source["Media"]),
        output=models.SubmitIProductionJobRequestOutput(
            type=output["Type"],
            media=output.get("Media"),
            biz=output.get("Biz"),
            output_url=output.get("OutputUrl"),
        ),
        job_params=json.dumps(job_params) if job_params else None,
        model_id=told.get("ModelId"),
        name=told.get("Name"),
        schedule_config=schedule
        and models.SubmitIProductionJobRequestScheduleConfig(
            pipeline_id=schedule.get("PipelineId"), priority=schedule.get("Priority")
        ),
        template_id=told.get("TemplateId"),
        user_data=told.get("UserData"),
    )


def decoded(job, case):
    """Return what arrived, with every JSON in it read."""
    parameters = job.decoded
    for member in case.get("json_strings", ()):
        assert isinstance(parameters["JobParams"][member], str)
        parameters["JobParams"][member] = json.loads(parameters["JobParams"][member])
    return parameters
