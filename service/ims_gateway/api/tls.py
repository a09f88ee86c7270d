"""The server's certificate, taken anew when its files change.

Decides which pair of certificate and key is good enough to be served: a bad or half-written one is
reported, and the one before stays. Connections that are open stay with the one they began with.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ims_gateway.tenancy.reading import ConfigurationError, Fault

LOOK_SECONDS: Final = 0.5
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Pem:
    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.client_ca)


class ServerCertificate:
    """Certificate and key of the server and, where clients need certificates, their authorities.

    Raises ConfigurationError where they are not good.
    """

    def __init__(
        self, certificate_file: Path, key_file: Path, client_ca_file: Path | None = None
    ) -> None:
        self._files = (certificate_file, key_file, client_ca_file)
        self._served = self._checked = self._read()
        self._handed_out = self._served
        if fault := _fault(self._served):
            raise ConfigurationError([Fault(certificate_file.name, 0, fault)])

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a port is opened with: every new connection gets the present certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._served.configuration(),
            self._changed,  # type: ignore[arg-type]  # None is documented: no change
            require_client_authentication=self._served.client_ca is not None,
        )

    async def run(self) -> None:
        """Look for changed files until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take the files if they have changed and are good."""
        try:
            found = self._read()
        except ConfigurationError:
            # Somebody is putting another one there; what is gone for good is noticed at a start.
            return
        if found == self._checked:
            return
        self._checked = found
        if fault := _fault(found):
            log.error("certificate of the server not taken", fault=fault)
            return
        self._served = found
        ends = x509.load_pem_x509_certificates(found.chain)[0].not_valid_after_utc
        log.info("certificate of the server taken", expires=ends.isoformat())

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificate if it is not the last that was returned. Called by gRPC."""
        served = self._served
        if served is self._handed_out:
            return None
        self._handed_out = served
        return served.configuration()

    def _read(self) -> _Pem:
        certificate_file, key_file, client_ca_file = self._files
        return _Pem(
            _bytes_of(certificate_file),
            _bytes_of(key_file),
            _bytes_of(client_ca_file) if client_ca_file else None,
        )


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError([Fault(file.name, 0, type(error).__name__)]) from None


def _fault(pem: _Pem) -> str:
    """Return what is wrong with the files; nothing of them is quoted."""
    try:
        certificate = x509.load_pem_x509_certificates(pem.chain)[0]
        key = load_pem_private_key(pem.key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "not a certificate and its private key, both as PEM"
    if certificate.public_key() != key.public_key():
        return "the private key is not that of the certificate"
    if pem.client_ca is not None and not _are_certificates(pem.client_ca):
        return "the authorities of clients are no certificates in PEM"
    return ""


def _are_certificates(pem: bytes) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(pem))
    except ValueError:
        return False
