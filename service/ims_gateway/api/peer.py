"""Reads from a connection who is at its other end.

Decides what is believed: gRPC's own `peer_spiffe_id`, which is there only where the certificate has
exactly one URI among its names and that is a SPIFFE id. The list of all names mixes URIs with DNS
names, whose texts anybody may choose who can get a certificate for a name.
"""

from __future__ import annotations

from typing import Any

import grpc
from cryptography import x509

from ims_gateway.identity.authenticator import NOBODY, Peer


def peer_of(context: grpc.aio.ServicerContext[Any, Any]) -> Peer:
    """Return the client whose certificate was verified, NOBODY where none was."""
    facts = context.auth_context()
    if _one(facts, "transport_security_type") != b"ssl":
        return NOBODY
    spiffe_id, certificate = _one(facts, "peer_spiffe_id"), _one(facts, "x509_pem_cert")
    if not spiffe_id or not certificate:
        return NOBODY
    ends = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return Peer(spiffe_id.decode(), ends.timestamp())


def _one(facts: Any, name: str) -> bytes:
    values = list(facts.get(name, ()))
    return bytes(values[0]) if len(values) == 1 else b""
