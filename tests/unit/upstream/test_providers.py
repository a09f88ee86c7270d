"""The providers of `alibabacloud-credentials`, against a service that checks what it is asked."""

from __future__ import annotations

import json
import logging
import threading
import time

import pytest

from ims_gateway.emulator.certificates import write_certificates
from ims_gateway.tenancy import credentials_file as files
from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.providers import fetcher
from tests.sts import ECS_ROLE, OTHER_ROLE, PROVIDER, ROLE, TOKEN, Refused, an_issuer

BASE = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIbase",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "base-secret",
}
RAM_ROLE = {"type": "ram_role_arn", "role_arn": OTHER_ROLE}


@pytest.fixture
def issuer():
    """Run one over HTTP."""
    with an_issuer() as running:
        yield running


@pytest.fixture
def token_file(tmp_path):
    """Write a good token."""
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


@pytest.fixture
def oidc(issuer, token_file):
    """Give credentials of RRSA."""
    return files.OidcRole(
        type="oidc_role_arn",
        role_arn=ROLE,
        oidc_provider_arn=PROVIDER,
        oidc_token_file=token_file,
        sts_endpoint=issuer.address,
    )


def refused(file, environment=BASE):
    """Return what is said of a key that cannot be had."""
    with pytest.raises(CredentialsUnavailable) as raised:
        fetcher(file, environment)()
    return str(raised.value)


def newest(issuer):
    """Return id, secret and token of the key issued last."""
    name = issuer.issued[-1]
    return name, issuer.keys[name].secret, issuer.keys[name].security_token


def parts(key):
    """Return id, secret and token of a key."""
    return key.access_key_id, key.access_key_secret, key.security_token


def test_rrsa_exchanges_the_pods_token(issuer, oidc):
    """The whole key comes back, with its end, and the session is named after us."""
    key = fetcher(oidc, {})()

    assert parts(key) == newest(issuer)
    assert 3500 < key.expires_at.timestamp() - time.time() <= 3600
    assert issuer.requests[-1]["RoleSessionName"] == "ims-gateway"
    assert issuer.requests[-1]["DurationSeconds"] == "3600"


def test_rrsa_takes_from_the_environment_what_the_webhook_puts_there(issuer, token_file):
    """A file that says no more than its type is enough in a pod."""
    environment = {
        "ALIBABA_CLOUD_ROLE_ARN": ROLE,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token_file),
        "ALIBABA_CLOUD_ROLE_SESSION_NAME": "pod-7",
    }
    fetcher(files.OidcRole(type="oidc_role_arn", sts_endpoint=issuer.address), environment)()
    assert issuer.requests[-1]["RoleSessionName"] == "pod-7"


@pytest.mark.parametrize(
    "variable",
    [
        "ALIBABA_CLOUD_ROLE_ARN",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    ],
)
def test_rrsa_says_what_the_pod_lacks(token_file, variable):
    """Before anything is asked of anybody."""
    environment = {
        "ALIBABA_CLOUD_ROLE_ARN": ROLE,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token_file),
    }
    del environment[variable]
    with pytest.raises(CredentialsUnavailable, match=f"and {variable} is not set"):
        fetcher(files.OidcRole(type="oidc_role_arn"), environment)


def test_a_rotated_token_is_read_anew(issuer, oidc, token_file):
    """Kubernetes replaces the token every hour or so."""
    fetch = fetcher(oidc, {})
    fetch()
    issuer.token = "the-next-token"
    with pytest.raises(CredentialsUnavailable, match=r"AuthenticationFail.OIDCToken.Invalid"):
        fetch()
    token_file.write_text("the-next-token")
    assert parts(fetch()) == newest(issuer)


def test_a_role_is_assumed_with_a_key_of_the_environment(issuer):
    """The request is signed: whoever issues verifies it."""
    file = files.RamRole(**RAM_ROLE, sts_endpoint=issuer.address, external_id="team=media")
    assert parts(fetcher(file, BASE)()) == newest(issuer)
    assert issuer.requests[-1]["ExternalId"] == "team=media"
    wrong = BASE | {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"}
    assert "SignatureDoesNotMatch" in refused(file, wrong)


def test_a_role_is_assumed_with_a_role(issuer, oidc):
    """RRSA first, then the role of another account: both anew for each key."""
    file = files.RamRole(**RAM_ROLE, base=oidc, sts_endpoint=issuer.address)
    fetch = fetcher(file, {})
    fetch()
    assert parts(fetch()) == newest(issuer)
    actions = [request["Action"] for request in issuer.requests]
    assert actions == ["AssumeRoleWithOIDC", "AssumeRole"] * 2


def test_a_policy_with_spaces_is_signed_as_sts_signs_it(issuer):
    """The SDK writes a space in another way than STS; a policy can be said without any."""
    policy = '{"Statement": [{"Resource": "acs:oss:*:*:a b"}]}'
    file = files.RamRole(**RAM_ROLE, policy=policy, sts_endpoint=issuer.address)
    fetcher(file, BASE)()
    assert json.loads(issuer.requests[-1]["Policy"]) == json.loads(policy)


def test_an_ecs_role_is_asked_for_with_a_token_and_starts_no_thread(issuer, monkeypatch):
    """IMDSv2. Its address is fixed, so the stand-in is a proxy here."""
    monkeypatch.setenv("HTTP_PROXY", issuer.address)
    before = {each.name for each in threading.enumerate() if not each.daemon}

    key = fetcher(files.EcsRole(type="ecs_ram_role"), {})()

    assert parts(key) == newest(issuer)
    assert key.expires_at is not None
    assert [request["method"] for request in issuer.requests[:2]] == ["PUT", "GET"]
    assert not any(each.name.startswith("APScheduler") for each in threading.enumerate())
    assert {each.name for each in threading.enumerate() if not each.daemon} == before
    named = files.EcsRole(type="ecs_ram_role", role_name=ECS_ROLE)
    assert parts(fetcher(named, {})()) == newest(issuer)


def test_an_ecs_role_without_a_token_is_not_asked_for(issuer, monkeypatch):
    """IMDSv1 would answer whoever can have an address fetched."""
    monkeypatch.setenv("HTTP_PROXY", issuer.address)
    issuer.refusal = Refused(404, "NotFound")
    assert "HTTP 404" in refused(files.EcsRole(type="ecs_ram_role"))
    assert {request["method"] for request in issuer.requests} == {"PUT"}


def test_a_credentials_uri_is_asked(issuer):
    """With the port that it has, and with the one that it does not name."""
    file = files.CredentialsUri(type="credentials_uri", uri=f"{issuer.address}/credentials")
    assert parts(fetcher(file, {})()) == newest(issuer)
    environment = {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1/credentials"}
    said = refused(files.CredentialsUri(type="credentials_uri"), environment)
    assert said == "credentials_uri: no connection"


def test_the_default_chain_takes_the_first_that_there_is(issuer, tmp_path, monkeypatch):
    """Environment, RRSA, profiles, ECS role, URI, and no thread for it."""
    chain = files.DefaultChain(type="default")
    assert fetcher(chain, BASE)().access_key_id == "LTAIbase"
    monkeypatch.setenv("HTTP_PROXY", issuer.address)
    assert parts(fetcher(chain, {"HOME": str(tmp_path)})()) == newest(issuer)
    issuer.refusal = Refused(404, "NotFound")
    said = refused(chain, {"HOME": str(tmp_path)})
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID is not set; role_arn is not given" in said
    assert "ecs_ram_role: Failed to get token from ECS Metadata Service (HTTP 404)" in said
    assert not any(each.name.startswith("APScheduler") for each in threading.enumerate())


def test_no_failure_shows_a_secret(issuer, oidc, capfd):
    """The package prints and raises requests and answers with all that is in them."""
    logging.getLogger().setLevel(logging.WARNING)
    said = []
    issuer.token = "another"  # the answer quotes the token that was sent
    said.append(refused(oidc))
    chained = files.RamRole(**RAM_ROLE, base=oidc, sts_endpoint=issuer.address)
    issuer.token = TOKEN
    assume = refused_assume(issuer)
    said.append(refused(chained, {}))
    assume()
    nowhere = oidc.model_copy(update={"sts_endpoint": "http://127.0.0.1:1"})
    said.append(refused(nowhere))

    shown = "".join((*said, *capfd.readouterr()))
    assert said[2] == "oidc_role_arn: no connection"
    assert "refused: SignatureDoesNotMatch, HTTP 400, RequestId 8C26-NO" in said[1]
    secrets = [TOKEN, *(key.secret for key in issuer.keys.values())]
    secrets += [key.security_token for key in issuer.keys.values() if key.security_token]
    assert not [secret for secret in secrets if secret in shown]


def refused_assume(issuer):
    """Have the next AssumeRole refused with what was signed in the answer; returns the undoing."""
    whole = issuer.answer

    def answer(method, path, query, headers):
        if query.get("Action") == "AssumeRole":
            raise Refused(400, "SignatureDoesNotMatch", f"string to sign is {query}")
        return whole(method, path, query, headers)

    issuer.answer = answer
    return lambda: setattr(issuer, "answer", whole)


def test_sts_is_trusted_by_a_public_authority_alone(token_file, tmp_path):
    """One that the gateway's machine does not know is refused."""
    certificates = write_certificates(tmp_path / "tls")
    with an_issuer(tls=(certificates.chain_file, certificates.key_file)) as issuer:
        file = files.OidcRole(
            type="oidc_role_arn",
            role_arn=ROLE,
            oidc_provider_arn=PROVIDER,
            oidc_token_file=token_file,
            sts_endpoint=issuer.address,
        )
        assert "TLS failed" in refused(file)
        assert not issuer.requests
