"""One upstream account: whose key signs, and which endpoint is called under which limits.

Decides what a complete and sensible account is. Never reads a file or the environment.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ims_gateway.upstream.credentials import CredentialsProvider

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ENDPOINT = re.compile(
    rf"(?:{_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9]\d{{0,4}}))?"
)
_MAX_PORT = 65535
_PORTS = {"https": 443, "http": 80}
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Account:
    """What an upstream client is built from.

    name: what tenants' files call it. region: as Alibaba Cloud writes it, "cn-shanghai".
    endpoint: host or host:port; by default the region's public one. It stays a setting because
    the official SDK's own list disagrees with the documentation (wire facts).
    ca_file: PEM; the only authorities to trust, instead of the public ones.
    max_in_flight: submits at once, and connections of one process. calls_per_second: submits, None
    for as many as there are; both hold for all processes together, as does polls_per_second: how
    often the service is asked about jobs, all of them together. connect_timeout_seconds: for a free
    connection, TCP and TLS together. read_timeout_seconds: for the answer. It is long, because
    a submit that it cuts off holds quota until somebody finds out what became of the job.
    resend_unknown: whether the same signed bytes follow an unclear answer to a submit, once. Off
    by default: it rests on the service's nonce guard being exact, which nobody has verified.
    Raises ValueError, naming the field.
    """

    name: str
    region: str
    credentials: CredentialsProvider = field(repr=False)
    endpoint: str = ""
    scheme: Literal["https", "http"] = "https"
    ca_file: Path | None = None
    max_in_flight: int = 64
    calls_per_second: float | None = None
    polls_per_second: float = 10.0
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 30.0
    resend_unknown: bool = False

    def __post_init__(self) -> None:
        if not self.endpoint:
            object.__setattr__(self, "endpoint", f"ice.{self.region}.aliyuncs.com")
        for wrong, rule in (
            (not self.name, "name must not be empty"),
            (not _REGION.fullmatch(self.region), "region must look like cn-shanghai"),
            (not _is_endpoint(self.endpoint), "endpoint must be a host or host:port"),
            (self.scheme not in ("https", "http"), "scheme must be https or http"),
            (self.ca_file and self.scheme == "http", "ca_file makes no sense with http"),
            (self.max_in_flight < 1, "max_in_flight must be at least 1"),
            (
                self.calls_per_second is not None and self.calls_per_second <= 0,
                "calls_per_second must be positive",
            ),
            (self.polls_per_second <= 0, "polls_per_second must be positive"),
            (self.connect_timeout_seconds <= 0, "connect_timeout_seconds must be positive"),
            (self.read_timeout_seconds <= 0, "read_timeout_seconds must be positive"),
        ):
            if wrong:
                raise ValueError(f"account {self.name!r}: {rule}")

    @property
    def origin(self) -> str:
        """Where calls go: scheme and endpoint, with no path."""
        return f"{self.scheme}://{self.endpoint}"

    @property
    def host(self) -> str:
        """The endpoint's host, an IPv6 address without its brackets."""
        return self.endpoint.removesuffix(f":{self.port}").strip("[]")

    @property
    def port(self) -> int:
        """The endpoint's port, or the scheme's."""
        _, colon, port = self.endpoint.rpartition("]")[2].rpartition(":")
        return int(port) if colon else _PORTS[self.scheme]


def _is_endpoint(text: str) -> bool:
    # Strict, because a name that cannot even be looked up fails in ways that no longer look like
    # "never sent".
    match = _ENDPOINT.fullmatch(text)
    return match is not None and int(match["port"] or 1) <= _MAX_PORT
