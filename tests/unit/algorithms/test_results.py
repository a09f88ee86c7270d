"""What a reply of the service says about a job."""

import json

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.algorithms.results import (
    JOB_FAILED,
    MAX_MESSAGE_CHARS,
    OUTPUT_NOT_WRITTEN,
    Failure,
    File,
    Progress,
    apply,
    progress,
    storable,
)
from ims_gateway.algorithms.table import TABLE
from imsgateway.v1 import job_pb2, media_pb2

State = job_pb2.Job.State
SENTENCE = "The bucket you are attempting to access must be addressed using the specified endpoint."
SIGNED = (
    "https://b.oss-cn-shanghai.aliyuncs.com/out/e01.mp4?Expires=1&OSSAccessKeyId=x&Signature=y%3D"
)
OUTPUT = {"Type": "OSS", "Media": "oss://b/out/{source}-{timestamp}.mp4"}
REPLY = {
    "Status": "Success",
    "Output": OUTPUT,
    "OutputFiles": ["out/e01.mp4"],
    "OutputMediaIds": ["m1"],
    "OutputUrls": [SIGNED],
    "Result": "{}",
}


def job(field="video_h2v"):
    """Return a job of an algorithm, with nothing in it."""
    wish = job_pb2.Job()
    getattr(wish, field).SetInParent()
    return wish


def applied(reply, field="video_h2v", **options):
    """Return a job with a reply applied to it."""
    wish = job(field)
    apply(wish, progress(reply), **options)
    return wish


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Queuing", State.STATE_QUEUED),
        ("Analyzing", State.STATE_RUNNING),
        ("Analysing", State.STATE_RUNNING),
        ("Init", State.STATE_RUNNING),
        ("Processing", State.STATE_RUNNING),
        ("SomethingNew", State.STATE_RUNNING),
        ("success", State.STATE_RUNNING),
        ("", State.STATE_RUNNING),
        (None, State.STATE_RUNNING),
        (["Success"], State.STATE_RUNNING),
        ("Success", State.STATE_SUCCEEDED),
        ("Fail", State.STATE_FAILED),
    ],
)
def test_a_status_becomes_a_state_and_an_unknown_one_is_not_an_end(status, state):
    """A job that is given up too early is a paid job that is lost."""
    assert progress({"Status": status}).state == state
    assert progress({}).state == State.STATE_RUNNING


def test_files_are_matched_with_their_ids_and_addresses():
    """What the reply lists side by side belongs together."""
    assert progress(REPLY).files == (File("out/e01.mp4", "m1", SIGNED),)


@pytest.mark.parametrize("urls", [[SIGNED, SIGNED], [], None, SIGNED, [7]])
def test_lists_of_different_lengths_are_not_matched(urls):
    """No address is better than the address of another file."""
    assert progress({**REPLY, "OutputUrls": urls}).files == (File("out/e01.mp4", "m1"),)


def test_media_assets_without_files_are_files_too():
    """An output that becomes a media asset may be reported by its id alone."""
    reply = {"Status": "Success", "OutputFiles": [], "OutputMediaIds": ["m1", "m2"]}

    assert progress(reply).files == (File("", "m1"), File("", "m2"))


@pytest.mark.parametrize(
    "files", [[SENTENCE], ["out/e01.mp4", SENTENCE], ["AccessDenied: no such bucket"]]
)
def test_a_success_that_reports_an_error_sentence_is_a_failure(files):
    """An output bucket in the wrong region ends like this (wire facts)."""
    reading = progress({**REPLY, "OutputFiles": files})

    assert reading.state == State.STATE_FAILED
    assert reading.failure == Failure(OUTPUT_NOT_WRITTEN, files[-1])
    assert reading.files == ()


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("out/e01.mp4", None),
        ("e01", None),
        ("oss://b/out/my video", None),
        ("http://b.oss-cn-shanghai.aliyuncs.com/my video", None),
        ("elsewhere/my video.MP4", OUTPUT),
        ("elsewhere/my video.mp4", json.dumps(OUTPUT)),
        ("/out/my video", OUTPUT),
        ("my song.wav", {"Type": "Media", "OutputUrl": "https://b/{source}.wav"}),
    ],
)
def test_a_file_with_a_space_in_its_name_is_no_error_sentence(name, output):
    """Inputs have spaces in their names, and {source} takes them over."""
    reading = progress({"Status": "Success", "OutputFiles": [name], "Output": output})

    assert reading.failure is None
    assert reading.files == (File(name),)


@pytest.mark.parametrize("output", [OUTPUT, {"Type": "OSS", "Media": "oss://b/{source}"}, "{", 7])
def test_an_error_sentence_is_recognised_whatever_was_asked_for(output):
    """The asked-for place excuses spaces in names; it does not excuse sentences."""
    reply = {"Status": "Success", "OutputFiles": [SENTENCE], "Output": output}

    assert progress(reply).failure == Failure(OUTPUT_NOT_WRITTEN, SENTENCE)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"Result": "The video has no frames."}, "The video has no frames."),
        ({"Result": '"decoder error"'}, "decoder error"),
        ({"OutputFiles": [SENTENCE], "Result": "{}"}, SENTENCE),
    ],
)
def test_a_failure_says_what_the_service_says(reply, message):
    """The reply has no field for an error; what text there is, is all that is known."""
    assert progress({"Status": "Fail", **reply}).failure == Failure(JOB_FAILED, message)


@pytest.mark.parametrize("result", [None, "", "{}", '{"a": 1}', 7])
def test_a_failure_without_words_still_has_a_message(result):
    """A person who reads it learns that nothing more is known."""
    reading = progress({"Status": "Fail", "Result": result})

    assert reading.failure is not None
    assert "does not say why" in reading.failure.message


def test_the_message_of_a_failure_is_bounded():
    """A message is for people; the raw result keeps the rest."""
    reading = progress({"Status": "Fail", "Result": "x " * 1000})

    assert reading.failure is not None
    assert len(reading.failure.message) == MAX_MESSAGE_CHARS


@pytest.mark.parametrize("algorithm", TABLE, ids=lambda algorithm: algorithm.field)
def test_files_are_in_the_typed_result_of_every_algorithm_that_makes_some(algorithm):
    """Each algorithm has its own name for what it makes."""
    result = getattr(applied(REPLY, algorithm.field), algorithm.field).result
    expected = [media_pb2.OutputFile(uri="out/e01.mp4", media_id="m1")]

    assert algorithm.files_field is None or list(getattr(result, algorithm.files_field)) == expected


def test_a_job_that_made_nothing_still_has_its_result():
    """A succeeded job always has its typed result, be it empty."""
    done = applied({"Status": "Success"})

    assert done.video_h2v.HasField("result")
    assert not done.HasField("raw_result")


@pytest.mark.parametrize("status", ["Queuing", "Analyzing", "Fail"])
def test_a_job_that_has_not_succeeded_has_no_typed_result(status):
    """Half a result would be taken for a whole one; the raw result is kept."""
    done = applied({**REPLY, "Status": status, "Result": '{"a": 1}'})

    assert not done.video_h2v.HasField("result")
    assert done.raw_result.struct_value["a"] == 1


def test_applying_again_replaces_what_was_there():
    """A later reply is the truth, not an addition to it."""
    done = applied(REPLY)
    apply(done, progress({**REPLY, "OutputFiles": ["out/e02.mp4"]}))
    assert [file.uri for file in done.video_h2v.result.videos] == ["out/e02.mp4"]

    apply(done, progress({"Status": "Analyzing"}))
    assert done == job()


def test_an_address_that_is_no_text_is_still_no_error():
    """A lone surrogate, which JSON can spell, fits into no message."""
    reply = json.loads(json.dumps({**REPLY, "OutputUrls": ["https://b/\ud800"]}))

    [file] = applied(reply, with_download_urls=True).video_h2v.result.videos
    assert file.download_url == "https://b/\N{REPLACEMENT CHARACTER}"


def test_presigned_addresses_are_shown_only_when_asked_for():
    """Whoever holds a presigned address holds the file."""
    asked = applied(REPLY, with_download_urls=True)

    assert [file.download_url for file in asked.video_h2v.result.videos] == [SIGNED]
    assert "Signature" not in str(applied(REPLY))
    assert "Signature" not in repr(progress(REPLY))


def test_a_summary_becomes_time_ranges():
    """StartTime and EndTime are texts of seconds (wire facts)."""
    summary = [{"StartTime": "0.28", "EndTime": "5.28"}, {"StartTime": 7, "EndTime": 8}]
    result = json.dumps({"VideoSummaryList": summary})
    done = applied({**REPLY, "Result": result}, "video_clip")

    assert list(done.video_clip.result.segments) == [
        media_pb2.TimeRange(start_seconds=0.28, end_seconds=5.28),
        media_pb2.TimeRange(start_seconds=7, end_seconds=8),
    ]
    assert [file.uri for file in done.video_clip.result.files] == ["out/e01.mp4"]


@pytest.mark.parametrize(
    "result",
    [
        '{"VideoSummaryList": 7}',
        '{"VideoSummaryList": [7, {}, {"StartTime": "a", "EndTime": "b"}, {"StartTime": []}]}',
        '{"VideoSummaryList": [{"StartTime": "nan", "EndTime": "inf"}]}',
        '["VideoSummaryList"]',
        "VideoSummaryList",
    ],
)
def test_a_malformed_summary_is_left_out_and_kept_raw(result):
    """What cannot be read is not guessed at and not lost."""
    done = applied({**REPLY, "Result": result}, "video_clip")

    assert not done.video_clip.result.segments
    assert done.HasField("raw_result")


def test_an_assessment_is_taken_whole():
    """Nobody documents its members."""
    done = applied({"Status": "Success", "Result": '{"Score": 78.5}'}, "audio_quality_assessment")

    assert done.audio_quality_assessment.result.assessment["Score"] == 78.5


def test_an_assessment_that_is_no_object_is_only_kept_raw():
    """The typed member holds objects."""
    done = applied({"Status": "Success", "Result": "[1]"}, "audio_quality_assessment")

    assert not done.audio_quality_assessment.result.HasField("assessment")
    assert list(done.raw_result.list_value) == [1]


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ('{"a": [1, "x", null, true]}', {"a": [1, "x", None, True]}),
        ("no JSON", "no JSON"),
        ({"a": 1}, {"a": 1}),
        ('{"a": 1e999, "b": NaN}', {"a": None, "b": None}),
        ('{"a": "\\ud800"}', {"a": "\N{REPLACEMENT CHARACTER}"}),
    ],
)
def test_the_raw_result_is_the_parsed_result_or_its_text(result, value):
    """What no typed member holds is still there, in a form that every client can read."""
    raw = applied({**REPLY, "Result": result}).raw_result

    assert json_format.MessageToDict(raw) == value
    assert Value.FromString(raw.SerializeToString()) == raw


def test_a_bottomless_result_can_still_be_sent():
    """Protobuf refuses to read what is nested too deep, so the depth ends before that."""
    for result in ("[" * 5000 + "]" * 5000, '{"a":' * 200 + "1" + "}" * 200):
        done = applied({**REPLY, "Result": result})

        assert job_pb2.Job.FromString(done.SerializeToString()) == done


def test_what_is_stored_reads_like_the_reply():
    """A job that is shown from the store is the job that the service reported."""
    for reply in (REPLY, {**REPLY, "OutputFiles": [SENTENCE]}, {"Status": "Queuing"}):
        shown, stored = job(), job()
        apply(shown, progress(reply))
        apply(stored, progress(json.loads(json.dumps(storable(reply)))))

        assert stored == shown
        assert progress(storable(reply)).failure == progress(reply).failure


KEYS = st.sampled_from(
    ["Status", "Result", "OutputFiles", "OutputMediaIds", "OutputUrls", "Output", "UserData"]
)
WORDS = st.sampled_from(
    ["Success", "Fail", SENTENCE, SIGNED, '{"VideoSummaryList":', "[", "NaN", "1e999"]
)
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | KEYS, inner),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, GARBAGE | st.builds(json.dumps, GARBAGE)))
def test_garbage_is_never_an_error(reply):
    """Whatever the service says, a reading and a job come of it that can be stored and sent."""
    reading = progress(reply)
    for algorithm in TABLE:
        done = job(algorithm.field)
        apply(done, reading, with_download_urls=True)
        assert job_pb2.Job.FromString(done.SerializeToString()) == done
        json_format.MessageToJson(done)

    json.dumps(storable(reply), allow_nan=False).encode()
    assert (reading.failure is not None) == (reading.state == State.STATE_FAILED)


def test_a_reading_without_files_is_the_default():
    """A job in the queue has made nothing."""
    assert progress({"Status": "Queuing"}) == Progress(State.STATE_QUEUED)
