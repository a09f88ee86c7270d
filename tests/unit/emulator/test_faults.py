"""Misbehaviour on demand, over a real connection."""

import asyncio
import json

import aiohttp
import pytest

from ims_gateway.emulator import Emulator, FaultKind, FaultPlan
from ims_gateway.emulator.call import CANCEL, QUERY
from ims_gateway.emulator.faults import COURSES, read_plan
from ims_gateway.emulator.hangs import Hangs


def submits(api):
    """Return the counts of submits."""
    return api.emulator.counts.of("SubmitIProductionJob")


@pytest.fixture
def plan(api):
    """Add a plan and return it."""

    def add(fault, **details):
        plan = FaultPlan(FaultKind(fault), **details)
        api.emulator.add_fault(plan)
        return plan

    return add


@pytest.fixture
def replay(api, make_job, make_query):
    """Sign one call and return what sends its very bytes."""
    headers = api.signer.headers(make_job())
    return lambda: api.post(make_query(make_job()), headers)


async def test_throttle_says_when_to_come_back(api, plan, make_job):
    """Throttling.User carries x-acs-retry-after and accepts nothing."""
    plan("throttle", retry_after_ms=2500)
    answer = await api.submit(make_job())
    assert (answer.status, answer.code) == (400, "Throttling.User")
    assert answer.headers["x-acs-retry-after"] == "2500"
    assert api.emulator.jobs == ()
    assert submits(api).refused == {"Throttling.User": 1}


async def test_throttle_without_a_time_has_no_header(api, plan, make_job):
    """Zero milliseconds leave the header out."""
    plan("throttle", retry_after_ms=0)
    assert "x-acs-retry-after" not in (await api.submit(make_job())).headers


@pytest.mark.parametrize(
    ("details", "status", "code"),
    [
        ({}, 403, "Forbidden.RAM"),
        ({"code": "Forbidden.SubscriptionRequired"}, 403, "Forbidden.SubscriptionRequired"),
        ({"code": "ServiceUnavailable"}, 503, "ServiceUnavailable"),
        ({"code": "Made.Up", "http_status": 418}, 418, "Made.Up"),
    ],
)
async def test_refuse_answers_as_told(api, make_job, details, status, code):
    """Any code, message and status can be had; the status defaults to the code's."""
    api.emulator.add_fault(FaultPlan(FaultKind.REFUSE, message="No.", **details))
    answer = await api.submit(make_job())
    assert (answer.status, answer.code, answer.json["Message"]) == (status, code, "No.")
    assert api.emulator.jobs == ()


async def test_server_error_has_an_envelope(api, plan, make_job):
    """InternalError is a 500 with the usual members."""
    plan("server_error")
    answer = await api.submit(make_job())
    assert (answer.status, answer.code) == (500, "InternalError")
    assert answer.json.keys() == {"RequestId", "HostId", "Code", "Message", "Recommend"}


async def test_bad_gateway_is_a_page(api, plan, make_job):
    """A proxy in front answers HTML; the service never saw the call."""
    plan("bad_gateway_html")
    answer = await api.submit(make_job())
    assert answer.status == 502
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"<html>" in answer.body
    assert (submits(api).received, submits(api).verified) == (1, 0)


async def test_empty_200_has_no_body(api, plan, make_job):
    """A 200 without a body accepts nothing."""
    plan("empty_200")
    answer = await api.submit(make_job())
    assert (answer.status, answer.body) == (200, b"")
    assert (submits(api).verified, submits(api).accepted) == (1, 0)


async def test_garbage_is_not_json(api, plan, make_job):
    """A 200 whose body breaks off accepts nothing."""
    plan("garbage")
    answer = await api.submit(make_job())
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        _ = answer.json
    assert api.emulator.jobs == ()


@pytest.mark.parametrize(("fault", "accepted"), [("no_job_id", 0), ("accepted_no_job_id", 1)])
async def test_reply_without_job_id(api, plan, make_job, fault, accepted):
    """The two look the same to the caller; only one of them made a job."""
    plan(fault)
    answer = await api.submit(make_job())
    assert (answer.status, set(answer.json)) == (200, {"RequestId"})
    assert len(api.emulator.jobs) == submits(api).accepted == accepted


@pytest.mark.parametrize(("fault", "accepted"), [("drop", 0), ("accept_then_drop", 1)])
async def test_connection_is_closed_without_an_answer(api, plan, make_job, fault, accepted):
    """The two look the same to the caller; only one of them made a job."""
    plan(fault)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api.submit(make_job())
    assert len(api.emulator.jobs) == submits(api).accepted == accepted
    assert (await api.submit(make_job())).status == 200


@pytest.mark.parametrize(("fault", "accepted"), [("hang", 0), ("accept_then_hang", 1)])
async def test_hanging_call_is_answered_when_released(api, plan, make_job, fault, accepted):
    """A hang is before or after the job is made, and ends in the usual answer."""
    plan(fault)
    call = asyncio.create_task(api.submit(make_job()))
    await api.emulator.wait_until_hanging(1)
    assert len(api.emulator.jobs) == accepted
    api.emulator.release()
    answer = await call
    assert answer.json["JobId"] == api.emulator.jobs[0].job_id
    assert len(api.emulator.jobs) == 1


@pytest.mark.parametrize(("fault", "accepted"), [("hang", 0), ("accept_then_hang", 1)])
async def test_hanging_call_ends_when_its_caller_leaves(api, plan, make_job, fault, accepted):
    """Nothing is accepted for a caller who has gone, and nothing is taken back."""
    plan(fault)
    call = asyncio.create_task(api.submit(make_job()))
    await api.emulator.wait_until_hanging(1)
    call.cancel()
    await api.emulator.wait_until_hanging(0)
    api.emulator.release()
    assert (await api.submit(make_job())).status == 200
    assert len(api.emulator.jobs) == accepted + 1


async def test_other_calls_go_on_while_one_hangs(api, plan, make_job):
    """A hang is one call's own."""
    plan("hang")
    call = asyncio.create_task(api.submit(make_job()))
    await api.emulator.wait_until_hanging(1)
    assert (await api.submit(make_job())).status == 200
    api.emulator.release()
    assert (await call).status == 200


async def test_slow_call_is_accepted_at_once_and_answered_late(api, plan, make_job):
    """The job exists while the answer waits; a release cuts the wait short."""
    plan("slow", delay_seconds=3600)
    call = asyncio.create_task(api.submit(make_job()))
    await api.emulator.wait_until_hanging(1)
    assert len(api.emulator.jobs) == 1
    api.emulator.release()
    assert (await call).status == 200


async def test_slow_call_is_answered_when_its_time_is_over(api, plan, make_job):
    """Without a release the delay ends by itself."""
    plan("slow", delay_seconds=0.01)
    assert (await api.submit(make_job())).status == 200


async def test_release_is_for_those_that_hang_now(api, plan, make_job):
    """A call that comes after a release hangs anew."""
    plan("hang", times=2)
    for hanging in (1, 0, 1, 0):
        if hanging:
            call = asyncio.create_task(api.submit(make_job()))
        else:
            api.emulator.release()
            assert (await call).status == 200
        await api.emulator.wait_until_hanging(hanging)


async def test_nothing_hangs_once_the_emulator_stops():
    """A call that comes during the shutdown is given up at once."""
    hangs = Hangs()
    hangs.close()
    assert await hangs.wait() is False


async def test_shutdown_does_not_wait_for_hangs(settings, make_api, make_job):
    """Hanging calls lose their connection, and none is accepted on the way out."""
    async with Emulator(settings) as emulator:
        api = make_api(emulator)
        for fault in (FaultKind.HANG, FaultKind.ACCEPT_THEN_HANG, FaultKind.SLOW):
            emulator.add_fault(FaultPlan(fault, delay_seconds=3600))
        calls = [asyncio.create_task(api.submit(make_job())) for _ in range(3)]
        await emulator.wait_until_hanging(3)
        async with asyncio.timeout(30):
            await emulator.__aexit__(None, None, None)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {aiohttp.ServerDisconnectedError}
    assert len(emulator.jobs) == 2


async def test_reset_gives_up_what_hangs(api, plan, make_job):
    """A call from before a reset cannot be accepted after it."""
    plan("hang")
    call = asyncio.create_task(api.submit(make_job()))
    await api.emulator.wait_until_hanging(1)
    api.emulator.reset()
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call
    assert api.emulator.jobs == ()


@pytest.mark.parametrize("fault", ["drop", "bad_gateway_html"])
async def test_call_that_never_reached_the_service_can_be_sent_again(plan, replay, fault):
    """A fault in front of the service leaves the nonce unspent."""
    plan(fault)
    try:
        assert (await replay()).status == 502
    except aiohttp.ServerDisconnectedError:
        assert fault == "drop"
    assert (await replay()).status == 200


@pytest.mark.parametrize(
    "fault", ["throttle", "refuse", "server_error", "empty_200", "accept_then_drop"]
)
async def test_call_that_reached_the_service_is_a_replay_the_second_time(api, plan, replay, fault):
    """The same signed bytes are never accepted twice."""
    plan(fault)
    if fault == "accept_then_drop":
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await replay()
    else:
        await replay()
    assert (await replay()).code == "SignatureNonceUsed"
    assert submits(api).nonce_replays == 1
    assert len(api.emulator.jobs) == (fault == "accept_then_drop")


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("fail", ["Queuing", "Analyzing", "Fail"]),
        ("success_with_error_file", ["Queuing", "Analyzing", "Success"]),
        ("never_finish", ["Queuing", "Analyzing", "Analyzing"]),
        ("unknown_status", ["Queuing", "Processing", "Success"]),
        ("analysing_spelling", ["Queuing", "Analysing", "Success"]),
    ],
)
async def test_course_of_a_job(api, clock, make_job, fault, statuses):
    """A job can be told how to go on; its submit is as any other."""
    job_id = (await api.submit(make_job(Name=f"emulator:{fault}"))).json["JobId"]
    seen = []
    for seconds in (0, 50, 50):
        clock.advance(seconds)
        seen.append((await api.query(job_id)).json["Status"])
    assert seen == statuses


async def test_error_sentence_stands_where_the_file_should(api, plan, clock, make_job):
    """The wrong-region trap: Success, and a sentence as the file's name."""
    plan("success_with_error_file")
    job_id = (await api.submit(make_job("Cover"))).json["JobId"]
    clock.advance(100)
    reply = (await api.query(job_id)).json
    assert (reply["Status"], len(reply["OutputFiles"])) == ("Success", 1)
    assert reply["OutputFiles"][0].startswith("The bucket you are attempting to access")


async def test_failed_job_has_no_files(api, plan, clock, make_job):
    """Fail comes with a FinishTime and nothing else."""
    plan("fail")
    job_id = (await api.submit(make_job())).json["JobId"]
    clock.advance(100)
    reply = (await api.query(job_id)).json
    assert (reply["OutputFiles"], reply["FinishTime"]) == ([], "2026-01-01T00:01:40Z")


async def test_plan_is_met_as_often_as_it_says(api, plan, make_job):
    """A plan counts its calls, and plans are met in the order in which they were added."""
    plan("throttle", times=2)
    plan("server_error")
    codes = [(await api.submit(make_job())).code for _ in range(4)]
    assert codes == ["Throttling.User", "Throttling.User", "InternalError", None]
    assert api.emulator.faults == ()


async def test_plan_without_times_is_met_until_cleared(api, plan, make_job):
    """None is every call."""
    plan("throttle", times=None)
    assert {(await api.submit(make_job())).code for _ in range(5)} == {"Throttling.User"}
    api.emulator.clear_faults()
    assert (await api.submit(make_job())).status == 200


@pytest.mark.parametrize(
    ("match", "met"),
    [
        ({"FunctionName": "VideoH2V"}, True),
        ({"FunctionName": "Cover"}, False),
        ({"Name": "name"}, True),
        ({"UserData": "data"}, True),
        ({"UserData": "dat"}, False),
        ({"AccessKeyId": "AKID"}, True),
        ({"AccessKeyId": "AKID2"}, False),
        ({"Name": "name", "UserData": "other"}, False),
    ],
)
async def test_plan_waits_for_the_call_it_matches(api, plan, make_job, match, met):
    """Every member of match must be equal."""
    plan("refuse", match=match)
    answer = await api.submit(make_job(Name="name", UserData="data"))
    assert (answer.status != 200) is met
    assert (api.emulator.faults == ()) is met


async def test_plan_for_one_action_leaves_the_others_alone(api, plan, make_job):
    """A throttled query does not touch submits, and can name its job."""
    job_id = (await api.submit(make_job())).json["JobId"]
    plan("throttle", action=QUERY, match={"JobId": job_id})
    plan("accept_then_drop", action=CANCEL)
    other = (await api.submit(make_job())).json["JobId"]
    assert (await api.query(other)).status == 200
    assert (await api.query(job_id)).code == "Throttling.User"
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await api.cancel(job_id)
    assert (await api.query(job_id)).json["Status"] == "Fail"


async def test_query_can_lack_its_job_id(api, plan, make_job):
    """The reply to a query can lose its JobId as well."""
    job_id = (await api.submit(make_job())).json["JobId"]
    plan("accepted_no_job_id", action=QUERY)
    reply = (await api.query(job_id)).json
    assert "JobId" not in reply
    assert reply["Status"] == "Queuing"


async def test_refused_call_meets_no_fault_of_accepted_ones(api, plan, make_job):
    """accept_then_drop needs something to accept."""
    plan("accept_then_drop")
    assert (await api.submit(make_job(), secret="wrong")).code == "SignatureDoesNotMatch"
    assert api.emulator.jobs == ()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("emulator:throttle", "Throttling.User"),
        ("emulator:refuse and some more", "Forbidden.RAM"),
        ("emulator:nonsense", "InvalidParameter.Name"),
        ("emulator:", "InvalidParameter.Name"),
        ("about emulator:throttle", None),
    ],
)
async def test_name_of_a_job_can_ask_for_a_fault(api, plan, make_job, name, code):
    """The fault is that call's alone and leaves the plans waiting."""
    plan("server_error", match={"Name": "x"})
    assert (await api.submit(make_job(Name=name))).code == code
    assert (await api.submit(make_job())).status == 200
    assert len(api.emulator.faults) == 1


async def test_every_course_can_be_asked_for_by_name(api, make_job):
    """A course that a name asks for belongs to that job."""
    for course in COURSES:
        await api.submit(make_job(Name=f"emulator:{course}"))
    assert {job.course for job in api.emulator.jobs} == COURSES


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"fault": "explode"},
        {"fault": 5},
        {"fault": "throttle", "time": 1},
        {"fault": "throttle", "times": 0},
        {"fault": "throttle", "times": True},
        {"fault": "throttle", "times": "1"},
        {"fault": "throttle", "action": "DeleteEverything"},
        {"fault": "throttle", "match": {"Input": "x"}},
        {"fault": "throttle", "match": {"Name": 1}},
        {"fault": "throttle", "match": "Name"},
        {"fault": "throttle", "retry_after_ms": -1},
        {"fault": "slow", "delay_seconds": -1},
        {"fault": "refuse", "http_status": 200},
        {"fault": "fail", "action": "QueryIProductionJob"},
    ],
)
def test_plan_that_makes_no_sense_is_refused(document):
    """Whoever plans a fault learns of a mistake at once."""
    with pytest.raises(ValueError, match=r".+"):
        read_plan(document)


def test_plan_is_read_from_json():
    """The members are the fields of a plan."""
    document = {
        "fault": "refuse",
        "action": "CancelIProductionJob",
        "times": None,
        "match": {"JobId": "j"},
        "code": "X",
        "message": "m",
        "http_status": 409,
        "retry_after_ms": 5,
        "delay_seconds": 1.5,
    }
    assert read_plan(document) == FaultPlan(
        FaultKind.REFUSE, CANCEL, None, {"JobId": "j"}, "X", "m", 409, 5, 1.5
    )
