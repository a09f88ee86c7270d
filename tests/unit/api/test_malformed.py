"""Bytes that are no message are refused with the paths of the texts that are not UTF-8."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from ims_gateway.api.malformed import MOST_FAULTS, malformed
from imsgateway.v1 import job_service_pb2

REQUEST = job_service_pb2.SubmitJobRequest
BAD = b"\xff\xfe"
NO_MESSAGE = ("", "message.malformed")


def varint(number):
    """Encode a number."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(message, name, value):
    """Encode one field of a message of that type, whose value has a length."""
    number = message.fields_by_name[name].number
    return varint(number << 3 | 2) + varint(len(value)) + value


def nested(path, value, message=REQUEST.DESCRIPTOR):
    """Encode a value below a path of fields."""
    name, *rest = path.split(".")
    below = message.fields_by_name[name].message_type
    return field(message, name, nested(".".join(rest), value, below) if rest else value)


def paths(data):
    """Return the paths of what is wrong with bytes that protobuf refuses, too."""
    with pytest.raises(DecodeError):
        REQUEST.FromString(data)
    found = malformed(data, REQUEST.DESCRIPTOR)
    assert {each.rule for each in found} <= {"string.utf8", "message.malformed"}
    return [each.path for each in found]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("parent", "parent"),
        ("job.user_data", "job.user_data"),
        ("job.cover.input.oss_uri", "job.cover.input.oss_uri"),
        ("job.labels.key", "job.labels[0].key"),
        ("job.labels.value", "job.labels[0].value"),
        ("job.audio_mixing.tracks.file_uri", "job.audio_mixing.tracks[0].file_uri"),
        ("job.raw_result.struct_value.fields.key", "job.raw_result.struct_value.fields[0].key"),
    ],
)
def test_a_text_that_is_not_utf_8_has_its_path(path, expected):
    """On every level, also within lists and maps, whose items have their number."""
    assert paths(nested(path, BAD)) == [expected]


def test_all_bad_texts_are_found_at_once():
    """In the order of the bytes; good texts in between are not named, items are counted."""
    data = (
        nested("parent", BAD)
        + nested("job.user_data", "视频".encode())
        + nested("job.display_name", BAD)
        + nested("request_id", BAD)
    )
    labels = [
        nested("labels.value", value, REQUEST.DESCRIPTOR.fields_by_name["job"].message_type)
        for value in (b"good", BAD, b"good", BAD)
    ]
    data += nested("job", b"".join(labels))

    assert paths(data) == [
        "parent",
        "job.display_name",
        "request_id",
        "job.labels[1].value",
        "job.labels[3].value",
    ]


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"ok\x80"],
    ids=["no byte of it", "cut short", "surrogate", "too big", "overlong", "stray"],
)
def test_utf_8_means_what_protobuf_means_by_it(text):
    """A text that is refused there has a path here."""
    assert paths(nested("job.user_data", text)) == ["job.user_data"]


def test_numbers_and_unknown_fields_are_passed_over():
    """Of every wire type that has a length of its own."""
    data = (
        b"\x08\x96\x01"  # field 1, a string in the contract, as a number
        b"\xf9\x07\xff\xff\xff\xff\xff\xff\xff\xff"  # field 127, eight bytes
        b"\xfd\x07\xff\xff\xff\xff"  # field 127, four bytes
        b"\xfa\x07\x02\xff\xff"  # field 127, two bytes
        b"\x20\x01" + nested("request_id", BAD)  # validate_only
    )

    assert paths(data) == ["request_id"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x12",
        b"\x12\x05abc",
        b"\xff" * 20,
        b"\x12" + b"\xff" * 10,
        b"\x0d\x01",
        b"\x09\x01",
        b"\x08",
        b"\x0f",
    ],
    ids=lambda data: data.hex(),
)
def test_bytes_that_end_too_early_are_no_message(data):
    """There is no path to name."""
    (found,) = malformed(data, REQUEST.DESCRIPTOR)

    assert (found.path, found.rule) == NO_MESSAGE
    assert found.description


def test_a_text_that_is_cut_short_by_the_end_is_no_fault_of_its_field():
    """Its other bytes are missing, and may have been good ones."""
    (found,) = malformed(nested("parent", "视频".encode())[:-1], REQUEST.DESCRIPTOR)

    assert (found.path, found.rule) == NO_MESSAGE


def test_what_was_found_before_the_bytes_broke_is_told():
    """It is wrong in any case."""
    assert paths(nested("job.user_data", BAD) + b"\x12\x7f") == ["job.user_data"]


@pytest.mark.parametrize("depth", [50, 5_000])
def test_bytes_cannot_lead_deeper_than_protobuf_goes(depth):
    """A caller's nesting must not use up the stack."""
    value = REQUEST.DESCRIPTOR.fields_by_name["job"].message_type.fields_by_name["raw_result"]
    data = nested("string_value", BAD, value.message_type)
    for _ in range(depth):
        items = field(value.message_type.fields_by_name["list_value"].message_type, "values", data)
        data = field(value.message_type, "list_value", items)
    data = nested("job.raw_result", data)
    found = malformed(data, REQUEST.DESCRIPTOR)

    assert len(found) == 1
    assert found[0].path.endswith("string_value") == (depth == 50) or found[0].path == ""


def test_a_flood_of_bad_texts_is_cut_off():
    """One is enough to refuse the message."""
    assert len(malformed(nested("parent", BAD) * 5000, REQUEST.DESCRIPTOR)) == MOST_FAULTS


GOOD = REQUEST(
    parent="tenants/acme",
    job={
        "cover": {"input": {"oss_uri": "oss://acme/视频.mp4"}},
        "labels": {"a": "b", "c": "d"},
        "priority": 3,
    },
    request_id="r",
    validate_only=True,
).SerializeToString(deterministic=True)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_raise(data):
    """Whatever a caller sends, it is told something."""
    assert malformed(data, REQUEST.DESCRIPTOR)


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=3), st.booleans())
def test_a_spoiled_request_never_raises(at, data, cut):
    """Nor does one that was a good one before."""
    spoiled = GOOD[:at] + data + (b"" if cut else GOOD[at + len(data) :])

    assert malformed(spoiled, REQUEST.DESCRIPTOR)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(("parent", "job.user_data", "job.display_name", "job.labels.key")),
        min_size=1,
        max_size=6,
    ),
    st.binary(max_size=6),
)
def test_paths_are_named_where_protobuf_refuses_a_text_and_nowhere_else(names, text):
    """The walk and the parser agree on what is UTF-8."""
    data = b"".join(nested(name, text) for name in names)
    try:
        REQUEST.FromString(data)
        refused = False
    except DecodeError:
        refused = True

    assert (
        [each.rule for each in malformed(data, REQUEST.DESCRIPTOR)] != ["message.malformed"]
    ) == (refused)
