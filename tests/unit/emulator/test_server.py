"""Listeners, the control endpoint, counts, and what else may come over the wire."""

import ast
import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

import ims_gateway.emulator
from ims_gateway.emulator import AccessKey, Emulator, EmulatorSettings
from ims_gateway.emulator.command import run

SUBMIT = "SubmitIProductionJob"


@pytest.mark.parametrize(
    ("method", "path", "extra"),
    [
        ("GET", "/", {}),
        ("PUT", "/", {}),
        ("POST", "/other", {}),
        ("POST", "/emulators", {}),
        ("POST", "/", {"x-acs-action": "DeleteEverything"}),
        ("POST", "/", {"x-acs-action": ""}),
        ("POST", "/", {"x-acs-version": "2019-01-01"}),
    ],
)
async def test_anything_else_gets_the_error_envelope(api, make_job, method, path, extra):
    """Unknown methods, paths, actions and versions are InvalidApi.NotFound."""
    headers = api.signer.headers(make_job(), extra=extra)
    answer = await api.post("", headers, method=method, path=path)
    assert (answer.status, answer.code) == (404, "InvalidApi.NotFound")
    assert answer.json["HostId"] == api.signer.host
    assert answer.json["RequestId"] in answer.json["Recommend"]


async def test_call_without_any_signature_is_told_what_is_missing(api, make_job, make_query):
    """An unsigned call names the header that it lacks."""
    headers = {"x-acs-action": SUBMIT, "x-acs-version": "2020-11-09"}
    answer = await api.post(make_query(make_job()), headers)
    assert answer.code == "MissingParameter.Authorization"


async def test_oversized_body_is_refused(api, make_job, make_query):
    """A body of megabytes gets an envelope, too."""
    body = b"x" * 2_000_000
    headers = api.signer.headers(make_job(), body=body)
    answer = await api.post(make_query(make_job()), headers, body)
    assert (answer.status, answer.code) == (413, "InvalidParameter")


async def test_long_query_is_read(api, make_job):
    """The longest user data there is fits, encoded three bytes a character."""
    regions = [[0.123456789, 0.123456789, 0.1, 0.1]] * 300
    parameters = make_job(
        "VideoDetext", UserData="测" * 256, Name="试" * 100, JobParams={"LimitRegion": regions}
    )
    assert (await api.submit(parameters)).status == 200


async def test_counts_are_exact_under_concurrency(api, make_job, make_query):
    """Two hundred submits at once, some replayed and some forged, are counted one by one."""
    fresh = [api.submit(make_job(UserData=str(n))) for n in range(200)]
    twice = api.signer.headers(make_job())
    replayed = [api.post(make_query(make_job()), twice) for _ in range(20)]
    forged = [api.submit(make_job(), secret="wrong") for _ in range(30)]
    answers = await asyncio.gather(*fresh, *replayed, *forged)
    counts = api.emulator.counts.of(SUBMIT)
    assert counts.received == 250
    assert counts.verified == counts.accepted == len(api.emulator.jobs) == 201
    assert counts.nonce_replays == 19
    assert counts.refused == {"SignatureNonceUsed": 19, "SignatureDoesNotMatch": 30}
    assert len({answer.json["JobId"] for answer in answers[:200]}) == 200
    assert {job.parameters["UserData"] for job in api.emulator.jobs if len(job.parameters) > 3} == {
        str(n) for n in range(200)
    }


async def test_unknown_actions_share_one_count(api, make_job):
    """Callers cannot grow the table of counts."""
    for action in ("A", "B"):
        await api.call(make_job(), action=action)
    assert api.emulator.counts.of("C").received == 2
    assert len(api.emulator.counts.document()) == 4


async def test_control_endpoint_lists_what_was_accepted(api, clock, make_job):
    """Jobs show key, nonce, time, status, and parameters both raw and decoded."""
    parameters = make_job("Cover", JobParams='{ "Model":"gif" }', UserData="{}")
    job_id = (await api.submit(parameters)).json["JobId"]
    await api.submit(make_job(FunctionName="Nothing"))
    clock.advance(100)
    status, (record,) = await api.control("GET", "jobs")
    assert status == 200
    assert record == {
        "job_id": job_id,
        "access_key_id": "AKID",
        "nonce": "nonce-0",
        "accepted_time": "2026-01-01T00:00:00+00:00",
        "status": "Success",
        "parameters": parameters,
        "decoded": {
            "FunctionName": "Cover",
            "Input": {"Type": "OSS", "Media": "oss://bucket/in/movie.wav"},
            "Output": {"Type": "OSS", "Media": "oss://bucket/out/{source}-{resultType}.bin"},
            "JobParams": {"Model": "gif"},
            "UserData": "{}",
        },
    }


async def test_control_endpoint_shows_counts(api, make_job):
    """Counts are by action, refusals by code."""
    await api.submit(make_job())
    await api.submit(make_job(Name="n" * 101))
    await api.query("unknown")
    status, counts = await api.control("GET", "counts")
    assert status == 200
    assert counts[SUBMIT] == {
        "received": 2,
        "verified": 2,
        "accepted": 1,
        "nonce_replays": 0,
        "refused": {"InvalidParameter.Name": 1},
    }
    assert counts["QueryIProductionJob"]["refused"] == {"InvalidParameter.JobNotFound": 1}
    assert counts["CancelIProductionJob"]["received"] == 0


async def test_control_endpoint_plans_and_clears_faults(api, make_job):
    """Plans posted there are those of the emulator."""
    plan = {"fault": "throttle", "times": 3}
    assert await api.control("POST", "faults", plan) == (200, {"waiting": 1})
    assert (await api.submit(make_job())).code == "Throttling.User"
    assert await api.control("DELETE", "faults") == (200, {"waiting": 0})
    assert (await api.submit(make_job())).status == 200
    status, document = await api.control("POST", "faults", {"fault": "explode"})
    assert status == 400
    assert "explode" in document["error"]
    assert (await api.control("POST", "faults"))[0] == 400


async def test_control_endpoint_releases_hangs(api, make_job):
    """A release says how many calls it let go."""
    await api.control("POST", "faults", {"fault": "hang"})
    call = asyncio.create_task(api.submit(make_job()))
    await api.emulator.wait_until_hanging(1)
    assert (await api.control("GET", "healthz"))[1]["hanging"] == 1
    assert await api.control("POST", "release") == (200, {"released": 1})
    assert (await call).status == 200


async def test_control_endpoint_resets_everything(api, make_job, make_query):
    """After a reset the emulator is as it was at the start, nonces included."""
    headers = api.signer.headers(make_job())
    await api.post(make_query(make_job()), headers)
    await api.control("POST", "faults", {"fault": "throttle"})
    assert (await api.control("POST", "reset"))[0] == 200
    assert await api.control("GET", "jobs") == (200, [])
    assert (await api.control("GET", "counts"))[1][SUBMIT]["received"] == 0
    assert (await api.post(make_query(make_job()), headers)).status == 200


async def test_control_endpoint_knows_its_routes(api):
    """Health is a plain 200, and a mistyped route is a 404."""
    assert await api.control("GET", "healthz") == (200, {"status": "ok", "hanging": 0})
    assert (await api.control("GET", "job"))[0] == 404
    assert (await api.control("DELETE", "jobs"))[0] == 404


async def test_https_is_served_beside_http(settings, session, signer, make_job, make_query):
    """Both listeners lead to the same service, and the CA is enough to trust the server."""
    both = EmulatorSettings(settings.access_keys, https_port=0, clock=settings.clock)
    async with Emulator(both) as emulator:
        context = ssl.create_default_context(cafile=emulator.ca_file)
        port = emulator.https_endpoint.removeprefix("localhost:")
        for base in (
            f"http://{emulator.http_endpoint}",
            f"https://{emulator.https_endpoint}",
            f"https://127.0.0.1:{port}",
        ):
            url = f"{base}/?{make_query(make_job())}"
            headers = signer.headers(make_job())
            async with session.post(url, headers=headers, ssl=context) as reply:
                assert reply.status == 200
        assert len(emulator.jobs) == 3
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.post(f"https://{emulator.https_endpoint}/")
    assert not emulator.ca_file.exists()


async def test_https_alone_keeps_its_certificates_in_the_folder_given(settings, tmp_path):
    """A given folder outlives the emulator; the CA's key is never in it."""
    folder = tmp_path / "certificates"
    alone = EmulatorSettings(
        settings.access_keys, http_port=None, https_port=0, certificates_folder=folder
    )
    async with Emulator(alone) as emulator:
        assert emulator.http_endpoint is None
        assert emulator.ca_file == folder / "ca.pem"
    assert {file.name for file in folder.iterdir()} == {"ca.pem", "server.pem", "server.key"}
    assert (folder / "server.key").stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in (folder / "ca.pem").read_bytes()


async def test_http_alone_does_without_cryptography(settings):
    """Only HTTPS loads the library that makes certificates."""
    assert settings.https_port is None
    async with Emulator(settings) as emulator:
        assert emulator.https_endpoint is None
        assert emulator.ca_file is None
    program = "import sys, ims_gateway.emulator.command; sys.exit('cryptography' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0


async def test_port_in_use_stops_the_start(settings):
    """A failed start leaves no listener behind."""
    async with Emulator(settings) as emulator:
        port = int(emulator.http_endpoint.rpartition(":")[2])
        taken = EmulatorSettings(settings.access_keys, http_port=0, https_port=port)
        with pytest.raises(OSError, match="in use"):
            await Emulator(taken).__aenter__()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_command_serves_until_it_is_told_to_stop(settings, session, number):
    """The caller is told of the open listener; a signal ends the run and frees the port."""
    started = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(settings, ready=started.set_result))
    emulator = await started
    async with session.get(f"http://{emulator.http_endpoint}/emulator/healthz") as reply:
        assert reply.status == 200
    os.kill(os.getpid(), number)
    await task
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(f"http://{emulator.http_endpoint}/emulator/healthz")


@pytest.mark.parametrize(
    "details",
    [
        {"access_keys": {}},
        {"region": ""},
        {"http_port": None},
        {"job_seconds": -1},
        {"nonce_window_seconds": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(details):
    """A start with them would only fail later."""
    with pytest.raises(ValueError, match=r".+"):
        EmulatorSettings(**{"access_keys": {"AKID": AccessKey("secret")}} | details)


def test_secrets_are_not_in_reprs(settings):
    """Settings can be logged."""
    assert "secret'" not in repr(settings)
    assert "token'" not in repr(settings)
    with pytest.raises(ValueError, match="secret"):
        AccessKey("")
    with pytest.raises(ValueError, match="token"):
        AccessKey("secret", security_token="")


def test_emulator_imports_nothing_else_of_the_gateway():
    """It must not share a line with the signer that it judges."""
    folder = Path(ims_gateway.emulator.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for name in names:
                assert not name.startswith("ims_gateway") or name.startswith(
                    "ims_gateway.emulator"
                ), file
