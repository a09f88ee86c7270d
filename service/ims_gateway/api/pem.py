"""The files of the server's certificate.

Decides which certificate and key are good enough to be served. Nothing of them is quoted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ims_gateway.tenancy.reading import ConfigurationError, Fault


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificate chain and key, and the authorities of clients where those need certificates."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None

    @property
    def ends(self) -> datetime:
        """When the certificate ends."""
        return x509.load_pem_x509_certificates(self.chain)[0].not_valid_after_utc


def read(certificate_file: Path, key_file: Path, client_ca_file: Path | None) -> Pem:
    """Read the files. Raises ConfigurationError where they cannot be read."""
    return Pem(
        _bytes_of(certificate_file),
        _bytes_of(key_file),
        _bytes_of(client_ca_file) if client_ca_file else None,
    )


def read_good(certificate_file: Path, key_file: Path, client_ca_file: Path | None) -> Pem:
    """Read the files. Raises ConfigurationError where they are not good either."""
    found = read(certificate_file, key_file, client_ca_file)
    if fault := fault_of(found):
        raise ConfigurationError([Fault(certificate_file.name, 0, fault)])
    return found


def fault_of(pem: Pem) -> str:
    """Return what is wrong with the files, if anything is."""
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


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError([Fault(file.name, 0, type(error).__name__)]) from None
