"""Where imsctl connects to, as whom, and in which form it answers.

Decides where the credential comes from: a file or the environment, never the command line, where
`ps` would show it. Never shows it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from ims_gateway_client.channel import TlsOptions
from ims_gateway_client.cli import exits
from ims_gateway_client.cli.failures import report
from ims_gateway_client.client import Client
from ims_gateway_client.credentials import check_bearer
from ims_gateway_client.errors import GatewayError

API_KEY_VARIABLE: Final = "IMSCTL_API_KEY"


@dataclass(frozen=True, slots=True)
class Session:
    """The global options of one command."""

    target: str
    api_key_file: Path | None
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    insecure: bool
    timeout_seconds: float
    as_json: bool

    @contextmanager
    def connect(self) -> Iterator[Client]:
        """Give a client. An error of the gateway is reported and ends imsctl with its exit code."""
        with self._client() as client:
            try:
                yield client
            except GatewayError as error:
                report(error, as_json=self.as_json)
                raise typer.Exit(exits.of_error(error)) from None

    def _client(self) -> Client:
        file = self.api_key_file
        try:
            return Client(
                self.target,
                api_key=None if file else os.environ.get(API_KEY_VARIABLE, "").strip() or None,
                # Read for every call, as a mounted token is renewed in place.
                token=(lambda: _read_secret(file)) if file else None,
                tls=self._tls(),
                timeout_seconds=self.timeout_seconds,
            )
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error)) from None

    def _tls(self) -> TlsOptions | bool | None:
        if self.insecure:
            return False
        if self.ca_file or self.certificate_file:
            return TlsOptions(self.ca_file, self.certificate_file, self.key_file)
        return None


def _read_secret(file: Path) -> str:
    try:
        return check_bearer(file.read_text("utf-8").strip(), f"the key or token in {file}")
    except UnicodeError:  # its text would show the bytes that it could not read
        raise typer.BadParameter(f"{file} is no text") from None
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
