"""Every object that a job touches is found, in one form, wherever its address stands."""

from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from google.api import field_behavior_pb2
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from buf.validate import validate_pb2
from ims_gateway.policy.objects import ObjectAddressError, TouchedObject, touched
from imsgateway.v1 import annotations_pb2, job_pb2

FOLDER = Path(__file__).parents[2] / "cases"
GOOD = {
    f"{path.parent.name}/{path.stem}": document["job"]
    for path in sorted(FOLDER.glob("*/*.yaml"))
    if "upstream" in (document := yaml.safe_load(path.read_text("utf-8")))
}
PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="%?#\\{}")
KEYS = st.text(PLAIN, min_size=1)


def job(**members):
    """Read a job."""
    return json_format.ParseDict(members, job_pb2.Job())


def reading(address):
    """Return a job that reads an address."""
    return job_pb2.Job(cover={"input": {"oss_uri": address}})


def test_every_object_of_a_job_is_found_with_its_path():
    """Input, output, media asset and parameters, each with what the job does with it."""
    found = touched(
        job(
            audio_mixing={
                "input": {"oss_uri": "oss://media-in/a.wav"},
                "output": {
                    "uri": "oss://media-out/{source}.wav",
                    "media_asset": {"media_id": "m1"},
                },
                "tracks": [
                    {"file_uri": "https://media-in.oss-cn-shanghai.aliyuncs.com/b%20c.wav"},
                    {"file_uri": "http://media-out.oss-cn-beijing.aliyuncs.com/d.wav"},
                ],
            }
        )
    )

    arm = "job.audio_mixing"
    assert sorted(found, key=lambda each: each.field_path) == [
        TouchedObject("read", "oss://media-in/a.wav", f"{arm}.input.oss_uri"),
        TouchedObject("write", "media:m1", f"{arm}.output.media_asset.media_id"),
        TouchedObject("write", "oss://media-out/{source}.wav", f"{arm}.output.uri"),
        TouchedObject("read", "oss://media-in/b c.wav", f"{arm}.tracks[0].file_uri", "cn-shanghai"),
        TouchedObject("read", "oss://media-out/d.wav", f"{arm}.tracks[1].file_uri", "cn-beijing"),
    ]


def test_a_new_media_asset_is_an_object_of_its_own():
    """Making media assets is something to be granted, like writing to one."""
    found = touched(job(video_h2v={"input": {"media_id": "m1"}, "output": {"media_asset": {}}}))

    assert [(each.access, each.object) for each in found] == [
        ("read", "media:m1"),
        ("write", "media:{new}"),
    ]


def test_what_is_absent_is_not_touched():
    """No input, no output, no asset: nothing is made up."""
    assert touched(job_pb2.Job()) == ()
    assert touched(job(cover={})) == ()
    assert touched(job(video_h2v={"output": {"uri": "oss://out/a.mp4"}})) == (
        TouchedObject("write", "oss://out/a.mp4", "job.video_h2v.output.uri"),
    )


def test_results_are_not_looked_at():
    """A caller that sends a result touches nothing by it."""
    wish = job(cover={"result": {"images": [{"uri": "oss://secret/a", "media_id": "m1"}]}})

    assert touched(wish) == ()


@given(KEYS)
def test_all_spellings_of_an_object_are_one_object(key):
    """By oss://, by https:// and percent-encoded in any way, an object is the same to a policy."""
    spellings = [
        f"oss://media-in/{key}",
        f"https://media-in.oss-cn-shanghai.aliyuncs.com/{key}",
        f"http://media-in.oss-cn-shanghai.aliyuncs.com/{quote(key)}",
        f"https://media-in.oss-cn-shanghai.aliyuncs.com/{quote(key, safe='')}",
        "https://media-in.oss-cn-shanghai.aliyuncs.com/"
        + "".join(f"%{byte:02x}" for byte in key.encode()),
    ]

    objects = {each.object for spelling in spellings for each in touched(reading(spelling))}
    assert objects == {f"oss://media-in/{key}"}


def test_a_key_is_decoded_once():
    """Decoded twice, an address would be authorized as another object than the one it names."""
    [found] = touched(reading("https://media-in.oss-cn-shanghai.aliyuncs.com/a%2541+b"))

    assert found.object == "oss://media-in/a%41+b"


@pytest.mark.parametrize(
    "address",
    [
        "https://media-in.oss-cn-shanghai.aliyuncs.com/%ff",
        "https://media-in.oss-cn-shanghai.aliyuncs.com/%c0%af",
        "https://media-in.oss-cn-shanghai.aliyuncs.com/%ed%a0%80",
        "https://media-in.oss-cn-shanghai.aliyuncs.com/",
        "https://media-in.oss-cn-shanghai.aliyuncs.com.example.com/a",
        "https://user@media-in.oss-cn-shanghai.aliyuncs.com/a",
        "https://media-in.oss-cn-shanghai.aliyuncs.com:443/a",
        "https://oss-cn-shanghai.aliyuncs.com/media-in/a",
        "https://example.com/a",
        "OSS://media-in/a",
        "oss://Media-In/a",
        "oss://media-in",
        "oss://media-in/",
        "/media-in/a",
        "m1",
    ],
)
def test_an_address_without_a_canonical_form_is_refused(address):
    """Validation refuses most of these before; the policy must not depend on it."""
    with pytest.raises(ObjectAddressError) as caught:
        touched(reading(address))

    assert caught.value.field_path == "job.cover.input.oss_uri"
    assert address not in str(caught.value)


@pytest.mark.parametrize("members", GOOD.values(), ids=GOOD)
def test_every_address_of_a_golden_case_is_found(members):
    """Whatever looks like an address or a media asset id in a job is among the objects."""
    wish = job(**members)
    found = {each.field_path for each in touched(wish)}
    texts = dict(texts_of(wish, "job"))

    assert {path for path, text in texts.items() if "://" in text} <= found
    assert {path for path in texts if path.endswith("media_id")} <= found
    assert all(path in texts or path.endswith(".media_asset.media_id") for path in found)


def test_every_field_that_names_an_object_is_marked_and_no_other():
    """A new address or media asset id without its mark would be read without being authorized."""
    fields = dict(inputs_of(job_pb2.Job.DESCRIPTOR, "job"))
    naming = {path for path, field in fields.items() if names_object(field)}
    marked = {path for path, field in fields.items() if access_of(field)}

    assert naming == marked
    assert len(marked) > 15 * 3


def test_every_mark_is_reached_by_the_walk():
    """A mark that the walk does not reach would be a promise that nobody keeps."""
    for path, field in inputs_of(job_pb2.Job.DESCRIPTOR, "job"):
        if not access_of(field):
            continue
        wish = job_pb2.Job()
        message = wish
        *branches, leaf = path.split(".")[1:]
        for name in branches:
            inner = getattr(message, name)
            message = inner.add() if message.DESCRIPTOR.fields_by_name[name].is_repeated else inner
        setattr(message, leaf, "oss://bucket/key" if is_address(field) else "m1")

        access = "read" if access_of(field) == annotations_pb2.OBJECT_ACCESS_READ else "write"
        touches = {(each.access, each.field_path.replace("[0]", "")) for each in touched(wish)}
        assert (access, path) in touches


def test_inputs_are_read_and_outputs_are_written():
    """A mark of the wrong kind would let a reader write."""
    for path, field in inputs_of(job_pb2.Job.DESCRIPTOR, "job"):
        if access_of(field):
            is_output = path.split(".")[2] == "output"
            assert (access_of(field) == annotations_pb2.OBJECT_ACCESS_WRITE) == is_output


def inputs_of(message, path):
    """Yield path and field of every text that a caller can send."""
    for field in message.fields:
        behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.OUTPUT_ONLY in behaviors:
            continue
        if field.message_type is not None:
            yield from inputs_of(field.message_type, f"{path}.{field.name}")
        elif field.type == field.TYPE_STRING:
            yield f"{path}.{field.name}", field


def texts_of(message, path):
    """Yield path and value of every text that is set."""
    for field, value in message.ListFields():
        if field.name == "labels":
            continue
        for index, item in enumerate(value if field.is_repeated else [value]):
            where = f"{path}.{field.name}" + (f"[{index}]" if field.is_repeated else "")
            if field.message_type is not None:
                yield from texts_of(item, where)
            elif isinstance(item, str):
                yield where, item


def is_address(field):
    """Say whether the rules of a field make it an OSS address."""
    rules = field.GetOptions().Extensions[validate_pb2.field].string
    return rules.Extensions[annotations_pb2.oss_object]


def names_object(field):
    """Say whether a field names an object, by its rules or by its name."""
    return is_address(field) or field.name == "media_id"


def access_of(field):
    """Return the mark of a field."""
    return field.GetOptions().Extensions[annotations_pb2.object_access]
