import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from ims_gateway_client.cli.contract import ALGORITHMS
from ims_gateway_client.cli.flags import algorithm_flags, flag_behind, job_flags
from ims_gateway_client.cli.values import parse, render
from imsgateway.v1.job_pb2 import Job

ARMS = {arm.name: arm for arm in ALGORITHMS}


def _build(arm: str, **texts: Any) -> Job:
    """Set flags as imsctl does; underscores stand for dashes."""
    flags = {flag.name: flag for flag in [*algorithm_flags(ARMS[arm]), *job_flags()]}
    job = Job()
    getattr(job, arm).SetInParent()
    for name, text in texts.items():
        flags[name.replace("_", "-")].set(job, [text] if isinstance(text, str) else text)
    return job


def _read(written: dict[str, Any]) -> Job:
    return json_format.ParseDict(written, Job())


@pytest.mark.parametrize(
    ("arm", "texts", "expected"),
    [
        (
            "cover",
            {"input": "oss://b/in.mp4", "output": "oss://b/{sequenceId}.gif", "format": "gif"},
            {
                "input": {"ossUri": "oss://b/in.mp4"},
                "output": {"uri": "oss://b/{sequenceId}.gif"},
                "format": "FORMAT_GIF",
            },
        ),
        ("video_clip", {"input_media_id": "abc"}, {"input": {"mediaId": "abc"}}),
        (
            "video_clip",
            {"output_media_asset": "a1", "output_media_asset_biz": "vod"},
            {"output": {"mediaAsset": {"mediaId": "a1", "biz": "BIZ_VOD"}}},
        ),
        ("video_clip", {"output_media_asset": ""}, {"output": {"mediaAsset": {}}}),
        (
            "video_delogo",
            {"logo_models": ["tv,internet"], "boxes": ["0,0,0.3,0.3", "0.7,0,.3,3e-1"]},
            {
                "logoModels": ["LOGO_MODEL_TV", "LOGO_MODEL_INTERNET"],
                "boxes": [{"width": 0.3, "height": 0.3}, {"x": 0.7, "width": 0.3, "height": 0.3}],
            },
        ),
        (
            "video_detext",
            {"time_ranges": ["5-20,25.5-43", "51-80"], "model": "NEW"},
            {
                "timeRanges": [
                    {"startSeconds": 5.0, "endSeconds": 20.0},
                    {"startSeconds": 25.5, "endSeconds": 43.0},
                    {"startSeconds": 51.0, "endSeconds": 80.0},
                ],
                "model": "MODEL_NEW",
            },
        ),
        (
            "caption_extraction",
            {"roi": "0.5,1,0,1", "fps": "5", "language": "chinese-english", "track": "main"},
            {
                "roi": {"top": 0.5, "bottom": 1.0, "right": 1.0},
                "fps": 5,
                "language": "LANGUAGE_CHINESE_ENGLISH",
                "track": "CAPTION_TRACK_MAIN",
            },
        ),
        (
            "face_beauty",
            {"parameters": "whiten=20,smooth=0,skin_beauty_enable=false,detect_mode=video"},
            {
                "parameters": {
                    "whiten": 20,
                    "smooth": 0,
                    "skinBeautyEnable": False,
                    "detectMode": "DETECT_MODE_VIDEO",
                }
            },
        ),
        ("face_beauty", {"parameters": '{"eyeSize": 7}'}, {"parameters": {"eyeSize": 7}}),
        ("face_beauty", {"parameters": ""}, {"parameters": {}}),
        (
            "audio_mixing",
            {"tracks": ["http://b.oss-cn-shanghai.aliyuncs.com/a,b=c.wav"]},
            {"tracks": [{"fileUri": "http://b.oss-cn-shanghai.aliyuncs.com/a,b=c.wav"}]},
        ),
    ],
)
def test_flags_are_written_as_people_write_them(arm, texts, expected):
    """Boxes, ranges, words, names and values: each shape has one natural text."""
    assert _build(arm, **texts) == _read({arm: expected})


def test_flags_of_every_job_stand_beside_the_algorithm():
    """Priority, labels and the rest belong to the job and not to its algorithm."""
    job = _build(
        "video_h2v",
        display_name="Nightly",
        user_data='{"a": 1}',
        priority="6",
        pipeline_id="p",
        template_id="t",
        labels=["team=blue", "note=a=b, c", "empty="],
    )
    assert job == Job(
        video_h2v={},
        display_name="Nightly",
        user_data='{"a": 1}',
        priority=6,
        pipeline_id="p",
        template_id="t",
        labels={"team": "blue", "note": "a=b, c", "empty": ""},
    )


@pytest.mark.parametrize(
    ("arm", "flag", "text", "message"),
    [
        ("cover", "format", "png", "'png' is not one of gif"),
        ("cover", "format", "unspecified", "is not one of gif"),
        ("video_detext", "time-ranges", "5:20", "'5:20' is not start-end, such as 5-20"),
        ("video_detext", "time-ranges", "5-", "'5-' is not start-end"),
        ("video_detext", "limit-regions", "0,0,1", "'0,0,1' is not x,y,width,height"),
        ("video_detext", "limit-regions", "0,0,1,wide", "'wide' is not a number"),
        ("caption_extraction", "fps", "2.5", "'2.5' is not a whole number"),
        ("caption_extraction", "fps", "99999999999", "out of range"),
        ("face_beauty", "parameters", "whiten", "'whiten' is not name=value"),
        ("face_beauty", "parameters", "nose=1", "'nose' is not one of skin_beauty_enable"),
        ("face_beauty", "parameters", "skin_beauty_enable=maybe", "is not one of true"),
        ("face_beauty", "parameters", '{"nose": 1}', "is not the JSON of a Parameters"),
        ("cover", "labels", "team", "'team' is not key=value"),
    ],
)
def test_a_text_that_is_no_value_is_named(arm, flag, text, message):
    """The error repeats what was typed and says what would do."""
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        _build(arm, **{flag: text})


def test_two_of_a_oneof_are_refused():
    """--input and --input-media-id together would silently lose one."""
    with pytest.raises(ValueError, match="beside another of oss_uri, media_id"):
        _build("cover", input="oss://b/a.mp4", input_media_id="abc")


def test_help_says_what_a_value_may_be():
    """Types and rules of the contract stand in for its comments."""
    texts = {
        f"{arm} {flag.name}": f"{flag.metavar}: {flag.help}"
        for arm in ("cover", "caption_extraction", "video_delogo", "audio_mixing")
        for flag in algorithm_flags(ARMS[arm])
    } | {flag.name: f"{flag.metavar}: {flag.help}" for flag in job_flags()}
    assert texts["cover input"] == "URI: OSS address that the job reads; required"
    assert texts["cover input-media-id"].endswith("instead of --input")
    assert "holding {sequenceId}, of type png or gif" in texts["cover output"]
    assert texts["caption_extraction fps"] == "NUMBER: 2 to 10"
    assert "chinese or english or chinese-english" in texts["caption_extraction language"]
    assert texts["video_delogo boxes"].startswith("X,Y,WIDTH,HEIGHT: x 0 to 1, y 0 to 1, width")
    assert texts["video_delogo boxes"].endswith("at most 2 times")
    assert texts["audio_mixing tracks"].startswith("URI: OSS address")
    assert texts["audio_mixing tracks"].endswith("once; required")
    assert texts["priority"] == "NUMBER: 1 to 10"
    assert texts["labels"] == "KEY=VALUE: at most 16 times"


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        ("job.cover.output.uri", "--output"),
        ("job.cover.output.media_asset.biz", "--output-media-asset-biz"),
        ("job.cover.input.source", "--input"),
        ("job.cover.input", "--input"),
        ("job.video_detext.limit_regions[1].x", "--limit-regions"),
        ("job.face_beauty.parameters.whiten", "--parameters"),
        ('job.labels["a.b[0]"]', "--labels"),
        ("job.priority", "--priority"),
        ("job.cover", ""),
        ("job", ""),
        ("request_id", ""),
        ("", ""),
    ],
)
def test_a_violation_is_traced_to_its_flag(path, flag):
    """People correct what they typed, not a path."""
    assert flag_behind(path) == flag


def test_a_new_algorithm_needs_no_change():
    """Flags come of the descriptors alone, whatever types a later message holds."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="later.proto", package="later", syntax="proto3")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="name", number=1, type=kinds.TYPE_STRING, label=1)
    inner.field.add(name="sizes", number=2, type=kinds.TYPE_INT64, label=3)
    later = file.message_type.add(name="Later")
    for number, (name, kind, label) in enumerate(
        [
            ("loud", kinds.TYPE_BOOL, 1),
            ("big", kinds.TYPE_UINT64, 1),
            ("ratio", kinds.TYPE_FLOAT, 1),
            ("words", kinds.TYPE_STRING, 3),
            ("nested", kinds.TYPE_MESSAGE, 1),
        ],
        start=1,
    ):
        added = later.field.add(name=name, number=number, type=kind, label=label)
    added.type_name = ".later.Inner"
    job = file.message_type.add(name="Job")
    job.field.add(
        name="later", number=1, type=kinds.TYPE_MESSAGE, label=1, type_name=".later.Later"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    described = pool.FindMessageTypeByName("later.Job")
    made = message_factory.GetMessageClass(described)()
    texts = {
        "loud": ["true"],
        "big": ["18446744073709551615"],
        "ratio": ["0.5"],
        "words": ["a,b", "c"],
        "nested": ['{"name": "n", "sizes": ["1", "2"]}'],
    }
    flags = algorithm_flags(described.fields_by_name["later"])
    assert [flag.name for flag in flags] == list(texts)
    for flag in flags:
        flag.set(made, texts[flag.name])
    assert made.later.loud is True
    assert made.later.big == 2**64 - 1
    assert made.later.ratio == 0.5
    assert list(made.later.words) == ["a,b", "c"]
    assert (made.later.nested.name, list(made.later.nested.sizes)) == ("n", [1, 2])
    assert json.loads(flags[-1].read(made)[0]) == {"name": "n", "sizes": ["1", "2"]}


@pytest.mark.parametrize("number", [0.0, 0.1, 1 / 3, 1e-7, 1e22, 51.0])
def test_numbers_keep_every_digit(number):
    """What is shown could be typed again."""
    field = ARMS["video_delogo"].message_type.fields_by_name["boxes"]
    box = parse(field, f"{number!r},0,1,1")
    assert parse(field, render(field, box)) == box
