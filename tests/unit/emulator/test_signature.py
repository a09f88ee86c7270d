"""Signatures: what is accepted, and the code of every refusal."""

import json
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ims_gateway.emulator.call import read_call
from ims_gateway.emulator.envelope import Refusal
from ims_gateway.emulator.settings import AccessKey
from ims_gateway.emulator.signature import Verifier

# Wire facts, "Fixed vector".
VECTOR_QUERY = "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"
VECTOR_HEADERS = {
    "host": "ecs.cn-shanghai.aliyuncs.com",
    "x-acs-action": "RunInstances",
    "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "x-acs-date": "2023-10-26T10:22:32Z",
    "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
    "x-acs-version": "2014-05-26",
    "Authorization": (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;"
        "x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    ),
}
VECTOR_TIME = 1698315752.0


def vector_call(headers=VECTOR_HEADERS, query=VECTOR_QUERY, body=b"", method="POST", path="/"):
    """Read a call that differs from the vector as told."""
    url = URL.build(path=path, query_string=query, encoded=True)
    return read_call(method, url, CIMultiDictProxy(CIMultiDict(headers)), body)


def vector_verifier(now=VECTOR_TIME):
    """Make a verifier that knows the vector's key."""
    keys = {"YourAccessKeyId": AccessKey("YourAccessKeySecret")}
    return Verifier(keys, window_seconds=900, clock=lambda: now)


def test_documented_vector_is_verified():
    """The fixed vector of the signature's documentation is accepted."""
    caller = vector_verifier().verify(vector_call())
    assert caller.access_key_id == "YourAccessKeyId"
    assert caller.nonce == "3156853299f313e23d1673dc12e1703d"


@pytest.mark.parametrize(
    "change",
    [
        {"query": VECTOR_QUERY.replace("cn-shanghai", "cn-beijing")},
        {"query": VECTOR_QUERY + "&Extra="},
        {"method": "GET"},
        {"path": "/other"},
        {"body": b"body"},
        {"headers": VECTOR_HEADERS | {"host": "ecs.cn-beijing.aliyuncs.com"}},
        {"headers": VECTOR_HEADERS | {"x-acs-action": "StopInstances"}},
        {"headers": VECTOR_HEADERS | {"x-acs-version": "2014-05-27"}},
        {"headers": VECTOR_HEADERS | {"x-acs-date": "2023-10-26T10:22:33Z"}},
        {"headers": VECTOR_HEADERS | {"x-acs-signature-nonce": "another"}},
        {"headers": VECTOR_HEADERS | {"x-acs-content-sha256": "0" * 64}},
        {
            "headers": VECTOR_HEADERS
            | {"Authorization": VECTOR_HEADERS["Authorization"].replace("06563a", "06563b")}
        },
        {
            "headers": VECTOR_HEADERS
            | {"Authorization": VECTOR_HEADERS["Authorization"].replace("0656", "é")}
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_changing_any_signed_part_breaks_the_signature(change):
    """Whatever was signed cannot be changed afterwards."""
    with pytest.raises(Refusal) as refusal:
        vector_verifier().verify(vector_call(**change))
    assert refusal.value.code == "SignatureDoesNotMatch"


def test_refused_call_does_not_spend_the_nonce():
    """A forged call cannot use up the nonce of the real one."""
    verifier = vector_verifier()
    with pytest.raises(Refusal):
        verifier.verify(vector_call(query="ImageId=forged"))
    assert verifier.verify(vector_call()).access_key_id == "YourAccessKeyId"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer token",
        VECTOR_HEADERS["Authorization"].replace(",", ", "),
        VECTOR_HEADERS["Authorization"].replace("ACS3-HMAC-SHA256 ", "ACS3-HMAC-SM3 "),
        VECTOR_HEADERS["Authorization"].replace("host;", "Host;"),
        VECTOR_HEADERS["Authorization"].replace("host;x-acs-action", "x-acs-action;host"),
        VECTOR_HEADERS["Authorization"].replace("host;", "host;host;"),
    ],
)
def test_malformed_authorization_is_incomplete(authorization):
    """An Authorization header in any other form is an incomplete signature."""
    headers = VECTOR_HEADERS | {"Authorization": authorization}
    with pytest.raises(Refusal) as refusal:
        vector_verifier().verify(vector_call(headers))
    assert refusal.value.code == "IncompleteSignature"


@pytest.mark.parametrize("name", list(VECTOR_HEADERS))
def test_missing_header_is_named(name):
    """Each required header that is missing is named by the code."""
    headers = {key: value for key, value in VECTOR_HEADERS.items() if key != name}
    with pytest.raises(Refusal) as refusal:
        vector_verifier().verify(vector_call(headers))
    assert refusal.value.code == f"MissingParameter.{name}"


@pytest.mark.parametrize("ahead", [-900, -1, 0, 1, 900])
def test_date_within_the_window_is_accepted(ahead):
    """A date may be fifteen minutes off, either way."""
    assert vector_verifier(VECTOR_TIME + ahead).verify(vector_call())


@pytest.mark.parametrize("ahead", [-901, 901])
def test_date_outside_the_window_is_expired(ahead):
    """A date further off is refused before anything else is believed."""
    with pytest.raises(Refusal) as refusal:
        vector_verifier(VECTOR_TIME + ahead).verify(vector_call())
    assert refusal.value.code == "InvalidTimeStamp.Expired"


@pytest.mark.parametrize(
    "date", ["2023-10-26 10:22:32", "2023-10-26T10:22:32+00:00", "2023-02-30T10:22:32Z", "now"]
)
def test_date_in_another_form_is_refused(date):
    """A date is written in the one documented form."""
    with pytest.raises(Refusal) as refusal:
        vector_verifier().verify(vector_call(VECTOR_HEADERS | {"x-acs-date": date}))
    assert refusal.value.code == "InvalidTimeStamp.Format"


def test_replayed_nonce_is_refused():
    """The same signed call is accepted once."""
    verifier = vector_verifier()
    verifier.verify(vector_call())
    with pytest.raises(Refusal) as refusal:
        verifier.verify(vector_call())
    assert refusal.value.code == "SignatureNonceUsed"


async def test_nonce_stays_spent_for_as_long_as_its_date_is_good(api, clock, make_job, make_query):
    """A call dated ahead cannot be replayed when the window has passed since its arrival."""
    clock.advance(900)
    headers = api.signer.headers(make_job())
    clock.advance(-900)
    assert (await api.post(make_query(make_job()), headers)).status == 200
    clock.advance(1800)
    assert (await api.post(make_query(make_job()), headers)).code == "SignatureNonceUsed"
    clock.advance(1)
    assert (await api.post(make_query(make_job()), headers)).code == "InvalidTimeStamp.Expired"


async def test_nonce_of_one_key_is_free_for_another(api, make_job):
    """Two access keys may happen on the same nonce."""
    how = {"extra": {"x-acs-signature-nonce": "same"}}
    assert (await api.submit(make_job(), key="AKID", **how)).status == 200
    assert (await api.submit(make_job(), key="AKID2", **how)).status == 200


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"key": "NOBODY"}, 404, "InvalidAccessKeyId.NotFound"),
        ({"key": "OFF"}, 400, "InvalidAccessKeyId.Inactive"),
        ({"secret": "wrong"}, 400, "SignatureDoesNotMatch"),
        ({"unsigned": ("host",)}, 400, "IncompleteSignature"),
        ({"unsigned": ("x-acs-signature-nonce",)}, 400, "IncompleteSignature"),
        (
            {"extra": {"x-acs-credentials-provider": "env"}, "unsigned": ("x-acs-action",)},
            400,
            "IncompleteSignature",
        ),
        (
            {"extra": {"x-acs-extra": "1"}, "unsigned": ("x-acs-extra",)},
            400,
            "IncompleteSignature",
        ),
        ({"extra": {"x-acs-content-sha256": "0" * 64}}, 400, "SignatureDoesNotMatch"),
    ],
)
async def test_refusal_over_the_wire(api, how, status, code, make_job):
    """Each way of signing badly has its own code and creates no job."""
    answer = await api.submit(make_job(), **how)
    assert (answer.status, answer.code) == (status, code)
    assert api.emulator.jobs == ()


async def test_signed_header_that_never_arrives_breaks_the_signature(api, make_job, make_query):
    """A proxy that strips a signed header is noticed."""
    headers = api.signer.headers(make_job(), extra={"accept-language": "en"})
    del headers["accept-language"]
    answer = await api.post(make_query(make_job()), headers)
    assert answer.code == "SignatureDoesNotMatch"


async def test_signed_headers_beyond_the_required_ones_are_fine(api, make_job):
    """The official client also signs accept and user-agent."""
    extra = {"accept": "application/json", "user-agent": "  test  "}
    assert (await api.submit(make_job(), extra=extra)).status == 200


def test_spaces_around_a_value_are_not_signed():
    """Header values are trimmed before they are signed."""
    padded = VECTOR_HEADERS | {"host": f"  {VECTOR_HEADERS['host']} "}
    assert vector_verifier().verify(vector_call(padded))


def test_repeated_signed_header_counts_with_all_its_values():
    """A second value slipped in beside the signed one breaks the signature."""
    headers = CIMultiDict(VECTOR_HEADERS)
    headers.add("host", "ice.cn-shanghai.aliyuncs.com")
    with pytest.raises(Refusal) as refusal:
        vector_verifier().verify(vector_call(headers))
    assert refusal.value.code == "SignatureDoesNotMatch"


async def test_body_that_was_signed_is_fine_and_ignored(api, make_job):
    """Parameters count in the query only."""
    body = b"FunctionName=Cover"
    assert (await api.submit(make_job("VideoH2V"), body=body)).status == 200
    assert api.emulator.jobs[0].parameters["FunctionName"] == "VideoH2V"


async def test_body_that_was_not_signed_is_refused(api, make_job, make_query):
    """A body must be the one whose hash was signed."""
    headers = api.signer.headers(make_job())
    answer = await api.post(make_query(make_job()), headers, b"surprise")
    assert answer.code == "SignatureDoesNotMatch"


STS = {"x-acs-accesskey-id": "STS", "x-acs-security-token": "token"}


async def test_sts_key_with_its_token_is_accepted(api, make_job):
    """Temporary credentials work when token and key id are both sent and signed."""
    assert (await api.submit(make_job(), key="STS", extra=STS)).status == 200


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"key": "STS"}, "MissingSecurityToken"),
        (
            {"key": "STS", "extra": {"x-acs-security-token": "token"}},
            "MissingParameter.x-acs-accesskey-id",
        ),
        (
            {"key": "STS", "extra": STS | {"x-acs-security-token": "old"}},
            "InvalidSecurityToken.MismatchWithAccessKey",
        ),
        (
            {"key": "STS", "extra": STS | {"x-acs-accesskey-id": "AKID"}},
            "InvalidSecurityToken.MismatchWithAccessKey",
        ),
        ({"key": "AKID", "extra": STS}, "InvalidSecurityToken.MismatchWithAccessKey"),
        (
            {"key": "STS", "extra": STS, "unsigned": ("x-acs-security-token",)},
            "IncompleteSignature",
        ),
    ],
)
async def test_wrong_token_is_refused(api, how, code, make_job):
    """A token that is missing, wrong, unsigned or of another key is refused."""
    assert (await api.submit(make_job(), **how)).code == code


async def test_sts_key_is_refused_from_its_end_on(api, clock, make_job):
    """The moment itself is too late."""
    extra = STS | {"x-acs-accesskey-id": "ENDS"}
    clock.advance(9)
    assert (await api.submit(make_job(), key="ENDS", extra=extra)).status == 200
    clock.advance(1)
    answer = await api.submit(make_job(), key="ENDS", extra=extra)
    assert answer.code == "InvalidSecurityToken.Expired"


async def test_token_changed_after_signing_breaks_the_signature(api, make_job, make_query):
    """The token is part of what is signed."""
    headers = api.signer.headers(make_job(), key="STS", extra=STS)
    answer = await api.post(make_query(make_job()), headers | {"x-acs-security-token": "tampered"})
    assert answer.code == "SignatureDoesNotMatch"


async def test_repeated_parameter_is_refused(api, make_job, make_query):
    """Two values for one name have no meaning."""
    query = make_query(make_job()) + "&FunctionName=Cover"
    answer = await api.post(query, api.signer.headers(make_job()))
    assert answer.code == "InvalidParameter"


async def test_bytes_that_are_not_utf8_are_refused(api, make_job, make_query):
    """A query that is not UTF-8 cannot be what was signed."""
    headers = api.signer.headers(make_job(Name="x"))
    query = make_query(make_job(Name="x")).replace("Name=x", "Name=%FF")
    assert (await api.post(query, headers)).code == "SignatureDoesNotMatch"


ENCODINGS = {
    "canonical": lambda text: quote(text, safe="~"),
    "form": quote_plus,
    "lax": lambda text: quote(text, safe="/:,*{}[]\"'!$()@?~"),
    "everything": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_query_means_the_same_however_it_is_encoded(encoding, text):
    """Every way of encoding a query on the wire decodes to the same call."""
    encode = ENCODINGS[encoding]
    parameters = {"UserData": text, "Input": json.dumps({"Media": text}), "A~b*": ""}
    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in parameters.items())
    call = vector_call(query=query)
    assert call.parameters == parameters
    assert call.canonical_query == "&".join(
        f"{quote(name, safe='~')}={quote(value, safe='~')}"
        for name, value in sorted(parameters.items())
    )


def test_every_ascii_character_is_escaped_as_rfc_3986_says():
    """Only letters, digits, '-', '.', '_' and '~' stay as they are."""
    text = "".join(map(chr, range(128)))
    call = vector_call(query=f"A={quote(text, safe='')}")
    unescaped = set(call.canonical_query.removeprefix("A=")) - {"%"}
    assert unescaped == set(string.ascii_letters + string.digits + "-._~")
