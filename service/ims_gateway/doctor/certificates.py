"""Whether the server's certificate is one that clients will take, and for how long yet."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from cryptography import x509

from ims_gateway.api.tls import ServerCertificate
from ims_gateway.doctor.finding import Finding, fail, lasting, ok, warn
from ims_gateway.settings import Settings
from ims_gateway.tenancy.reading import ConfigurationError

TLS: Final = "certificate"
LOCAL: Final = ("127.0.0.1", "localhost", "[::1]", "unix")
# What is renewed in time has more left: cert-manager does it with a third of the time to go.
SOON_SECONDS: Final = 14 * 86_400
SOON_PART: Final = 5


def check_certificates(settings: Settings) -> list[Finding]:
    """Look at the certificates that IMSGW_TLS_* name."""
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None or key is None:
        return [_without(settings.listen)]
    try:
        ServerCertificate(certificate, key, settings.tls_client_ca_file)
    except ConfigurationError as error:
        advice = "Put a chain, its own private key and authorities there, all as PEM."
        return [fail(TLS, fault.file, fault.message, advice) for fault in error.faults]
    own = x509.load_pem_x509_certificates(certificate.read_bytes())
    found = [_validity(certificate, own), _names(certificate, own[0])]
    if settings.tls_client_ca_file is not None:
        authorities = settings.tls_client_ca_file.read_bytes()
        found.append(
            _validity(settings.tls_client_ca_file, x509.load_pem_x509_certificates(authorities))
        )
    return found


def _without(listen: str) -> Finding:
    if listen.rpartition(":")[0] in LOCAL or listen.startswith("unix:"):
        return ok(TLS, "IMSGW_LISTEN", "plain text, for this machine only")
    found = f"plain text on {listen}: API keys and tokens travel in the open"
    return warn(
        TLS, "IMSGW_LISTEN", found, "Set IMSGW_TLS_CERTIFICATE_FILE and IMSGW_TLS_KEY_FILE."
    )


def _validity(file: Path, chain: list[x509.Certificate]) -> Finding:
    """Return what is to be said of the one that ends first."""
    now = time.time()
    first = min(chain, key=lambda each: each.not_valid_after_utc)
    begins, ends = first.not_valid_before_utc.timestamp(), first.not_valid_after_utc.timestamp()
    on = first.not_valid_after_utc.date().isoformat()
    if ends <= now:
        advice = "Renew it: clients refuse it. The gateway takes a new file while it runs."
        return fail(TLS, file.name, f"ended {lasting(now - ends)} ago, on {on}", advice)
    if begins > now:
        found = f"not good before {first.not_valid_before_utc.isoformat()}"
        return fail(TLS, file.name, found, "Check this machine's clock, or make another one.")
    found = f"good for {lasting(ends - now)}, until {on}"
    if ends - now < min(SOON_SECONDS, (ends - begins) / SOON_PART):
        advice = "Renew it, and see why that did not happen by itself."
        return warn(TLS, file.name, found, advice)
    return ok(TLS, file.name, found)


def _names(file: Path, certificate: x509.Certificate) -> Finding:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        advice = (
            "Make one with the names that callers use as its SAN; a common name counts nothing."
        )
        return fail(TLS, file.name, "it has no names (SAN)", advice)
    shown = [str(each.value) for each in names][:4]
    return ok(TLS, file.name, f"for {', '.join(shown)}")
