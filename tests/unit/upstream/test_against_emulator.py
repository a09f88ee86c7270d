import pytest

from ims_gateway.emulator import AccessKey, Emulator, EmulatorSettings, FaultKind, FaultPlan
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import UpstreamClient
from ims_gateway.upstream.credentials import Credentials
from ims_gateway.upstream.errors import JOB_NOT_FOUND, AccountRefused, OutcomeUnknown, Refused

JOB = {
    "FunctionName": "Cover",
    "Input": '{"Type":"OSS","Media":"oss://bucket/视频 1.mp4"}',
    "Output": '{"Type":"OSS","Media":"oss://bucket/{source}-{sequenceId}.png"}',
    "UserData": "a+b&c=d%20*~",
}
KEYS = {
    "LTAI1": AccessKey(secret="permanent"),
    "STS.1": AccessKey(secret="temporary", security_token="token+/="),
}


class Fixed:
    """A provider with one key."""

    def __init__(self, *key):
        self._credentials = Credentials(*key)

    def snapshot(self):
        """Return the key."""
        return self._credentials


def account(emulator, *key):
    """Make the account of a key at the emulator's HTTPS listener."""
    return Account(
        "test",
        "cn-shanghai",
        Fixed(*key),
        endpoint=emulator.https_endpoint,
        ca_file=emulator.ca_file,
    )


@pytest.fixture
async def emulator():
    """Run an emulator over HTTPS."""
    async with Emulator(EmulatorSettings(KEYS, https_port=0, http_port=None)) as running:
        yield running


@pytest.mark.parametrize(
    "key", [("LTAI1", "permanent"), ("STS.1", "temporary", "token+/=")], ids=["permanent", "sts"]
)
async def test_a_job_goes_its_whole_way(emulator, key):
    """A verifier that shares no code with the signer accepts all three calls, unchanged."""
    async with UpstreamClient(account(emulator, *key)) as client:
        accepted = await client.submit(JOB)
        state = await client.query(accepted.job_id)
        await client.cancel(accepted.job_id)
    (job,) = emulator.jobs
    assert job.job_id == accepted.job_id
    assert dict(job.parameters) == JOB
    assert state["UserData"] == JOB["UserData"]


async def test_a_wrong_secret_is_the_account_s_fault(emulator):
    """The refusal of a signature is told without the string to sign."""
    async with UpstreamClient(account(emulator, "LTAI1", "wrong")) as client:
        with pytest.raises(AccountRefused) as raised:
            await client.submit(JOB)
    assert raised.value.code == "SignatureDoesNotMatch"
    assert emulator.jobs == ()


async def test_a_job_of_nobody_is_not_found(emulator):
    """A query of an unknown job is refused by the Code that callers look for."""
    async with UpstreamClient(account(emulator, "LTAI1", "permanent")) as client:
        with pytest.raises(Refused) as raised:
            await client.query("nobody")
    assert raised.value.code == JOB_NOT_FOUND


async def test_a_lost_answer_is_unknown_and_the_job_exists_once(emulator):
    """Unknown means that the job may be there, and one submit has made no second one."""
    emulator.add_fault(FaultPlan(FaultKind.ACCEPT_THEN_DROP))
    async with UpstreamClient(account(emulator, "LTAI1", "permanent")) as client:
        with pytest.raises(OutcomeUnknown):
            await client.submit(JOB)
    assert len(emulator.jobs) == 1


async def test_the_same_signed_bytes_are_unknown_and_make_no_second_job(emulator):
    """A nonce that was used says that its first use may have made a job."""
    settings = account(emulator, "LTAI1", "permanent")
    async with UpstreamClient(settings, nonces=lambda: "only-one") as client:
        await client.submit(JOB)
        with pytest.raises(OutcomeUnknown) as raised:
            await client.submit(JOB)
    assert raised.value.code == "SignatureNonceUsed"
    assert len(emulator.jobs) == 1
