"""The process's settings: the only reader of the environment.

Tenants, grants and upstream accounts are files (see `tenancy`); here is what differs between two
processes that serve the same tenants.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ims_gateway.jobs.database import database

MEBIBYTE: Final = 1024 * 1024
# How long a submit waits for a ledger that is away (`settling.PAUSES_SECONDS`), and some.
LONGEST_SETTLEMENT_SECONDS: Final = 75.0


def _long_enough(pepper: SecretStr) -> SecretStr:
    if len(pepper.get_secret_value()) < 32:  # noqa: PLR2004 - 256 bits, written as text
        raise ValueError("must have at least 32 characters")
    return pepper


def _a_database(url: SecretStr) -> SecretStr:
    database(url.get_secret_value())
    return url


def _none_or_a_mebibyte(size: int) -> int:
    if 0 < size < MEBIBYTE:
        raise ValueError("must be 0 or at least 1048576")
    return size


def _none_or_a_day(days: float) -> float:
    if 0 < days < 1:
        raise ValueError("must be 0 or at least 1")
    return days


def _none_or_a_second(seconds: float) -> float:
    if 0 < seconds < 1:
        raise ValueError("must be 0 or at least 1")
    return seconds


def _a_port(address: str) -> str:
    port = address.rpartition(":")[2]
    if address and not is_unix(address) and int(port) > 65535:  # noqa: PLR2004 - of 16 bits
        raise ValueError("must have a port of at most 65535")
    return address


def is_unix(address: str) -> bool:
    """Say whether the address is a Unix socket's."""
    return address.startswith("unix:")


class LedgerSettings(BaseSettings):
    """Where the ledger is, read from variables that begin with IMSGW_.

    Raises pydantic.ValidationError, which lists every fault at once and shows no secret.
    """

    model_config = SettingsConfigDict(env_prefix="IMSGW_", frozen=True, hide_input_in_errors=True)

    database_url: Annotated[SecretStr, AfterValidator(_a_database)] = Field(
        default=SecretStr("sqlite:///ims-gateway.db"),
        description="The ledger: sqlite:///relative.db, sqlite:////absolute.db (one machine) or "
        "postgresql://user:password@host/name (replicas).",
    )
    database_timeout_seconds: float = Field(
        default=5.0,
        ge=0.1,
        le=60,
        description="Longest time a call waits for the ledger before it is told to come back.",
    )


class FileSettings(BaseSettings):
    """Where the files of a start are, whatever the rest of the settings is worth."""

    model_config = SettingsConfigDict(env_prefix="IMSGW_", frozen=True, hide_input_in_errors=True)

    config_dir: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None


class Settings(LedgerSettings):
    """What `imsgw serve` needs to know."""

    config_dir: Path = Field(
        description="Folder with accounts.yaml, tenants/*.yaml and, if there are any, "
        "grants.yaml, issuers.yaml, operators.yaml, prices.yaml and policy_tests/*.yaml. Those "
        "beside the folders may stand in a folder platform/ instead."
    )
    key_pepper: Annotated[SecretStr, AfterValidator(_long_enough)] = Field(
        description="Secret that keys the hashes of API keys, at least 32 characters."
    )
    listen: Annotated[str, AfterValidator(_a_port)] = Field(
        default="127.0.0.1:50051",
        pattern=r"^(unix:.+|.+:\d{1,5})$",
        description="Address of the gRPC server.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that serve the same ports, about one for each processor; one more "
        "watches over them where there are several.",
    )
    admin_listen: Annotated[str, AfterValidator(_a_port)] = Field(
        default="",
        pattern=r"^(unix:.+|.+:\d{1,5})?$",
        description="Address of a second gRPC server, plain text and without credentials, for "
        "probes (health) and operators (channelz); empty for none. Not for callers: let nobody "
        "else reach it.",
    )
    reflection: bool = Field(
        default=True, description="Whether the gRPC server tells callers its contract."
    )
    tls_certificate_file: Path | None = Field(
        default=None,
        description="The gRPC server's certificate chain, as PEM. Without it the port is plain "
        "text. Read again when it changes, as are the two files below.",
    )
    tls_key_file: Path | None = Field(
        default=None, description="The private key of that certificate, as PEM."
    )
    tls_client_ca_file: Path | None = Field(
        default=None,
        description="Authorities of client certificates, as PEM. With it every client must have "
        "one, and is known by its SPIFFE id where it sends no other credential.",
    )
    metrics_listen: Annotated[str, AfterValidator(_a_port)] = Field(
        default="127.0.0.1:9464",
        pattern=r"^(.+:\d{1,5})?$",
        description="Address of the Prometheus port; empty for none.",
    )
    metrics_tenants: int = Field(
        default=500,
        ge=0,
        le=10_000,
        description="Tenants that have metrics of their own, the first that call; all others share "
        "one value.",
    )
    decision_log: str = Field(
        default="-", description="Decision log: a file, '-' for standard output, empty for none."
    )
    decision_log_max_bytes: Annotated[int, AfterValidator(_none_or_a_mebibyte)] = Field(
        default=100 * MEBIBYTE,
        ge=0,
        description="Size at which the file of the decision log is rotated, at least 1 MiB; 0 "
        "leaves that to others, such as logrotate.",
    )
    decision_log_files: int = Field(
        default=10, ge=2, le=1000, description="Files of the decision log that are kept in all."
    )
    decision_store_rows: int = Field(
        default=100_000,
        ge=0,
        le=100_000_000,
        description="Latest decisions that the ledger keeps for ListDecisions, all replicas "
        "together; 0 for none.",
    )
    traces_keep_refusals: bool = Field(
        default=True,
        description="Whether the traces of calls that did not go well are exported even where the "
        "sampler passes them over; of a flood only the first.",
    )
    max_message_bytes: int = Field(
        default=256 * 1024, ge=1024, le=4 * 1024 * 1024, description="Largest request, in bytes."
    )
    max_calls: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Calls that one process serves at once. Further ones are told to come back "
        "before anything is done for them.",
    )
    max_streams: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Streams (watches, bulk submits) that one process serves at once, besides its "
        "calls.",
    )
    max_connection_age_seconds: Annotated[float, AfterValidator(_none_or_a_second)] = Field(
        default=1800.0,
        ge=0,
        le=604_800,
        description="Time after which a client is asked to connect anew, give or take a tenth, so "
        "that replicas that were added get their share; 0 for never.",
    )
    max_connection_age_grace_seconds: float = Field(
        default=300.0,
        ge=1,
        le=604_800,
        description="Longest time for the calls and streams of such a connection to end.",
    )
    submit_timeout_seconds: float = Field(
        default=20.0, gt=0, le=120, description="Longest time a submit waits for the service."
    )
    poll_interval_seconds: float = Field(
        default=2.0, gt=0, le=60, description="Shortest time between two queries of one job."
    )
    overdue_hours: float = Field(
        default=24.0,
        gt=0,
        le=8760,
        description="Time after which a job that has not ended is flagged as overdue. It is still "
        "followed.",
    )
    retention_days: Annotated[float, AfterValidator(_none_or_a_day)] = Field(
        default=30.0,
        ge=0,
        le=3650,
        description="Time after its end at which a job is purged, at least 1; 0 keeps all jobs. A "
        "repeated request id of a purged job is a new, paid job, so this must be longer than any "
        "caller goes on repeating a call.",
    )
    watch_interval_seconds: float = Field(
        default=0.5, gt=0, le=10, description="Time between two looks of a watch into the ledger."
    )
    drain_delay_seconds: float = Field(
        default=0.0,
        ge=0,
        le=600,
        description="Time at shutdown in which calls are still taken while health says NOT_SERVING "
        "already, for whatever has to hear of it.",
    )
    drain_seconds: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="Longest time for calls in flight at shutdown, after the delay.",
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("IMSGW_TLS_CERTIFICATE_FILE and IMSGW_TLS_KEY_FILE go together")
        if self.tls_client_ca_file is not None and self.tls_key_file is None:
            raise ValueError("IMSGW_TLS_CLIENT_CA_FILE needs IMSGW_TLS_CERTIFICATE_FILE")
        return self

    @model_validator(mode="after")
    def _ports_can_be_shared(self) -> Settings:
        unix = [address for address in (self.listen, self.admin_listen) if is_unix(address)]
        if self.workers > 1 and unix:
            raise ValueError("several IMSGW_WORKERS need ports: they cannot share a Unix socket")
        if self.listen == self.admin_listen and not self.listen.endswith(":0"):
            raise ValueError("IMSGW_ADMIN_LISTEN must be another address than IMSGW_LISTEN")
        return self

    @property
    def shutdown_seconds(self) -> float:
        """Longest time from the word to stop to the end of a process.

        A submit that was admitted is settled, whatever the drain's time says.
        """
        in_flight = max(self.drain_seconds, self.submit_timeout_seconds)
        return self.drain_delay_seconds + in_flight + LONGEST_SETTLEMENT_SECONDS


def environment() -> Mapping[str, str]:
    """Return the process's environment, for credentials that Alibaba Cloud's own names hold."""
    return os.environ
