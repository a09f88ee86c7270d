"""Whoever hands out keys at Alibaba Cloud, over real HTTP: STS, IMDSv2, and a credentials URI.

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

from ims_gateway.emulator.settings import AccessKey

ROLE = "acs:ram::1234567890123456:role/ims-gateway"
OTHER_ROLE = "acs:ram::2234567890123456:role/media"
PROVIDER = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.service-account-token.signature"
METADATA_TOKEN = "metadata-token"
ECS_ROLE = "ecs-ims-gateway"


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
    seconds: how long a key lasts. token: the OIDC token that is good.
    """

    seconds: float = 3600
    token: str = TOKEN
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
        return [name for name, key in self.keys.items() if key.security_token]

    def issue(self) -> dict[str, Any]:
        """Make a key, and return it as STS says it."""
        expires_at = int(time.time() + self.seconds)
        name, secret, token = (secrets.token_urlsafe(9) for _ in range(3))
        self.keys[f"STS.{name}"] = AccessKey(
            f"secret-{secret}", security_token=f"token-{token}", expires_at=expires_at
        )
        return {
            "AccessKeyId": f"STS.{name}",
            "AccessKeySecret": f"secret-{secret}",
            "SecurityToken": f"token-{token}",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_at)),
        }

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any) -> Any:
        """Return the answer to a request. Raises Refused."""
        self.requests.append({"method": method, "path": path, **query})
        if self.hang is not None:
            self.hang.wait(30)
        if self.refusal is not None:
            raise self.refusal
        match (method, path, query.get("Action")):
            case ("GET", "/", "AssumeRoleWithOIDC"):
                return self._assume_with_oidc(query)
            case ("GET", "/", "AssumeRole"):
                return self._assume(query)
            case ("GET", "/", "GenerateSessionAccessKey"):
                return {"SessionAccessKey": _session_key(self.seconds)}
            case ("PUT", "/latest/api/token", _):
                if not headers.get("X-aliyun-ecs-metadata-token-ttl-seconds"):
                    raise Refused(400, "MissingTtl")
                return METADATA_TOKEN
            case ("GET", "/credentials", _):
                return {"Code": "Success", **self.issue()}
        return self._metadata(method, path, headers)

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
        unsigned = {name: value for name, value in query.items() if name != "Signature"}
        # RPC, version 1: an older scheme than that of the calls to the service.
        signed = "&".join(f"{_enc(name)}={_enc(unsigned[name])}" for name in sorted(unsigned))
        text = f"GET&{_enc('/')}&{_enc(signed)}"
        digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
        if base64.b64encode(digest).decode() != query["Signature"]:
            raise Refused(400, "SignatureDoesNotMatch", f"server string to sign is:{text}")
        if query["RoleArn"] not in (ROLE, OTHER_ROLE):
            raise Refused(403, "NoPermission")
        return {"RequestId": "8C26-ASSUME", "Credentials": self.issue()}


def _session_key(seconds: float) -> dict[str, str]:
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    return {
        "SessionAccessKeyId": "TMPSK.1",
        "SessionAccessKeySecret": "session-secret",
        "Expiration": ends,
    }


def _enc(text: str) -> str:
    return quote(text, safe="-_.~")


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        # A proxy is asked for whole addresses: so does IMDS get here, whose own is fixed.
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            answer = self.issuer.answer(self.command, parts.path, query, self.headers)
            status = 200
        except Refused as refused:
            status = refused.status
            answer = {"RequestId": "8C26-NO", "Code": refused.code, "Message": refused.message}
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = _handle  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def an_issuer(tls: tuple[Path, Path] | None = None, **settings: Any) -> Iterator[Issuer]:
    """Run an issuer on loopback; `address` says where. tls: certificate and key."""
    issuer = Issuer(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"issuer": issuer}))
    server.daemon_threads = True
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    issuer.address = f"{scheme}://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        if issuer.hang is not None:
            issuer.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()
