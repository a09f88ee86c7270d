"""Nothing presigned is ever stored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.algorithms.cleaning import DEEPEST, REMOVED, fit, without_queries
from ims_gateway.algorithms.results import storable

PLAIN = "https://b.oss-cn-shanghai.aliyuncs.com/out/e01.mp4"
SIGNED = f"{PLAIN}?Expires=1&OSSAccessKeyId=STS.x&Signature=SECRET%2F%2B%3D&security-token=SECRET"
NEW = f"{PLAIN}?x-oss-credential=x&x-oss-signature-version=OSS4&x-oss-signature=SECRET"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (SIGNED, PLAIN),
        (NEW, PLAIN),
        (SIGNED.replace("https", "HTTP", 1), PLAIN.replace("https", "HTTP", 1)),
        (f"{PLAIN}#SECRET", PLAIN),
        (f"see {SIGNED} and {NEW}.", f"see {PLAIN} and {PLAIN}"),
        (f"<Url>{SIGNED}</Url>", f"<Url>{PLAIN}</Url>"),
        ("https://b.host/my file.mp4?Expires=1&Signature=SECRET", "https://b.host/my file.mp4"),
        ("out/e01.mp4?Expires=1&Signature=SECRET", "out/e01.mp4"),
        (json.dumps({"Url": SIGNED}), f'{{"Url":"{PLAIN}"}}'),
        (
            json.dumps({"Url": SIGNED}).replace("/", "\\/").replace("&", "\\u0026"),
            f'{{"Url":"{PLAIN}"}}',
        ),
        (json.dumps({"Data": json.dumps([{"file": SIGNED}])}), None),
        (json.dumps({SIGNED: 1}), f'{{"{PLAIN}":1}}'),
        (json.dumps(SIGNED), f'"{PLAIN}"'),
        (f'{{"Url": "{SIGNED}", "Url": "twice"}}', '{"Url":"twice"}'),
        ('{"Url": "' + SIGNED.replace("&", "\\u0026"), '{"Url": "' + PLAIN),
        ('{"Url": "' + SIGNED.replace("?", "\\u003f").replace("/", "\\/"), None),
    ],
)
def test_the_query_of_an_address_is_cut_wherever_it_stands(text, kept):
    """In a text, in JSON, in JSON inside of JSON, and in JSON that is broken."""
    cleaned = without_queries(text)

    assert "SECRET" not in cleaned
    assert kept is None or cleaned == kept


@pytest.mark.parametrize(
    "text",
    [PLAIN, "oss://b/out/e01.mp4", "Really? Yes.", '{"a":1.5}', "out/what?.mp4", "[1, 2", "", "{}"],
)
def test_a_text_without_a_presigned_address_is_kept_as_it_is(text):
    """What is not dangerous is not touched."""
    assert without_queries(text) == text


def test_a_stored_reply_holds_no_presigned_address():
    """OutputUrls is left out, every other member is cleaned, whatever its name."""
    reply = {
        "Status": "Success",
        "OutputFiles": [SIGNED],
        "OutputUrls": [SIGNED],
        "Result": json.dumps([{"Score": 8.25, "Url": SIGNED}]),
        "SomethingNew": {"inside": [SIGNED]},
        "Priority": 6,
    }

    assert storable(reply) == {
        "Status": "Success",
        "OutputFiles": [PLAIN],
        "Result": f'[{{"Score":8.25,"Url":"{PLAIN}"}}]',
        "SomethingNew": {"inside": [PLAIN]},
        "Priority": 6,
    }


@given(st.recursive(st.just(SIGNED), lambda inner: st.lists(inner) | st.builds(json.dumps, inner)))
def test_no_nesting_hides_a_presigned_address(value):
    """However deep JSON is put into JSON."""
    assert "SECRET" not in json.dumps(storable({"Result": value}))


@pytest.mark.parametrize("piece", ["http:", "?", "https://b/?", "\\u003", "{", "signature="])
def test_a_long_text_is_read_once(piece):
    """Two megabytes are milliseconds. If each piece had to look at all the rest: hours."""
    text = piece * (2_000_000 // len(piece))

    assert without_queries(text) == (text[: text.index("?")] if "/?" in piece else text)


def test_what_no_store_takes_is_replaced():
    """PostgreSQL refuses NUL, UTF-8 refuses lone surrogates, JSON refuses infinity."""
    assert fit(["a\x00b", "\ud800", float("inf"), float("nan"), 10**400, 1, True, None]) == [
        "a\N{REPLACEMENT CHARACTER}b",
        "\N{REPLACEMENT CHARACTER}",
        None,
        None,
        None,
        1,
        True,
        None,
    ]


def test_nesting_has_an_end():
    """What lies deeper than a message can is replaced, not followed."""
    value = deep = []
    for _ in range(10_000):
        deep.append([])
        deep = deep[0]

    levels = 0
    kept = fit(value)
    while isinstance(kept, list):
        kept = kept[0]
        levels += 1
    assert (levels, kept) == (DEEPEST + 1, REMOVED)
