import string
from urllib.parse import parse_qsl

import pytest
from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.upstream.credentials import Credentials
from ims_gateway.upstream.signature import ALGORITHM, canonical_query, format_date, sign

EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
names = st.text(string.ascii_letters + string.digits + ".", min_size=1, max_size=20)
key_texts = st.text(string.ascii_letters + string.digits + "+/=.", min_size=1, max_size=40)


def test_published_vector_holds():
    """The signature of Alibaba Cloud's own example comes out."""
    query = canonical_query(
        {
            "RegionId": "cn-shanghai",
            "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
        }
    )
    headers = sign(
        method="POST",
        host="ecs.cn-shanghai.aliyuncs.com",
        path="/",
        query=query,
        action="RunInstances",
        version="2014-05-26",
        credentials=Credentials("YourAccessKeyId", "YourAccessKeySecret"),
        date="2023-10-26T10:22:32Z",
        nonce="3156853299f313e23d1673dc12e1703d",
    )
    assert headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;"
        "x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


@given(
    parameters=st.dictionaries(names, texts, max_size=10),
    token=st.none() | key_texts,
    secret=key_texts,
    body=st.binary(max_size=20),
)
def test_official_sdk_signs_the_same(parameters, token, secret, body):
    """Over the same request the official SDK's signer comes to the same Authorization."""
    headers = sign(
        method="POST",
        host="ice.cn-shanghai.aliyuncs.com",
        path="/",
        query=canonical_query(parameters),
        action="SubmitIProductionJob",
        version="2020-11-09",
        credentials=Credentials("id", secret, token),
        date="2026-01-02T03:04:05Z",
        nonce="nonce",
        body=body,
    )
    ours = headers.pop("authorization")
    request = DaraRequest()
    request.method, request.pathname = "POST", "/"
    request.query, request.headers = parameters, headers
    payload = Utils.hash(body, ALGORITHM).hex()
    assert headers["x-acs-content-sha256"] == payload
    assert ours == Utils.get_authorization(request, ALGORITHM, payload, "id", secret)


@given(st.dictionaries(texts.filter(bool), texts, max_size=10))
def test_query_decodes_to_the_parameters(parameters):
    """A form decoder gets back what was encoded, names included, in the order of the names."""
    decoded = parse_qsl(canonical_query(parameters), keep_blank_values=True, strict_parsing=False)
    assert decoded == sorted(parameters.items())


def test_query_is_escaped_as_rfc_3986_says():
    """Only unreserved characters stay as they are; escapes are upper case."""
    assert canonical_query({"b": " +*~/", "a": "é%"}) == "a=%C3%A9%25&b=%20%2B%2A~%2F"


def test_half_a_surrogate_pair_is_refused():
    """Text that UTF-8 cannot hold is not signed as something else."""
    with pytest.raises(UnicodeEncodeError):
        canonical_query({"a": "\ud800"})


def test_no_token_headers_without_a_token():
    """A permanent key sends neither of the two STS headers, and its secret nowhere."""
    headers = sign(
        method="POST",
        host="host",
        path="/",
        query="",
        action="A",
        version="V",
        credentials=Credentials("id", "TheSecret"),
        date="D",
        nonce="N",
    )
    assert headers.keys() == {
        "authorization",
        "host",
        "x-acs-action",
        "x-acs-content-sha256",
        "x-acs-date",
        "x-acs-signature-nonce",
        "x-acs-version",
    }
    assert headers["x-acs-content-sha256"] == EMPTY_HASH
    assert "TheSecret" not in str(headers)


def test_date_is_utc_to_the_second():
    """Fractions are cut off, never rounded into the future."""
    assert format_date(1698315752.999) == "2023-10-26T10:22:32Z"
