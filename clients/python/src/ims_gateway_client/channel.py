"""The connection to the gateway.

Decides between TLS and plain text, and what gRPC does unasked: which calls it repeats, how it
spreads them over replicas, how it notices a dead peer. Repeats nothing that changes something.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import grpc
from grpc import aio

from ims_gateway_client.credentials import BearerInterceptor, Credential, aio_interceptors
from ims_gateway_client.retries import CALL

DEFAULT_TARGET: Final = "127.0.0.1:50051"

# The unary calls that change nothing: only these does gRPC repeat when the gateway is unavailable.
# SubmitJob is not among them, for a raw stub may call it without a request_id, and each such call
# is a job; Client.submit repeats it by itself. Nor is WatchJob: Client.watch resumes it.
READS: Final = {
    "imsgateway.v1.JobService": ("GetJob", "GetJobTrace", "ListJobs"),
    "imsgateway.v1.AccessService": ("WhoAmI", "ListAlgorithms", "ExplainAccess"),
    "imsgateway.v1.QuotaService": ("GetUsage", "ListUsageHistory"),
    "imsgateway.v1.AdminService": ("ListTenants", "ListDecisions"),
}

_LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How the two sides prove themselves. Paths of PEM files.

    ca_file: authorities to trust; default: those of gRPC. certificate_file and key_file: the
    caller's own, for mTLS. server_name: expected in the gateway's certificate where it is not the
    target's host.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the gateway is. tls: None for plain text."""

    target: str
    tls: TlsOptions | None

    @classmethod
    def of(cls, target: str, *, tls: TlsOptions | bool | None) -> "Endpoint":
        """Return the endpoint as the caller described it.

        tls None means plain text to this machine and TLS to any other, so that no credential
        crosses a network in the clear unless somebody wrote tls=False.
        """
        if tls is None:
            tls = not is_local(target)
        if isinstance(tls, bool):
            return cls(target, TlsOptions() if tls else None)
        return cls(target, tls)


def is_local(target: str) -> bool:
    """Return whether a gRPC target lies on this machine."""
    if target.startswith("unix:"):
        return True
    authority = target.rpartition("/")[2].removeprefix("ipv4:").removeprefix("dns:")
    host = authority if authority.endswith("]") else authority.rpartition(":")[0] or authority
    return host in _LOOPBACK_HOSTS


def open_channel(endpoint: Endpoint, credential: Credential) -> grpc.Channel:
    """Return a channel that sends the credential with every call. It connects when first used."""
    options = channel_options(endpoint)
    if endpoint.tls is None:
        channel = grpc.insecure_channel(endpoint.target, options)
    else:
        channel = grpc.secure_channel(endpoint.target, _proofs(endpoint.tls), options)
    if credential.given:
        return grpc.intercept_channel(channel, BearerInterceptor(credential))
    return channel


def open_aio_channel(endpoint: Endpoint, credential: Credential) -> aio.Channel:
    """Return the same as open_channel, for asyncio."""
    options = channel_options(endpoint)
    interceptors = aio_interceptors(credential) if credential.given else []
    if endpoint.tls is None:
        return aio.insecure_channel(endpoint.target, options, interceptors=interceptors)
    proofs = _proofs(endpoint.tls)
    return aio.secure_channel(endpoint.target, proofs, options, interceptors=interceptors)


def _proofs(tls: TlsOptions) -> grpc.ChannelCredentials:
    def read(path: Path | None) -> bytes | None:
        return path.read_bytes() if path else None

    return grpc.ssl_channel_credentials(
        root_certificates=read(tls.ca_file),
        private_key=read(tls.key_file),
        certificate_chain=read(tls.certificate_file),
    )


def channel_options(endpoint: Endpoint) -> Sequence[tuple[str, str | int]]:
    """Return the channel's arguments."""
    options: list[tuple[str, str | int]] = [
        ("grpc.service_config", service_config()),
        ("grpc.primary_user_agent", f"ims-gateway-client/{metadata.version('ims-gateway-client')}"),
        # A page of 1000 jobs outgrows gRPC's 4 MiB. What is sent has no limit here: the gateway's
        # refusal of a request that is too long says which field it is.
        ("grpc.max_receive_message_length", 32 << 20),
        # A quiet watch notices a dead peer. A server with gRPC's defaults cuts the connection of a
        # client that pings more than once in five minutes ("too_many_pings").
        ("grpc.keepalive_time_ms", 310_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Shorter than a replica goes on serving after it was told to stop: the one that was started
        # anew before it is found in time. The same for replicas that are new to DNS.
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    ]
    if is_local(endpoint.target):
        options.append(("grpc.enable_http_proxy", 0))
    if endpoint.tls and endpoint.tls.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.tls.server_name))
    return options


def service_config() -> str:
    """Return gRPC's service config (gRFC A6) as JSON."""
    reads = [
        {"service": service, "method": method}
        for service, methods in READS.items()
        for method in methods
    ]
    policy = {
        "maxAttempts": CALL.attempts,
        "initialBackoff": f"{CALL.initial_seconds}s",
        "maxBackoff": f"{CALL.maximum_seconds}s",
        "backoffMultiplier": 2,
        # CANCELLED is what gRPC says of a call that met a server at the moment of its stop.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": reads, "retryPolicy": policy}],
    }
    return json.dumps(config)
