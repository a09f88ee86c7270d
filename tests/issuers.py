"""Issuers of tokens, and certificates: real keys, real signatures, a real HTTPS server of keys."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ims_gateway.tenancy.files import IssuerFile

ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:media:render-farm"
AUDIENCE = "ims-gateway"
ALL = ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"]


def a_key(kid: str, kind: str = "RSA") -> Any:
    """Return a key pair of a kind: RSA, a curve, or Ed25519."""
    if kind == "RSA":
        return RSAKey.generate_key(2048, {"kid": kid})
    return (OKPKey if kind == "Ed25519" else ECKey).generate_key(kind, {"kid": kid})


def jwks(*keys: Any) -> bytes:
    """Return the public keys as they are published."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def claims(now: float | None = None, **changes: Any) -> dict[str, Any]:
    """Return good claims with changes; None leaves a claim out."""
    now = time.time() if now is None else now
    good = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "exp": now + 600, "iat": now}
    return {name: value for name, value in (good | changes).items() if value is not None}


def a_token(key: Any, content: Any = None, *, alg: str = "RS256", **headers: Any) -> str:
    """Return claims (or bytes) signed by a key; None leaves a header out."""
    header = {"alg": alg, "kid": key.kid, "typ": "JWT"} | headers
    header = {name: value for name, value in header.items() if value is not None}
    return compact(header, content, lambda text: jws.JWSRegistry.algorithms[alg].sign(text, key))


def compact(header: Any, content: Any = None, sign: Any = lambda _: b"") -> str:
    """Return a token with whatever in it."""
    content = claims() if content is None else content
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    head, body = (
        base64.urlsafe_b64encode(part).rstrip(b"=")
        for part in (json.dumps(header).encode(), payload)
    )
    signature = base64.urlsafe_b64encode(sign(head + b"." + body)).rstrip(b"=")
    return b".".join((head, body, signature)).decode()


def unsigned(content: Any = None, kid: str = "one") -> str:
    """Return a token without a signature."""
    return compact({"alg": "none", "kid": kid, "typ": "JWT"}, content)


def confused(secret: bytes, content: Any = None, kid: str = "one") -> str:
    """Return a token of HS256 whose secret is what everybody knows of a public key."""
    header = {"alg": "HS256", "kid": kid, "typ": "JWT"}
    return compact(header, content, lambda text: hmac.digest(secret, text, "sha256"))


def an_issuer(**changes: Any) -> IssuerFile:
    """Return the entry of issuers.yaml."""
    entry = {
        "name": "cluster",
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "algorithms": ALL,
        "jwks_url": "https://issuer.test/jwks",
    }
    return IssuerFile.model_validate(entry | changes)


@dataclass
class Published:
    """What the server answers at /jwks, and how often it was asked."""

    document: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    url: str = ""
    # Answers wait for it.
    open: threading.Event = field(default_factory=threading.Event)


@contextmanager
def publishing(document: bytes, context: ssl.SSLContext) -> Iterator[Published]:
    """Serve a key set over HTTPS."""
    published = Published(document)
    published.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked += 1
            published.open.wait(10)
            self.send_response(published.status)
            for name, value in published.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(published.document)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    published.url = f"https://127.0.0.1:{server.server_port}/jwks"
    try:
        yield published
    finally:
        published.open.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write them as files."""
        files = folder / f"{name}.pem", folder / f"{name}.key"
        for file, content in zip(files, (self.certificate, self.key), strict=True):
            file.write_bytes(content)
        return files


class Authority:
    """Makes certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self._certificate = self._signed(self._name, self._key.public_key(), ca=True)
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def pair(
        self, *names: x509.GeneralName, ends: datetime | None = None, common_name: str = "test"
    ) -> Pair:
        """Return a certificate with these alternative names, by default for this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._signed(name, key.public_key(), names, ends)
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def for_this_machine(self) -> Pair:
        """Return a server's certificate for 127.0.0.1."""
        return self.pair(
            x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        )

    def _signed(self, subject: Any, public: Any, names: Any = (), ends: Any = None, *, ca=False):
        now = datetime.now(UTC)
        authority = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(ends or now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
