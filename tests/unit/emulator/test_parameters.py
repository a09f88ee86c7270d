"""What a submit may say, for every algorithm, and the code of every refusal."""

import json

import pytest

from ims_gateway.emulator.algorithms import ALGORITHMS
from ims_gateway.emulator.envelope import Refusal
from ims_gateway.emulator.parameters import check_submit, read_job_id

DETEXT_NEW = "algo-video-detext-new"

# FunctionName, JobParams (None is absent), other parameters.
GOOD = [
    ("Cover", None, {}),
    ("Cover", {}, {}),
    ("Cover", {"Model": ""}, {}),
    ("Cover", {"Model": "gif"}, {}),
    ("VideoClip", None, {}),
    ("VideoDelogo", {"LogoModel": "tv"}, {}),
    ("VideoDelogo", {"LogoModel": "tv,internet"}, {}),
    ("VideoDelogo", {"Boxes": "[[0, 0, 0.3, 0.3], [0.7, 0, 0.3, 0.3]]"}, {}),
    ("VideoDetext", {"LimitRegion": [[0, 0, 0.3, 0.3], [0.7, 0, 0.3, 0.3]]}, {}),
    ("VideoDetext", {"LimitRegion": [[0, 0.7, 1, 0.3]] * 5, "Time": [5, 20]}, {}),
    ("VideoDetext", {"LimitRegion": [[0.6000000238418579, 0, 0.4000000059604645, 1]]}, {}),
    ("VideoDetext", {"LimitRegion": [[0, 0.6000000238418579, 1, 0.4000000059604645]]}, {}),
    ("VideoDetext", {"Time": [0, 0.5]}, {"ModelId": DETEXT_NEW}),
    ("VideoDetext", {"Time": [[5, 20], [25, 43], [51, 80]]}, {"ModelId": DETEXT_NEW}),
    ("VideoDetext", None, {"ModelId": ""}),
    ("CaptionExtraction", {"fps": 2, "roi": [[0.5, 1], [0, 1]], "lang": "ch_ml"}, {}),
    ("CaptionExtraction", {"fps": 10, "lang": "ch", "track": "main"}, {}),
    ("CaptionExtraction", {"lang": "en"}, {}),
    ("HybridCaptionExtraction", {"fps": 5, "roi": [0.1, 0.0, 0.3, 0.2], "lang": "zh"}, {}),
    ("HybridCaptionExtraction", {"lang": "en", "track": "main"}, {}),
    ("VideoGreenScreenMatting", None, {}),
    ("VideoGreenScreenMatting", {"bgimage": "http://images.example.com/a/b.jpg"}, {}),
    ("VideoGreenScreenMatting", {"bgimage": "oss://bucket/a/b.jpg"}, {}),
    ("FaceBeauty", None, {}),
    ("FaceBeauty", {"beauty_params": "whiten=20,smooth=50,face_thin=50"}, {}),
    ("FaceBeauty", {"beauty_params": "threshold=0.85,hair_line=-100,min_face=1024"}, {}),
    ("VideoH2V", None, {}),
    ("MusicSegmentDetect", None, {}),
    ("AudioBeatDetection", None, {}),
    ("AudioQualityAssessment", None, {}),
    ("SpeechDenoise", None, {}),
    ("SpeechDenoise", None, {"Input": {"Type": "Media", "Media": "0123456789abcdef"}}),
    ("AudioMixing", {"inputs": [{"file": "oss://bucket/b.mp3"}]}, {}),
    ("AudioMixing", {"inputs": [{"file": "http://b.oss-cn-shanghai.aliyuncs.com/2.mp4"}]}, {}),
    ("AudioMixing", None, {"TemplateId": "template"}),
    ("MusicDemix", None, {}),
]

# FunctionName, JobParams (text is sent as it is).
BAD_JOB_PARAMS = [
    ("Cover", {"Model": "png"}),
    ("Cover", {"Model": 1}),
    ("Cover", {"model": "gif"}),
    ("Cover", "[]"),
    ("Cover", "gif"),
    ("Cover", ""),
    ("VideoClip", {}),
    ("VideoDelogo", {"LogoModel": "radio"}),
    ("VideoDelogo", {"LogoModel": ""}),
    ("VideoDelogo", {"LogoModel": ["tv"]}),
    ("VideoDelogo", {"Boxes": [[0, 0, 0.3, 0.3]]}),
    ("VideoDelogo", {"Boxes": "0, 0, 0.3, 0.3"}),
    ("VideoDelogo", {"Boxes": "[]"}),
    ("VideoDelogo", {"Boxes": "[0, 0, 0.3, 0.3]"}),
    ("VideoDelogo", {"Boxes": "[[0, 0, 0.1, 0.1], [0, 0, 0.1, 0.1], [0, 0, 0.1, 0.1]]"}),
    ("VideoDelogo", {"Boxes": "[[NaN, 0, 0.1, 0.1]]"}),
    ("VideoDelogo", {"Boxes": "[" * 100_000}),
    ("VideoDetext", {"LimitRegion": "[[0, 0, 0.3, 0.3]]"}),
    ("VideoDetext", {"LimitRegion": []}),
    ("VideoDetext", {"LimitRegion": [[0, 0, 0.3]]}),
    ("VideoDetext", {"LimitRegion": [[0, 0, 0.3, True]]}),
    ("VideoDetext", {"LimitRegion": [[0, 0, 0.3, "0.3"]]}),
    ("VideoDetext", {"LimitRegion": [[0.8, 0, 0.3, 0.3]]}),
    ("VideoDetext", {"LimitRegion": [[0, 0.8, 0.3, 0.3]]}),
    ("VideoDetext", {"LimitRegion": [[-0.1, 0, 0.3, 0.3]]}),
    ("VideoDetext", {"LimitRegion": [[0, 0, 0, 0.3]]}),
    ("VideoDetext", {"Time": [[5, 20], [25, 43]]}),
    ("VideoDetext", {"Time": [[5, 20]]}),
    ("VideoDetext", {"Time": [20, 5]}),
    ("VideoDetext", {"Time": [-1, 5]}),
    ("VideoDetext", {"Time": [5]}),
    ("VideoDetext", {"Time": []}),
    ("VideoDetext", {"Time": "[5, 20]"}),
    ("VideoDetext", '{"Time": [5, 1e999]}'),
    ("VideoDetext", '{"Time": [NaN, 5]}'),
    ("CaptionExtraction", {"fps": 1}),
    ("CaptionExtraction", {"fps": 11}),
    ("CaptionExtraction", {"fps": 5.0}),
    ("CaptionExtraction", {"fps": "5"}),
    ("CaptionExtraction", {"fps": True}),
    ("CaptionExtraction", {"roi": [0.1, 0.0, 0.3, 0.2]}),
    ("CaptionExtraction", {"roi": [[0.5, 1]]}),
    ("CaptionExtraction", {"roi": [[0.5, 1], [0, 1], [0, 1]]}),
    ("CaptionExtraction", {"roi": [[1, 0.5], [0, 1]]}),
    ("CaptionExtraction", {"roi": [[0.5, 1], [0, 1.5]]}),
    ("CaptionExtraction", {"roi": "[[0.5, 1], [0, 1]]"}),
    ("CaptionExtraction", {"lang": "zh"}),
    ("CaptionExtraction", {"track": "all"}),
    ("HybridCaptionExtraction", {"roi": [[0.5, 1], [0, 1]]}),
    ("HybridCaptionExtraction", {"lang": "ch"}),
    ("HybridCaptionExtraction", {"lang": ["zh"]}),
    ("VideoGreenScreenMatting", {"bgimage": "file:///etc/passwd"}),
    ("VideoGreenScreenMatting", {"bgimage": 5}),
    ("VideoGreenScreenMatting", {"bgImage": "http://images.example.com/a.jpg"}),
    ("FaceBeauty", {"beauty_params": ""}),
    ("FaceBeauty", {"beauty_params": {"whiten": 20}}),
    ("FaceBeauty", {"beauty_params": "whiten:20"}),
    ("FaceBeauty", {"beauty_params": "whiten=20,"}),
    ("FaceBeauty", {"beauty_params": "whiten=20, smooth=50"}),
    ("FaceBeauty", {"beauty_params": "whiten=101"}),
    ("FaceBeauty", {"beauty_params": "whiten=-1"}),
    ("FaceBeauty", {"beauty_params": "whiten=20.5"}),
    ("FaceBeauty", {"beauty_params": "whiten=20,whiten=30"}),
    ("FaceBeauty", {"beauty_params": "glamour=20"}),
    ("FaceBeauty", {"beauty_params": "threshold=1.5"}),
    ("FaceBeauty", {"beauty_params": "detect_interval=0"}),
    ("VideoH2V", {}),
    ("MusicSegmentDetect", {"Model": "gif"}),
    ("AudioBeatDetection", {}),
    ("AudioQualityAssessment", {}),
    ("SpeechDenoise", {}),
    ("AudioMixing", {}),
    ("AudioMixing", {"inputs": []}),
    ("AudioMixing", {"inputs": {"file": "oss://bucket/b.mp3"}}),
    ("AudioMixing", {"inputs": ["oss://bucket/b.mp3"]}),
    ("AudioMixing", {"inputs": [{"file": "oss://bucket/b.mp3"}] * 2}),
    ("AudioMixing", {"inputs": [{"file": "oss://bucket/b.mp3", "volume": 1}]}),
    ("AudioMixing", {"inputs": [{"file": "b.mp3"}]}),
    ("AudioMixing", {"inputs": [{"file": "https://b.oss-cn-beijing.aliyuncs.com/2.mp4"}]}),
    ("MusicDemix", {}),
]


def oss(address):
    """Return a media object of type OSS."""
    return {"Type": "OSS", "Media": address}


# Code, what is wrong.
BAD = [
    ("MissingParameter.FunctionName", {"FunctionName": None}),
    ("MissingParameter.FunctionName", {"FunctionName": ""}),
    ("MissingParameter.Input", {"Input": None}),
    ("MissingParameter.Input", {"Input": ""}),
    ("MissingParameter.Output", {"Output": None}),
    ("InvalidParameter.FunctionNotSupported", {"FunctionName": "VideoUpscale"}),
    ("InvalidParameter.FunctionNotSupported", {"FunctionName": "videoh2v"}),
    ("InvalidParameter", {"ClientToken": "token"}),
    ("InvalidParameter", {"input": "{}"}),
    ("InvalidParameter.Input", {"Input": "oss://bucket/object"}),
    ("InvalidParameter.Input", {"Input": "[" * 100_000}),
    ("InvalidParameter.Input", {"Input": '{"Type":"Media","Media":"\\ud83d"}'}),
    ("InvalidParameter.Input", {"Input": []}),
    ("InvalidParameter.Input", {"Input": {"Type": "OSS"}}),
    ("InvalidParameter.Input", {"Input": {"Media": "oss://bucket/object"}}),
    ("InvalidParameter.Input", {"Input": {"Type": "Media", "Media": ""}}),
    ("InvalidParameter.Input", {"Input": {"Type": "URL", "Media": "oss://bucket/object"}}),
    ("InvalidParameter.Input", {"Input": {"type": "OSS", "media": "oss://bucket/object"}}),
    ("InvalidParameter.Input", {"Input": oss("oss://bucket/a") | {"Biz": "IMS"}}),
    ("InvalidParameter.Input", {"Input": oss(5)}),
    ("InvalidParameter.Input", {"Input": oss("oss://bucket")}),
    ("InvalidParameter.Input", {"Input": oss("oss://bucket/")}),
    ("InvalidParameter.Input", {"Input": oss("oss://Bucket/object")}),
    ("InvalidParameter.Input", {"Input": oss("s3://bucket/object")}),
    ("InvalidParameter.Input", {"Input": oss("bucket/object")}),
    ("InvalidParameter.Input", {"Input": oss("https://example.com/object")}),
    ("InvalidParameter.Input", {"Input": oss("https://b.oss-cn-beijing.aliyuncs.com/object")}),
    ("InvalidParameter.Input", {"Input": oss("https://b.oss-cn-shanghai.aliyuncs.com/")}),
    ("InvalidParameter.Input", {"Input": oss("https://b.oss-cn-shanghai.aliyuncs.com/o?x=1")}),
    ("InvalidParameter.Input", {"Input": oss("https://b.oss-cn-shanghai.aliyuncs.com.evil.io/o")}),
    ("InvalidParameter.Output", {"Output": oss("")}),
    ("InvalidParameter.Output", {"Output": {"Type": "OSS"}}),
    ("InvalidParameter.Output", {"Output": oss("oss://bucket/{name}.mp4")}),
    ("InvalidParameter.Output", {"Output": oss("oss://bucket/{}.mp4")}),
    ("InvalidParameter.Output", {"Output": oss("oss://bucket/{Source}.mp4")}),
    ("InvalidParameter.Output", {"Output": oss("https://b.oss-cn-beijing.aliyuncs.com/o")}),
    ("InvalidParameter.Output", {"Output": oss("oss://bucket/o") | {"Biz": "OSS"}}),
    ("InvalidParameter.Output", {"Output": oss("oss://bucket/o") | {"OutputUrl": "oss://b/o"}}),
    ("InvalidParameter.Output", {"Output": {"Type": "Media", "OutputUrl": "somewhere"}}),
    ("InvalidParameter.Output", {"Output": {"Type": "Media", "OutputUrl": "oss://b/{who}"}}),
    ("InvalidParameter.Output", {"Output": {"Type": "Media", "OutputUrl": ""}}),
    ("InvalidParameter.ModelId", {"ModelId": DETEXT_NEW}),
    ("InvalidParameter.ModelId", {"FunctionName": "VideoDetext", "ModelId": "other"}),
    ("InvalidParameter.Name", {"Name": "n" * 101}),
    ("InvalidParameter.UserData", {"UserData": "u" * 257}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": {"Priority": 0}}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": {"Priority": 11}}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": {"Priority": "6"}}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": {"Priority": True}}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": {"Priority": 6.0}}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": {"PipelineId": 5}}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": {"Pipeline": "p"}}),
    ("InvalidParameter.ScheduleConfig", {"ScheduleConfig": ""}),
]

GOOD_DETAILS = [
    {"Name": "测" * 100, "UserData": "试" * 256, "TemplateId": "t"},
    {"Name": "", "UserData": ""},
    {"ScheduleConfig": {"PipelineId": "p", "Priority": 1}},
    {"ScheduleConfig": {"Priority": 10}},
    {"ScheduleConfig": {}},
    {"Input": {"Type": "Media", "Media": "0123456789abcdef"}},
    {"Input": oss("https://bucket.oss-cn-shanghai.aliyuncs.com/a/b c.mp4")},
    {"Input": '{"Type":"OSS","Media":"oss://bucket/\\ud83d\\ude00"}'},
    {"Input": oss("http://bucket.oss-cn-shanghai.aliyuncs.com/a{b}")},
    {"Output": oss("oss://b/{source}-{timestamp}-{sequenceId}-{resultType}.mp4")},
    {"Output": {"Type": "Media"}},
    {"Output": {"Type": "Media", "Media": "", "Biz": "VOD"}},
    {"Output": {"Type": "Media", "Media": "0123456789abcdef", "OutputUrl": "oss://b/{source}"}},
]


@pytest.mark.parametrize(("function", "params", "others"), GOOD)
def test_documented_jobs_are_accepted(function, params, others, make_job):
    """Whatever the API page allows passes."""
    changes = others if params is None else {"JobParams": params} | others
    parameters = make_job(function, **changes)
    if params is None and "TemplateId" in others:
        del parameters["JobParams"]
    check_submit(parameters, "cn-shanghai")


@pytest.mark.parametrize(("function", "params"), BAD_JOB_PARAMS)
def test_job_params_must_be_as_documented(function, params, make_job):
    """A member of the wrong type or range, or one too many, is refused."""
    with pytest.raises(Refusal) as refusal:
        check_submit(make_job(function, JobParams=params), "cn-shanghai")
    assert refusal.value.code == "InvalidParameter.JobParams"
    assert refusal.value.status == 400


@pytest.mark.parametrize(("code", "changes"), BAD)
def test_other_parameters_must_be_as_documented(code, changes, make_job):
    """The code names the parameter that is missing or wrong."""
    function = changes.get("FunctionName", "VideoH2V")
    with pytest.raises(Refusal) as refusal:
        check_submit(make_job(**{**changes, "function": function}), "cn-shanghai")
    assert refusal.value.code == code


@pytest.mark.parametrize("changes", GOOD_DETAILS)
def test_other_parameters_may_be_all_that_is_documented(changes, make_job):
    """Lengths, media ids, both address forms and every placeholder pass."""
    check_submit(make_job(**changes), "cn-shanghai")


def test_every_algorithm_is_covered_here():
    """A new row of the table needs good and bad jobs."""
    assert {function for function, *_ in GOOD} == set(ALGORITHMS)
    assert {function for function, _ in BAD_JOB_PARAMS} == set(ALGORITHMS)
    assert len(ALGORITHMS) == 15


def test_mixing_needs_a_second_track(make_job):
    """AudioMixing without JobParams has nothing to mix."""
    with pytest.raises(Refusal) as refusal:
        check_submit(make_job("AudioMixing", JobParams=None), "cn-shanghai")
    assert refusal.value.code == "MissingParameter.JobParams"


def test_denoising_reads_wav_only(make_job):
    """SpeechDenoise refuses an OSS object of another kind."""
    with pytest.raises(Refusal) as refusal:
        check_submit(make_job("SpeechDenoise", Input=oss("oss://bucket/a.mp3")), "cn-shanghai")
    assert refusal.value.code == "InvalidParameter.Input"
    check_submit(make_job("SpeechDenoise", Input=oss("oss://bucket/a.WAV")), "cn-shanghai")


@pytest.mark.parametrize(
    "output",
    [oss("oss://bucket/{source}.wav"), {"Type": "Media", "OutputUrl": "oss://bucket/{source}"}],
)
def test_demix_needs_result_type_in_its_path(output, make_job):
    """Vocals and accompaniment would overwrite each other."""
    with pytest.raises(Refusal) as refusal:
        check_submit(make_job("MusicDemix", Output=output), "cn-shanghai")
    assert refusal.value.code == "InvalidParameter.Output"
    check_submit(make_job("MusicDemix", Output={"Type": "Media"}), "cn-shanghai")


def test_cover_may_overwrite_its_own_files(make_job):
    """The page only recommends {sequenceId}, so its absence is no error."""
    check_submit(make_job("Cover", Output=oss("oss://bucket/cover.png")), "cn-shanghai")


@pytest.mark.parametrize("region", ["cn-shanghai", "cn-beijing", "cn-hangzhou"])
def test_three_regions_run_the_functions(region, make_job):
    """The region of the endpoint is the one of its buckets."""
    address = f"https://b.oss-{region}.aliyuncs.com/object"
    check_submit(make_job(Input=oss(address)), region)


def test_other_regions_do_not(make_job):
    """Elsewhere every function is unsupported."""
    with pytest.raises(Refusal) as refusal:
        check_submit(make_job(), "ap-southeast-1")
    assert refusal.value.code == "InvalidParameter.FunctionNotSupported"


def test_refusals_quote_no_values(make_job):
    """User data never travels in an error."""
    for _, changes in BAD:
        secret = "do-not-quote-me"
        with pytest.raises(Refusal) as refusal:
            check_submit(
                make_job(**{"function": "VideoH2V", "TemplateId": secret, **changes})
                | {"UserData": secret * 20},
                "cn-shanghai",
            )
        assert secret not in str(refusal.value)


def test_query_and_cancel_take_a_job_id():
    """JobId is required, ClientToken is allowed, nothing else is."""
    assert read_job_id({"JobId": "job", "ClientToken": "t"}) == "job"
    for parameters, code in [
        ({}, "MissingParameter.JobId"),
        ({"JobId": ""}, "MissingParameter.JobId"),
        ({"JobId": "job", "Name": "n"}, "InvalidParameter"),
    ]:
        with pytest.raises(Refusal) as refusal:
            read_job_id(parameters)
        assert refusal.value.code == code


async def test_refusal_of_parameters_reaches_the_caller(api, make_job):
    """The envelope has all five members and the code of the parameter."""
    answer = await api.submit(make_job(ScheduleConfig={"Priority": 99}))
    assert answer.status == 400
    assert set(answer.json) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    assert answer.code == "InvalidParameter.ScheduleConfig"
    assert answer.json["HostId"] == api.signer.host
    assert json.dumps(api.emulator.counts.document()["SubmitIProductionJob"]["refused"]) == (
        '{"InvalidParameter.ScheduleConfig": 1}'
    )
