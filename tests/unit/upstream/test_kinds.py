"""Every kind of credentials that ends, against hosts that check what they are asked over HTTPS.

Hosts whose names are fixed (STS, OAuth, CloudSSO) are stood in for where names become addresses:
the certificate that is shown has their names, and is checked. What stands in follows the SDKs of
Alibaba Cloud; that the real hosts do as it does is known of none of them from here.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import json
import logging
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from alibabacloud_credentials import provider as package
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import TypeAdapter

from ims_gateway.tenancy.credentials_file import CredentialsFile
from ims_gateway.upstream import profiles
from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.providers import fetcher
from ims_gateway.upstream.renewal import RenewedCredentials
from tests.issuers import Authority
from tests.sts import (
    OTHER_ROLE,
    PROVIDER,
    ROLE,
    SSO_ACCOUNT,
    SSO_TOKEN,
    TOKEN,
    Issuer,
    Refused,
    serving,
)

NAMES = (
    "localhost",
    "sts.aliyuncs.com",
    "sts.ap-northeast-1.aliyuncs.com",
    "sts-vpc.cn-beijing.aliyuncs.com",
    "oauth.aliyun.com",
    "oauth.alibabacloud.com",
    "signin-cn-shanghai.alibabacloudsso.com",
)
KEY = {"access_key_id": "LTAIbase", "access_key_secret": "base-secret"}
BASE = {f"ALIBABA_CLOUD_{name.upper()}": value for name, value in KEY.items()}
DOWN = Refused(503, "ServiceUnavailable", f"{TOKEN} {SSO_TOKEN} base-secret")
# What a command prints, and whom it asks.
COMMAND = """
import json, sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as answer:
    key = json.load(answer)
print(json.dumps({"mode": "StsToken", "access_key_id": key["AccessKeyId"], "access_key_secret":
    key["AccessKeySecret"], "sts_token": key["SecurityToken"], "expiration": key["Expiration"]}))
"""


@dataclass
class Far:
    """The far side of the wire, and a folder for what credentials point to."""

    issuer: Issuer
    plain: str
    folder: Path
    private_key: rsa.RSAPrivateKey

    def file(self, name: str, text: str) -> str:
        """Write a file."""
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    @property
    def token_file(self) -> str:
        """A file with the token of the cluster."""
        return self.file("token", TOKEN)

    def key_file(self, kind: Any = serialization.PrivateFormat.PKCS8) -> str:
        """Write the private key."""
        form, encryption = serialization.Encoding.PEM, serialization.NoEncryption()
        return self.file("key.pem", self.private_key.private_bytes(form, kind, encryption).decode())

    @property
    def secrets(self) -> list[str]:
        """Everything that is nobody's business."""
        keys = self.issuer.keys.values()
        pem = self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        found = [TOKEN, SSO_TOKEN, "base-secret", "oauth-access-", "oauth-refresh-"]
        found += [key.secret for key in keys]
        found += [key.security_token for key in keys if key.security_token]
        return found + pem.decode().splitlines()[1:-1]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Make an authority, and a certificate with the names of all hosts."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.pem)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    pair = authority.pair(address, *(x509.DNSName(name) for name in NAMES))
    return folder / "ca.pem", pair.write(folder, "server")


@pytest.fixture(scope="module")
def private_key():
    """Make a key pair as RAM makes it."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def far(tmp_path, tls, private_key, monkeypatch):
    """Run an issuer that all hosts' names lead to."""
    authority, pair = tls
    issuer = Issuer(public_keys={"LTAIpublic": private_key.public_key()})
    with serving(issuer, pair) as issuer.address, serving(issuer) as plain:
        port = int(issuer.address.rpartition(":")[2])
        look_up = socket.getaddrinfo

        def redirected(host: Any, asked: Any, *given: Any, **more: Any) -> Any:
            if host in NAMES[1:]:
                assert int(asked) == 443
                return look_up("127.0.0.1", port, *given, **more)
            assert host in ("localhost", "127.0.0.1"), f"{host} is asked"
            return look_up(host, asked, *given, **more)

        monkeypatch.setattr(socket, "getaddrinfo", redirected)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        # The address of an instance's metadata is fixed: the stand-in is a proxy for it.
        monkeypatch.setenv("HTTP_PROXY", plain)
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        yield Far(issuer, plain, tmp_path, private_key)


def cli(far: Far, *chain: dict[str, Any], mode: str, **members: Any) -> dict[str, Any]:
    """Return credentials of a profile of the aliyun command; chain: profiles it builds on."""
    profile = {"name": "media", "mode": mode, **members}
    content = {"current": "media", "profiles": [*chain, profile], "meta_path": ""}
    return {"type": "cli_profile", "file": far.file("config.json", json.dumps(content))}


def ini(far: Far, **members: str) -> dict[str, Any]:
    """Return credentials of a section of credentials.ini."""
    lines = "\n".join(f"{name} = {value}" for name, value in members.items())
    return {"type": "profile", "file": far.file("credentials.ini", f"[default]\n{lines}\n")}


def sso(**changes: Any) -> dict[str, Any]:
    """Return a profile that was logged in by CloudSSO."""
    return {
        "cloud_sso_sign_in_url": f"https://{NAMES[-1]}/device/login",
        "cloud_sso_account_id": SSO_ACCOUNT["AccountId"],
        "cloud_sso_access_config": SSO_ACCOUNT["AccessConfigurationId"],
        "access_token": SSO_TOKEN,
        "cloud_sso_access_token_expire": int(time.time()) + 7200,
    } | changes


def login(**changes: Any) -> dict[str, Any]:
    """Return a profile that was logged in by OAuth, with the key that it had then."""
    return {
        "oauth_site_type": "CN",
        "oauth_access_token": "oauth-access-0",
        "oauth_access_token_expire": int(time.time()) + 7200,
        "oauth_refresh_token": "oauth-refresh-0",
        "access_key_id": "STS.before",
        "access_key_secret": "a-secret-of-before",
        "sts_token": "a-token-of-before",
        "sts_expiration": int(time.time()) + 1800,
    } | changes


OIDC = {"oidc_provider_arn": PROVIDER}
CHAIN = {"mode": "ChainableRamRoleArn", "ram_role_arn": OTHER_ROLE, "source_profile": "base"}
# Each is given the far side, and returns credentials of an account.
ENDING = {
    "oidc_role_arn": lambda far: {
        "type": "oidc_role_arn",
        "role_arn": ROLE,
        "oidc_token_file": far.token_file,
        **OIDC,
    },
    "ram_role_arn": lambda _: {"type": "ram_role_arn", "role_arn": OTHER_ROLE},
    "ecs_ram_role": lambda _: {"type": "ecs_ram_role"},
    "credentials_uri": lambda far: {
        "type": "credentials_uri",
        "uri": f"{far.issuer.address}/credentials",
    },
    "rsa_key_pair": lambda far: {
        "type": "rsa_key_pair",
        "public_key_id": "LTAIpublic",
        "private_key_file": far.key_file(),
    },
    "profile ram_role_arn": lambda far: ini(
        far, type="ram_role_arn", role_arn=OTHER_ROLE, policy='{"Version": "1"}', **KEY
    ),
    "profile oidc_role_arn": lambda far: ini(
        far, type="oidc_role_arn", role_arn=ROLE, oidc_token_file_path=far.token_file, **OIDC
    ),
    "profile ecs_ram_role": lambda far: ini(far, type="ecs_ram_role"),
    "profile rsa_key_pair": lambda far: ini(
        far, type="rsa_key_pair", public_key_id="LTAIpublic", private_key_file=far.key_file()
    ),
    "cli_profile RamRoleArn": lambda far: cli(
        far, mode="RamRoleArn", ram_role_arn=OTHER_ROLE, expired_seconds=900, **KEY
    ),
    "cli_profile EcsRamRole": lambda far: cli(far, mode="EcsRamRole"),
    "cli_profile OIDC": lambda far: cli(
        far, mode="OIDC", ram_role_arn=ROLE, oidc_token_file=far.token_file, **OIDC
    ),
    "cli_profile ChainableRamRoleArn": lambda far: cli(
        far, {"name": "base", "mode": "CloudSSO", **sso()}, **CHAIN
    ),
    "cli_profile CloudSSO": lambda far: cli(far, mode="CloudSSO", **sso()),
    "cli_profile OAuth": lambda far: cli(far, mode="OAuth", **login()),
    "cli_profile External": lambda far: cli(
        far,
        mode="External",
        process_command=f"{sys.executable} {far.file('key.py', COMMAND)} {far.plain}/credentials",
    ),
}
# Keys that do not end: nothing is fetched or renewed.
FIXED = {
    "profile access_key": lambda far: ini(far, type="access_key", **KEY),
    "cli_profile AK": lambda far: cli(far, mode="AK", **KEY),
    "cli_profile StsToken": lambda far: cli(far, mode="StsToken", sts_token="a-token", **KEY),
}
# Where each provider of the package is under test, by the names above or the module's.
COVERED = {
    "StaticAKCredentialsProvider": "cli_profile AK",
    "StaticSTSCredentialsProvider": "cli_profile StsToken",
    "EnvironmentVariableCredentialsProvider": "test_credentials",
    "EcsRamRoleCredentialsProvider": "ecs_ram_role",
    "RamRoleArnCredentialsProvider": "ram_role_arn",
    "OIDCRoleArnCredentialsProvider": "oidc_role_arn",
    "RsaKeyPairCredentialsProvider": "rsa_key_pair",
    "URLCredentialsProvider": "credentials_uri",
    "CLIProfileCredentialsProvider": "cli_profile AK",
    "ProfileCredentialsProvider": "profile access_key",
    "DefaultCredentialsProvider": "test_providers",
    "CloudSSOCredentialsProvider": "cli_profile CloudSSO",
    "OAuthCredentialsProvider": "cli_profile OAuth",
    "ExternalCredentialsProvider": "cli_profile External",
}


def fetch_of(credentials: dict[str, Any]) -> Any:
    """Return what asks for a key, for credentials as accounts.yaml has them."""
    return fetcher(TypeAdapter(CredentialsFile).validate_python(credentials), BASE)


def newest(issuer: Issuer) -> tuple[str, str, str | None]:
    """Return id, secret and token of the key issued last."""
    name = issuer.issued[-1]
    return name, issuer.keys[name].secret, issuer.keys[name].security_token


def parts(key: Any) -> tuple[str, str, str | None]:
    """Return id, secret and token of a key."""
    return key.access_key_id, key.access_key_secret, key.security_token


def refused(credentials: dict[str, Any]) -> str:
    """Return what is said of a key that cannot be had."""
    with pytest.raises(CredentialsUnavailable) as raised:
        fetch_of(credentials)()
    return str(raised.value)


def test_every_provider_of_the_package_is_under_test():
    """A new one fails here, as does a new kind of profile."""
    assert set(package.__all__) == COVERED.keys()
    named = {name for name in COVERED.values() if not name.startswith("test_")}
    assert named <= ENDING.keys() | FIXED.keys()
    text = inspect.getsource(package.CLIProfileCredentialsProvider)
    modes = set(re.findall(r'mode == "(\w+)"', text))
    assert modes == profiles.CLI.keys() | {"OAuth", "ChainableRamRoleArn"}
    text = inspect.getsource(package.ProfileCredentialsProvider)
    assert set(re.findall(r"'(\w+)' == config_type", text)) == profiles.INI.keys()
    for file, kinds in (("cli_profile", modes), ("profile", profiles.INI)):
        assert {f"{file} {kind}" for kind in kinds} <= ENDING.keys() | FIXED.keys()


@pytest.mark.parametrize("kind", ENDING)
async def test_a_key_is_renewed_in_time_and_a_failure_is_reported_while_it_lasts(far, kind, capfd):
    """And nothing that is told on the way has a secret in it."""
    logging.getLogger().setLevel(logging.WARNING)
    fetch, late = fetch_of(ENDING[kind](far)), 0.0
    key = RenewedCredentials(fetch, clock=lambda: time.time() + late, chance=lambda: 0.5)

    pause = await key.renew()
    assert key.problem is None
    first = key.snapshot()
    assert parts(first) == newest(far.issuer)
    assert first.expires_at.timestamp() == far.issuer.keys[first.access_key_id].expires_at
    assert 2300 < pause < 2400

    late += pause
    await key.renew()
    second = key.snapshot()
    assert parts(second) == newest(far.issuer) != parts(first)

    far.issuer.refusal = DOWN
    await key.renew()
    assert key.problem
    assert key.snapshot() == second
    late += key.time_left_seconds - 1
    assert key.snapshot() == second
    late += 1
    with pytest.raises(CredentialsUnavailable) as ended:
        key.snapshot()

    told = [key.problem, str(ended.value), repr(ended.value), repr(key), repr(second), repr(fetch)]
    shown = "".join((*told, *capfd.readouterr()))
    assert not [secret for secret in far.secrets if secret in shown]


@pytest.mark.parametrize("kind", FIXED)
def test_a_key_of_a_profile_that_does_not_end_is_read(far, kind):
    """Nobody is asked for it."""
    key = fetch_of(FIXED[kind](far))()
    token = "a-token" if kind == "cli_profile StsToken" else None
    assert parts(key) == ("LTAIbase", "base-secret", token)
    assert key.expires_at is None
    assert not far.issuer.requests


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_a_key_pair_is_signed_with_its_private_key(far, form):
    """In whichever of its forms RAM hands it out; STS verifies with the public one."""
    path = far.key_file(getattr(serialization.PrivateFormat, form))
    credentials = {
        "type": "rsa_key_pair",
        "public_key_id": "LTAIpublic",
        "private_key_file": path,
        "duration_seconds": 900,
    }
    key = fetch_of(credentials)()
    assert parts(key) == newest(far.issuer)
    assert key.security_token is None
    asked = far.issuer.requests[-1]
    assert (asked["host"], asked["DurationSeconds"]) == ("sts.ap-northeast-1.aliyuncs.com", "900")
    # One that RAM does not know, and one that is none.
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    far.issuer.public_keys["LTAIpublic"] = other.public_key()
    assert refused(credentials) == (
        "rsa_key_pair: refused: SignatureDoesNotMatch, HTTP 400, RequestId 8C26-NO"
    )
    far.file("key.pem", "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n")
    assert refused(credentials) == f"{path}: it holds no private key of RSA"


def test_the_packages_own_signature_of_a_key_pair_is_none(far):
    """Why there is one of ours: an HMAC with the private key, which nobody else has."""
    theirs = package.RsaKeyPairCredentialsProvider(
        public_key_id="LTAIpublic", private_key_file=far.key_file()
    )
    with pytest.raises(Exception, match="IncompleteSignature"):
        theirs.get_credentials()


def test_a_role_of_a_profile_is_asked_for_where_the_profile_says(far):
    """Region and VPC; a policy goes out as STS signs it."""
    policy = '{"Version": "1", "Statement": []}'
    file = cli(
        far,
        mode="RamRoleArn",
        ram_role_arn=OTHER_ROLE,
        sts_region="cn-beijing",
        enable_vpc=True,
        policy=policy,
        external_id="team=media",
        **KEY,
    )
    assert parts(fetch_of(file)()) == newest(far.issuer)
    asked = far.issuer.requests[-1]
    assert asked["host"] == "sts-vpc.cn-beijing.aliyuncs.com"
    assert json.loads(asked["Policy"]) == json.loads(policy)
    assert (asked["ExternalId"], asked["RoleSessionName"]) == ("team=media", "ims-gateway")


def test_a_login_of_cloud_sso_that_ended_is_reported(far):
    """Nobody but its owner can renew it."""
    file = cli(far, mode="CloudSSO", **sso(cloud_sso_access_token_expire=int(time.time()) - 1))
    assert refused(file).endswith("is empty or expired, please re-login with cli")
    assert not far.issuer.requests
    in_the_open = cli(far, mode="CloudSSO", **sso(cloud_sso_sign_in_url="http://sso.test/"))
    assert refused(in_the_open).startswith("cloud_sso_sign_in_url must begin with https://")


@pytest.mark.parametrize(
    ("site", "host"), [("CN", "oauth.aliyun.com"), ("INTL", "oauth.alibabacloud.com")]
)
def test_a_login_of_oauth_that_ends_is_renewed_and_written_down_at_once(far, site, host):
    """Its token is good once: the next one has to be there for whoever comes next."""
    ends = int(time.time()) + 600
    file = cli(far, mode="OAuth", **login(oauth_site_type=site, oauth_access_token_expire=ends))
    path = Path(file["file"])
    path.chmod(0o640)
    # The renewal goes well, and what follows does not: nothing may be lost.
    answer = far.issuer.answer

    def no_key(method: str, path: str, *more: Any) -> Any:
        if path == "/v1/exchange":
            raise DOWN
        return answer(method, path, *more)

    far.issuer.answer = no_key
    assert refused(file) == "cli_profile: refused: HTTP 503"
    far.issuer.answer = answer

    assert parts(fetch_of(file)()) == newest(far.issuer)
    assert [asked["path"] for asked in far.issuer.requests] == ["/v1/token", "/v1/exchange"]
    assert {asked["host"] for asked in far.issuer.requests} == {host}
    (written,) = json.loads(path.read_text())["profiles"]
    assert written["oauth_refresh_token"] == far.issuer.refresh_token
    assert written["oauth_access_token"] == far.issuer.access_token
    assert written["oauth_access_token_expire"] > ends
    assert written["access_key_id"] == "STS.before"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in far.folder.iterdir()] == ["config.json"]


def test_a_login_that_could_not_be_written_down_is_not_renewed(far):
    """It would be lost, and with it the account; it holds for as long as it does."""
    file = cli(far, mode="OAuth", **login(oauth_access_token_expire=int(time.time()) + 600))
    (far.folder / "config.json.ims-gateway").mkdir()
    assert "the login has to be renewed, and cannot be written there: Is a directory" in refused(
        file
    )
    assert not far.issuer.requests


def test_a_login_that_is_not_good_any_more_is_reported(far):
    """Somebody has to log in."""
    members = login(oauth_refresh_token="oauth-refresh-old", oauth_access_token=None)
    assert refused(cli(far, mode="OAuth", **members)) == (
        "cli_profile: refused: invalid_grant, HTTP 400"
    )
    members = login(oauth_refresh_token=None, oauth_access_token=None)
    assert refused(cli(far, mode="OAuth", **members)) == (
        "profile media: log in with the aliyun command"
    )


async def test_a_login_is_renewed_by_one_of_many(far):
    """Workers and accounts that share a profile do not use up each other's token."""
    ends = int(time.time()) + 600
    file = cli(far, mode="OAuth", **login(oauth_access_token_expire=ends))
    keys = [RenewedCredentials(fetch_of(file)) for _ in range(8)]
    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(key.renew())
    assert [key.problem for key in keys] == [None] * 8
    assert [asked["path"] for asked in far.issuer.requests].count("/v1/token") == 1


class _Tunnel(BaseHTTPRequestHandler):
    """A proxy: CONNECT, and then bytes in both directions."""

    asked: ClassVar[list[str]] = []
    port = 0

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        with socket.create_connection(("127.0.0.1", self.port)) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_copy, args=(far, self.connection))
            back.start()
            _copy(self.connection, far)
            back.join()

    def log_message(self, *_: Any) -> None:
        pass


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(far, monkeypatch):
    """Run a proxy that HTTPS goes through; gives what it is asked for."""
    tunnel = type("Tunnel", (_Tunnel,), {"asked": [], "port": far.issuer.address.split(":")[-1]})
    with ThreadingHTTPServer(("127.0.0.1", 0), tunnel) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_port}")
        yield tunnel.asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "host"),
    [
        ("rsa_key_pair", "sts.ap-northeast-1.aliyuncs.com:443"),
        ("cli_profile OAuth", "oauth.aliyun.com:443"),
    ],
)
def test_authorities_of_ones_own_hold_through_a_proxy_where_we_ask(far, proxy, kind, host):
    """A company's proxy may show certificates of its own."""
    assert parts(fetch_of(ENDING[kind](far))()) == newest(far.issuer)
    assert proxy == [host]


@pytest.mark.parametrize("kind", ["oidc_role_arn", "cli_profile CloudSSO"])
def test_the_package_trusts_public_authorities_alone_through_a_proxy(far, proxy, kind):
    """As the reference says; when this fails, the reference can be better."""
    assert refused(ENDING[kind](far)) == (
        f"{kind.partition(' ')[0]}: TLS failed: its certificate is not one of a public authority"
    )
    assert len(proxy) == 1


def test_a_netrc_takes_no_tokens_place(far, monkeypatch):
    """The library would send what a ~/.netrc has for the host."""
    path = far.file("netrc", "default login somebody password hush\n")
    monkeypatch.setenv("NETRC", path)
    assert parts(fetch_of(ENDING["cli_profile OAuth"](far))()) == newest(far.issuer)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no configuration of the aliyun command"),
        ('{"current": "media", "profiles": [{"access_key_secret": "hush"', "it is no conf"),
        ("[]", "it is no configuration of the aliyun command"),
        ("{}", "it names no current profile"),
        ('{"current": "media"}', "it has no profile media"),
        ('{"current": "m", "profiles": [{"name": "m"}]}', "the mode of profile m is not known"),
        (
            json.dumps({"current": "base", "profiles": [{"name": "base", **CHAIN}]}),
            "profile base is its own source_profile",
        ),
    ],
)
def test_what_is_wrong_with_the_file_of_the_aliyun_command_is_said(far, text, said):
    """With the file's name, and without what stands in it."""
    file = {"type": "cli_profile", "file": far.file("config.json", text)}
    assert refused(file).startswith(f"{file['file']}: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no profile default"),
        ("hush\n", "it is no INI file"),
        ("[default]\nhush\n", "it is no INI file"),
        ("[default]\ntype = bearer\n", "the type of profile default is not known"),
    ],
)
def test_what_is_wrong_with_an_ini_file_is_said(far, text, said):
    """Its parser would quote the line."""
    file = {"type": "profile", "file": far.file("credentials.ini", text)}
    assert refused(file) == f"{file['file']}: {said}"
