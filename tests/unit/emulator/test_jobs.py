"""The life of a job and what a query says about it."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from ims_gateway.emulator import Emulator, FaultKind, FaultPlan
from ims_gateway.emulator.algorithms import ALGORITHMS


async def submit(api, parameters, **how):
    """Submit and return the job id."""
    answer = await api.submit(parameters, **how)
    assert answer.status == 200, answer.body
    return answer.json["JobId"]


async def finished(api, clock, parameters):
    """Submit, let the job end, and return what a query says."""
    job_id = await submit(api, parameters)
    clock.advance(100)
    return (await api.query(job_id)).json


async def test_submit_answers_request_id_and_job_id(api, make_job):
    """The documented success has these two members."""
    answer = await api.submit(make_job())
    assert set(answer.json) == {"RequestId", "JobId"}
    assert answer.json["JobId"] == api.emulator.jobs[0].job_id


async def test_job_goes_from_queuing_to_success_as_the_clock_moves(api, clock, make_job):
    """Status depends on the job's age alone."""
    job_id = await submit(api, make_job())
    statuses = []
    for seconds in (0, 24.9, 0.1, 74.9, 0.1):
        clock.advance(seconds)
        statuses.append((await api.query(job_id)).json["Status"])
    assert statuses == ["Queuing", "Queuing", "Analyzing", "Analyzing", "Success"]


async def test_job_of_no_seconds_is_done_at_the_first_query(settings, make_api, make_job):
    """A run time of zero needs no waiting at all."""
    quick = type(settings)(access_keys=settings.access_keys, clock=settings.clock, job_seconds=0)
    async with Emulator(quick) as emulator:
        api = make_api(emulator)
        job_id = await submit(api, make_job())
        assert (await api.query(job_id)).json["Status"] == "Success"


async def test_query_repeats_what_was_submitted(api, clock, make_job):
    """Every documented field is there, strings unchanged."""
    parameters = make_job(
        "VideoDetext",
        Name="测试",
        TemplateId="template",
        ModelId="algo-video-detext-new",
        UserData='{"test": 1}',
        JobParams='{"Time":[[5,20],[25,43]]}',
        ScheduleConfig={"PipelineId": "pipeline", "Priority": 3},
    )
    reply = await finished(api, clock, parameters)
    for name in ("FunctionName", "Name", "TemplateId", "ModelId", "UserData", "JobParams"):
        assert reply[name] == parameters[name]
    assert reply["Input"] == {"Type": "OSS", "Media": "oss://bucket/in/movie.wav"}
    assert reply["Output"] == json.loads(parameters["Output"])
    assert reply["ScheduleConfig"] == {"PipelineId": "pipeline", "Priority": 3}
    assert reply["CreateTime"] == "2026-01-01T00:00:00Z"
    assert reply["FinishTime"] == "2026-01-01T00:01:40Z"
    assert reply["Status"] == "Success"
    assert reply["RequestId"]


async def test_unfinished_job_has_no_finish_time_and_no_files(api, make_job):
    """Nothing is made before the end, and what was not submitted is absent."""
    reply = (await api.query(await submit(api, make_job()))).json
    assert reply["OutputFiles"] == reply["OutputUrls"] == reply["OutputMediaIds"] == []
    assert not reply.keys() & {"FinishTime", "Result", "Name", "UserData", "JobParams", "ModelId"}
    assert reply["ScheduleConfig"]["Priority"] == 6


@pytest.mark.parametrize("function", ALGORITHMS)
async def test_every_algorithm_ends_with_its_files_and_a_result(api, clock, make_job, function):
    """Files are one for each {resultType}, and Result is always JSON."""
    reply = await finished(api, clock, make_job(function))
    assert len(reply["OutputFiles"]) == len(reply["OutputUrls"]) == len(ALGORITHMS[function].files)
    assert all(file.startswith("oss://bucket/out/movie-") for file in reply["OutputFiles"])
    json.loads(reply["Result"])


async def test_cover_makes_numbered_files(api, clock, make_job):
    """{sequenceId} tells covers apart, and Result lists them."""
    output = {"Type": "OSS", "Media": "oss://bucket/c/{source}-{sequenceId}.png"}
    reply = await finished(api, clock, make_job("Cover", Output=output))
    assert reply["OutputFiles"] == [f"oss://bucket/c/movie-0000{n}.png" for n in (1, 2, 3)]
    assert [cover["Url"] for cover in json.loads(reply["Result"])] == [
        f"c/movie-0000{n}.png" for n in (1, 2, 3)
    ]


async def test_cover_without_sequence_id_overwrites_its_own_file(api, clock, make_job):
    """The trap of the real service is kept."""
    output = {"Type": "OSS", "Media": "oss://bucket/cover.png"}
    reply = await finished(api, clock, make_job("Cover", Output=output))
    assert reply["OutputFiles"] == ["oss://bucket/cover.png"] * 3


async def test_demix_makes_vocals_and_accompaniment(api, clock, make_job):
    """{resultType} tells the two files apart."""
    output = {"Type": "OSS", "Media": "oss://bucket/{source}/{resultType}.wav"}
    reply = await finished(api, clock, make_job("MusicDemix", Output=output))
    assert reply["OutputFiles"] == [
        "oss://bucket/movie/vocal.wav",
        "oss://bucket/movie/accompaniment.wav",
    ]


async def test_summary_has_the_documented_result(api, clock, make_job):
    """VideoClip lists time ranges as strings of seconds."""
    reply = await finished(api, clock, make_job("VideoClip"))
    assert json.loads(reply["Result"]) == {
        "VideoSummaryList": [{"StartTime": "0.28", "EndTime": "5.28"}]
    }


async def test_quality_assessment_has_scores_and_no_files(api, clock, make_job):
    """Its result is in the query's answer only."""
    reply = await finished(api, clock, make_job("AudioQualityAssessment"))
    assert reply["OutputFiles"] == reply["OutputUrls"] == []
    assert json.loads(reply["Result"])["Score"] > 0


async def test_placeholders_in_an_input_name_stay_as_they_are(api, clock, make_job):
    """Only the output path is a template."""
    media = {"Type": "OSS", "Media": "oss://bucket/{resultType}.mp4"}
    output = {"Type": "OSS", "Media": "oss://bucket/{source}-{timestamp}.mp4"}
    reply = await finished(api, clock, make_job(Input=media, Output=output))
    assert reply["OutputFiles"] == ["oss://bucket/{resultType}-1767225700.mp4"]


async def test_output_urls_look_presigned_and_live_an_hour(api, clock, make_job):
    """They are https addresses with Expires and Signature."""
    output = {"Type": "OSS", "Media": "https://bucket.oss-cn-shanghai.aliyuncs.com/a b.mp4"}
    reply = await finished(api, clock, make_job(Output=output))
    assert reply["OutputFiles"] == [output["Media"]]
    url = urlsplit(reply["OutputUrls"][0])
    assert (url.scheme, url.netloc) == ("https", "bucket.oss-cn-shanghai.aliyuncs.com")
    assert url.path == "/a%20b.mp4"
    query = parse_qs(url.query)
    assert query.keys() == {"Expires", "OSSAccessKeyId", "Signature"}
    assert int(query["Expires"][0]) == int(clock()) + 3600


@pytest.mark.parametrize("media", [None, "", "0123456789abcdef0123456789abcdef"])
async def test_media_output_has_media_ids(api, clock, make_job, media):
    """A given asset is kept, an empty one is made, and Output names it."""
    output = {"Type": "Media"} | ({} if media is None else {"Media": media})
    reply = await finished(api, clock, make_job(Output=output))
    (media_id,) = reply["OutputMediaIds"]
    assert len(media_id) == 32
    assert media_id == (media or media_id)
    assert reply["Output"]["Media"] == media_id
    assert len(reply["OutputFiles"]) == 1


async def test_media_output_goes_to_its_output_url(api, clock, make_job):
    """OutputUrl is the path of the file behind the asset."""
    output = {"Type": "Media", "OutputUrl": "oss://bucket/{source}.mp4"}
    reply = await finished(api, clock, make_job(Output=output))
    assert reply["OutputFiles"] == ["oss://bucket/movie.mp4"]


async def test_cancelled_job_fails(api, clock, make_job):
    """A later query says Fail, from the moment of the cancel."""
    job_id = await submit(api, make_job())
    clock.advance(30)
    answer = await api.cancel(job_id)
    assert (answer.status, answer.json["Message"]) == (200, "success")
    reply = (await api.query(job_id)).json
    assert (reply["Status"], reply["FinishTime"]) == ("Fail", "2026-01-01T00:00:30Z")
    clock.advance(1000)
    assert (await api.query(job_id)).json["Status"] == "Fail"


async def test_finished_job_stays_as_it_ended_when_cancelled(api, clock, make_job):
    """There is nothing left to cancel."""
    job_id = await submit(api, make_job())
    clock.advance(100)
    assert (await api.cancel(job_id)).status == 200
    assert (await api.query(job_id)).json["Status"] == "Success"


async def test_never_finishing_job_can_be_cancelled(api, clock, make_job):
    """A cancel is the only end of a job that hangs."""
    api.emulator.add_fault(FaultPlan(FaultKind.NEVER_FINISH))
    job_id = await submit(api, make_job())
    clock.advance(1e6)
    assert (await api.query(job_id)).json["Status"] == "Analyzing"
    await api.cancel(job_id)
    assert (await api.query(job_id)).json["Status"] == "Fail"


@pytest.mark.parametrize("action", ["query", "cancel"])
async def test_unknown_job_is_not_found(api, make_job, action):
    """Neither a made-up id nor another account's job can be seen."""
    job_id = await submit(api, make_job())
    for unknown, how in (("0" * 32, {}), (job_id, {"key": "OTHER", "secret": "other"})):
        answer = await getattr(api, action)(unknown, **how)
        assert (answer.status, answer.code) == (400, "InvalidParameter.JobNotFound")
    assert (await getattr(api, action)(job_id, key="AKID2")).status == 200
