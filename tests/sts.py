"""Whoever hands out keys at Alibaba Cloud, over real HTTP and HTTPS.

STS, IMDSv2, CloudSSO, OAuth, and a credentials URI.

Verifies what it is asked with, by code of its own, and issues keys that an emulator accepts as long
as they last. Can be told to refuse, and to hang.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ims_gateway.emulator.settings import AccessKey

ROLE = "acs:ram::1234567890123456:role/ims-gateway"
OTHER_ROLE = "acs:ram::2234567890123456:role/media"
PROVIDER = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.service-account-token.signature"
METADATA_TOKEN = "metadata-token"
ECS_ROLE = "ecs-ims-gateway"
SSO_TOKEN = "sso-access-token"
SSO_ACCOUNT = {"AccountId": "1234567890123456", "AccessConfigurationId": "ac-media"}
# What the aliyun command is called at each of the two sites.
OAUTH_CLIENTS = {
    "oauth.aliyun.com": "4038181954557748008",
    "oauth.alibabacloud.com": "4103531455503354461",
}


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An answer of STS that hands out nothing."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message


@dataclass
class Issuer:
    """What was asked for, what was issued, and how it behaves.

    keys: those that an emulator accepts; issued ones are added. base_keys: who may assume roles.
    seconds: how long a key lasts. token: the OIDC token that is good. public_keys: of RAM, by id.
    access_token, refresh_token: of OAuth, the ones that are good; a refresh token is good once.
    """

    seconds: float = 3600
    token: str = TOKEN
    public_keys: dict[str, rsa.RSAPublicKey] = field(default_factory=dict)
    access_token: str = "oauth-access-0"
    refresh_token: str = "oauth-refresh-0"
    keys: dict[str, AccessKey] = field(
        default_factory=lambda: {"STS.ended": AccessKey("nobody-has-it", active=False)}
    )
    base_keys: dict[str, str] = field(default_factory=lambda: {"LTAIbase": "base-secret"})
    requests: list[dict[str, str]] = field(default_factory=list)
    refusal: Refused | None = None
    hang: threading.Event | None = None
    address: str = ""

    @property
    def issued(self) -> list[str]:
        """The keys that were issued, oldest first."""
        return [name for name, key in self.keys.items() if key.expires_at is not None]

    def issue(self, *, with_token: bool = True) -> dict[str, Any]:
        """Make a key, and return it as STS says it."""
        expires_at = int(time.time() + self.seconds)
        name, secret, token = (secrets.token_urlsafe(9) for _ in range(3))
        self.keys[f"STS.{name}"] = AccessKey(
            f"secret-{secret}",
            security_token=f"token-{token}" if with_token else None,
            expires_at=expires_at,
        )
        return {
            "AccessKeyId": f"STS.{name}",
            "AccessKeySecret": f"secret-{secret}",
            "SecurityToken": f"token-{token}",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_at)),
        }

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any) -> Any:
        """Return the answer to a request. Raises Refused."""
        host = str(headers.get("Host")).removeprefix("https://").partition(":")[0]
        self.requests.append({"method": method, "path": path, "host": host, **query})
        if self.hang is not None:
            self.hang.wait(30)
        if self.refusal is not None:
            raise self.refusal
        actions = {
            ("GET", "/", "AssumeRoleWithOIDC"): lambda: self._assume_with_oidc(query),
            ("GET", "/", "AssumeRole"): lambda: self._assume(query),
            ("GET", "/", "GenerateSessionAccessKey"): lambda: self._session_key(query),
            ("POST", "/cloud-credentials", None): lambda: self._sso_key(query, headers),
            ("POST", "/v1/token", None): lambda: self._renewed_login(query, host),
            ("POST", "/v1/exchange", None): lambda: self._login_key(headers),
            ("PUT", "/latest/api/token", None): lambda: _metadata_token(headers),
            ("GET", "/credentials", None): lambda: {"Code": "Success", **self.issue()},
        }
        action = actions.get((method, path, query.get("Action")))
        return action() if action else self._metadata(method, path, headers)

    def _metadata(self, method: str, path: str, headers: Any) -> Any:
        if headers.get("X-aliyun-ecs-metadata-token") != METADATA_TOKEN:
            raise Refused(403, "Forbidden")
        match (method, path):
            case ("GET", "/latest/meta-data/ram/security-credentials/"):
                return ECS_ROLE
            case ("GET", p) if p == f"/latest/meta-data/ram/security-credentials/{ECS_ROLE}":
                return {"Code": "Success", **self.issue()}
        raise Refused(404, "NotFound")

    def _assume_with_oidc(self, query: dict[str, str]) -> Any:
        if query["OIDCToken"] != self.token:
            raise Refused(400, "AuthenticationFail.OIDCToken.Invalid", query["OIDCToken"])
        if (query["RoleArn"], query["OIDCProviderArn"]) != (ROLE, PROVIDER):
            raise Refused(404, "EntityNotExist.Role")
        return {"RequestId": "8C26-OIDC", "Credentials": self.issue()}

    def _assume(self, query: dict[str, str]) -> Any:
        known = self.keys.get(query["AccessKeyId"])
        secret = known.secret if known else self.base_keys.get(query["AccessKeyId"])
        if secret is None:
            raise Refused(404, "InvalidAccessKeyId.NotFound")
        if known and query.get("SecurityToken") != known.security_token:
            raise Refused(400, "InvalidSecurityToken.MismatchWithAccessKey")
        text = _signed(query)
        digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
        if base64.b64encode(digest).decode() != query["Signature"]:
            raise Refused(400, "SignatureDoesNotMatch", f"server string to sign is:{text}")
        if query["RoleArn"] not in (ROLE, OTHER_ROLE):
            raise Refused(403, "NoPermission")
        return {"RequestId": "8C26-ASSUME", "Credentials": self.issue()}

    def _session_key(self, query: dict[str, str]) -> Any:
        public = self.public_keys.get(query["AccessKeyId"])
        if public is None:
            raise Refused(404, "InvalidAccessKeyId.NotFound")
        how = (query["SignatureMethod"], query.get("SignatureType"), query["SignatureVersion"])
        if how != ("SHA256withRSA", "PRIVATEKEY", "1.0"):
            raise Refused(400, "IncompleteSignature")
        text = _signed(query)
        try:
            signature = base64.b64decode(query["Signature"])
            public.verify(signature, text.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            message = f"server string to sign is:{text}"
            raise Refused(400, "SignatureDoesNotMatch", message) from None
        key = self.issue(with_token=False)
        names = {"AccessKeyId": "SessionAccessKeyId", "AccessKeySecret": "SessionAccessKeySecret"}
        members = {names.get(name, name): value for name, value in key.items()}
        del members["SecurityToken"]
        return {"RequestId": "8C26-PAIR", "SessionAccessKey": members}

    def _sso_key(self, body: dict[str, str], headers: Any) -> Any:
        if headers.get("Authorization") != f"Bearer {SSO_TOKEN}":
            raise Refused(401, "Unauthorized", str(headers.get("Authorization")))
        if body != SSO_ACCOUNT:
            raise Refused(403, "NoPermission")
        return {"RequestId": "8C26-SSO", "CloudCredential": self.issue()}

    def _renewed_login(self, form: dict[str, str], host: str) -> Any:
        known = (form["grant_type"], form["client_id"]) == ("refresh_token", OAUTH_CLIENTS[host])
        if not known or form["refresh_token"] != self.refresh_token:
            raise Refused(400, "invalid_grant", form["refresh_token"])
        self.access_token = f"oauth-access-{secrets.token_urlsafe(9)}"
        self.refresh_token = f"oauth-refresh-{secrets.token_urlsafe(9)}"
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_in": 3600,
            "token_type": "Bearer",
        }

    def _login_key(self, headers: Any) -> Any:
        if headers.get("Authorization") != f"Bearer {self.access_token}":
            raise Refused(401, "invalid_token", str(headers.get("Authorization")))
        members = self.issue().items()
        return {f"{name[0].lower()}{name[1:]}": value for name, value in members}


def _metadata_token(headers: Any) -> str:
    if not headers.get("X-aliyun-ecs-metadata-token-ttl-seconds"):
        raise Refused(400, "MissingTtl")
    return METADATA_TOKEN


def _signed(query: dict[str, str]) -> str:
    """Return what a request signs. RPC, version 1: older than that of the calls to the service."""
    unsigned = {name: value for name, value in query.items() if name != "Signature"}
    signed = "&".join(f"{_enc(name)}={_enc(unsigned[name])}" for name in sorted(unsigned))
    return f"GET&{_enc('/')}&{_enc(signed)}"


def _enc(text: str) -> str:
    return quote(text, safe="-_.~")


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        # A proxy is asked for whole addresses: so does IMDS get here, whose own is fixed.
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True)) | self._body()
        try:
            answer = self.issuer.answer(self.command, parts.path, query, self.headers)
            status = 200
        except Refused as refused:
            status = refused.status
            answer = {"RequestId": "8C26-NO", "Code": refused.code, "Message": refused.message}
            if parts.path.startswith("/v1/"):
                answer = {"error": refused.code, "error_description": refused.message}
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        # Hosts whose names are fixed are one after the other's, and a connection would be kept.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> dict[str, str]:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        is_json = self.headers.get("Content-Type") == "application/json" and text
        return dict(json.loads(text) if is_json else parse_qsl(text))

    do_GET = do_POST = do_PUT = _handle  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(issuer: Issuer, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Have an issuer answer on loopback; yields where. tls: certificate and key."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"issuer": issuer}))
    server.daemon_threads = True
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"{scheme}://{host}:{server.server_address[1]}"
    finally:
        if issuer.hang is not None:
            issuer.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def an_issuer(tls: tuple[Path, Path] | None = None, **settings: Any) -> Iterator[Issuer]:
    """Run an issuer on loopback; `address` says where. tls: certificate and key."""
    issuer = Issuer(**settings)
    with serving(issuer, tls) as issuer.address:
        yield issuer
