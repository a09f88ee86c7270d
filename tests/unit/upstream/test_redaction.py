import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.upstream.redaction import MAX_MESSAGE_CHARS, REMOVED, bounded_name, redact

SIGNATURE = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"


@pytest.mark.parametrize(
    "message",
    [
        f"Specified signature is not matched. server string to sign is:{{}} {SIGNATURE}",
        f"The signature does not match. StringToSign: POST\n/\nSecret={SIGNATURE}",
        f"server CanonicalRequest is:[POST\n/\nInput={SIGNATURE}",
        f"ACS3-HMAC-SHA256 Credential=LTAI5t,SignedHeaders=host,Signature={SIGNATURE}",
        f"signature: {SIGNATURE[:30]}, which is wrong; no more",
        f"cannot read https://b.oss.aliyuncs.com/a.mp4?Expires=1&Signature={SIGNATURE[:28]}",
        f"body Input=a&Signature={SIGNATURE[:28]}&x=y is wrong",
        f"token {SIGNATURE} has expired",
    ],
)
def test_nothing_of_a_signature_is_left(message):
    """Neither a digest, nor a part of one, nor what was signed survives."""
    kept = redact(message)
    assert SIGNATURE[:10] not in kept
    assert "Input=" not in kept
    assert REMOVED in kept


def test_the_words_before_the_string_to_sign_are_kept():
    """The refusal still says what is wrong."""
    message = "Specified signature is not matched. server string to sign is: POST&%2F&x"
    assert redact(message) == f"Specified signature is not matched. server {REMOVED}"


@pytest.mark.parametrize(
    "message",
    [
        "The specified parameter FunctionName is not valid.",
        "Request C1849434-FC47-5DC1-92B6-F7EAAFE3851E was denied due to user flow control.",
        "The object oss://bucket/a/b.mp4 does not exist in cn-shanghai.",
        "指定的参数无效。",
    ],
)
def test_ordinary_messages_are_kept(message):
    """What helps the caller is not taken for a secret."""
    assert redact(message) == message


@pytest.mark.parametrize("secret", ["LTAI5tabcDEF", "STS.NUabcDEF"])
def test_access_key_ids_are_removed(secret):
    """The id of the platform's key is none of a tenant's business."""
    assert secret not in redact(f"Specified access key {secret} is not found.")


@given(st.text(max_size=3 * MAX_MESSAGE_CHARS))
def test_a_message_becomes_one_short_printable_line(message):
    """Whatever was sent, what is kept is bounded and cannot forge a log line."""
    kept = redact(message)
    assert len(kept) <= MAX_MESSAGE_CHARS
    assert kept.isprintable()


@pytest.mark.parametrize("value", [None, 7, "", "two words", "line\n", "x" * 129, ["a"]])
def test_what_is_no_name_is_dropped(value):
    """A RequestId or Code that could not be one is treated as absent."""
    assert bounded_name(value) is None


def test_a_name_is_kept_whole():
    """An ordinary RequestId passes."""
    assert bounded_name("C1849434-FC47") == "C1849434-FC47"
