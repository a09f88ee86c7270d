"""An emulator with a clock of its own, and a client that signs by hand."""

import hashlib
import hmac
import io
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from ims_gateway.emulator import AccessKey, Emulator, EmulatorSettings

SECRET = "secret"
NEW_YEAR = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now: float = NEW_YEAR

    def __call__(self):
        """Tell the time."""
        return self.now

    def advance(self, seconds):
        """Let time pass."""
        self.now += seconds


@dataclass
class Signer:
    """Signs calls as wire facts describe it."""

    clock: Clock
    host: str = "ice.cn-shanghai.aliyuncs.com"
    nonces: Any = field(default_factory=lambda: (f"nonce-{n}" for n in itertools.count()))

    def headers(
        self,
        parameters: Mapping[str, str],
        *,
        action: str = "SubmitIProductionJob",
        key: str = "AKID",
        secret: str = SECRET,
        extra: Mapping[str, str] | None = None,
        body: bytes = b"",
        leave_out: tuple[str, ...] = (),
        unsigned: tuple[str, ...] = (),
    ) -> dict[str, str]:
        """Return signed headers. extra overrides; leave_out is not sent, unsigned not signed."""
        headers = {
            "host": self.host,
            "x-acs-action": action,
            "x-acs-version": "2020-11-09",
            "x-acs-date": datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": next(self.nonces),
            "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
            **(extra or {}),
        }
        for name in leave_out:
            del headers[name]
        names = sorted(headers.keys() - set(unsigned))
        lines = [
            "POST",
            "/",
            canonical(parameters),
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            ";".join(names),
            headers.get("x-acs-content-sha256", ""),
        ]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        text = f"ACS3-HMAC-SHA256\n{digest}"
        signature = hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()
        headers["Authorization"] = (
            f"ACS3-HMAC-SHA256 Credential={key},SignedHeaders={';'.join(names)},"
            f"Signature={signature}"
        )
        return headers


def canonical(parameters):
    """Return parameters as a canonical query."""
    return "&".join(
        f"{quote(name, safe='~')}={quote(value, safe='~')}"
        for name, value in sorted(parameters.items())
    )


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self):
        """The decoded body."""
        return json.loads(self.body)

    @property
    def code(self):
        """The error code; None of a success."""
        return self.json.get("Code")


@dataclass
class Api:
    """Calls an emulator over HTTP."""

    emulator: Emulator
    session: aiohttp.ClientSession
    signer: Signer

    async def call(self, parameters, *, query=None, **how):
        """Sign and post parameters. query: the raw query to send instead of the canonical one."""
        headers = self.signer.headers(parameters, **how)
        return await self.post(query or canonical(parameters), headers, how.get("body", b""))

    async def submit(self, parameters, **how):
        """Submit a job."""
        return await self.call(parameters, **how)

    async def query(self, job_id, **how):
        """Query a job."""
        return await self.call({"JobId": job_id}, action="QueryIProductionJob", **how)

    async def cancel(self, job_id, **how):
        """Cancel a job."""
        return await self.call({"JobId": job_id}, action="CancelIProductionJob", **how)

    async def post(self, query, headers, body=b"", *, method="POST", path="/"):
        """Send a request just so."""
        url = URL(f"http://{self.emulator.http_endpoint}{path}?{query}", encoded=True)
        data = io.BytesIO(body) if body else None
        async with self.session.request(method, url, headers=headers, data=data) as reply:
            return Answer(reply.status, reply.headers, await reply.read())

    async def control(self, method, name, document=None):
        """Use the control endpoint."""
        url = f"http://{self.emulator.http_endpoint}/emulator/{name}"
        async with self.session.request(method, url, json=document) as reply:
            return reply.status, await reply.json()


def job(function="VideoH2V", **changes):
    """Return parameters of a good job; None takes one away, objects become JSON."""
    parameters = {
        "FunctionName": function,
        "Input": {"Type": "OSS", "Media": "oss://bucket/in/movie.wav"},
        "Output": {"Type": "OSS", "Media": "oss://bucket/out/{source}-{resultType}.bin"},
        **changes,
    }
    if function == "AudioMixing" and "JobParams" not in changes:
        parameters["JobParams"] = {"inputs": [{"file": "oss://bucket/in/second.wav"}]}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in parameters.items()
        if value is not None
    }


@pytest.fixture
def clock():
    """Stand at the first second of 2026 until told to move."""
    return Clock()


@pytest.fixture
def signer(clock):
    """Sign by that clock."""
    return Signer(clock)


@pytest.fixture
def make_job():
    """Make the parameters of a job."""
    return job


@pytest.fixture
def make_query():
    """Make a canonical query."""
    return canonical


@pytest.fixture
def settings(clock):
    """Hold keys of every kind, and jobs of a hundred seconds."""
    return EmulatorSettings(
        access_keys={
            "AKID": AccessKey(SECRET),
            "AKID2": AccessKey(SECRET),
            "OTHER": AccessKey("other", account_id="2000000000000002"),
            "OFF": AccessKey(SECRET, active=False),
            "STS": AccessKey(SECRET, security_token="token"),
            "ENDS": AccessKey(SECRET, security_token="token", expires_at=NEW_YEAR + 10),
        },
        job_seconds=100,
        clock=clock,
    )


@pytest.fixture
async def emulator(settings):
    """Run over HTTP for one test."""
    async with Emulator(settings) as running:
        yield running


@pytest.fixture
async def session():
    """Open connections for one test."""
    async with aiohttp.ClientSession() as running:
        yield running


@pytest.fixture
def api(emulator, session, signer):
    """Call the emulator."""
    return Api(emulator, session, signer)


@pytest.fixture
def make_api(session, signer):
    """Call another emulator."""
    return lambda emulator: Api(emulator, session, signer)
