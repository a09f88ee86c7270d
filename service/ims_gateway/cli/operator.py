"""What the commands that talk to a gateway share: flags, the operator's key, and how errors look.

Decides the exit codes, which are those of imsctl. The operator's key comes from a file or the
environment, never from the command line, where `ps` would show it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ims_gateway.cli.form import Form
from ims_gateway.settings import environment

if TYPE_CHECKING:  # imported where they are needed: other commands start without grpc
    from google.protobuf.message import Message

    from ims_gateway_client import Client, GatewayError

KEY_VARIABLE: Final = "IMSGW_OPERATOR_KEY"
LOCAL: Final = "127.0.0.1:50051"


Target = Annotated[
    str, typer.Option(envvar="IMSGW_TARGET", metavar="HOST:PORT", help="The gateway.")
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help=f"Holds the operator's API key. Default: the key in {KEY_VARIABLE}.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Authorities to trust, as PEM."),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Plain text; the default on this machine, TLS elsewhere."),
]
Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS")]


@dataclass(frozen=True, slots=True)
class Desk:
    """A gateway as one operator's command reaches it.

    Raises typer.BadParameter for flags that do not go together, and where there is no key.
    """

    target: str
    api_key_file: Path | None
    ca_file: Path | None
    insecure: bool
    timeout_seconds: float
    output: Form

    @property
    def as_json(self) -> bool:
        """Whether programs read what is printed."""
        return self.output is Form.JSON

    def ask(self, method: str, request: Message) -> Any:
        """Return the answer of a method of AdminService; end the process where there is none."""
        import grpc  # noqa: PLC0415 - see above

        from ims_gateway_client.cli import exits  # noqa: PLC0415
        from ims_gateway_client.error_details import error_of  # noqa: PLC0415

        with self._client() as client:
            try:
                return getattr(client.admin, method)(request, timeout=self.timeout_seconds)
            except grpc.RpcError as failed:
                error = error_of(failed, request, self.target)
                _report(error, as_json=self.as_json)
                raise typer.Exit(exits.of_error(error)) from None

    def _client(self) -> Client:
        from ims_gateway_client import Client, TlsOptions  # noqa: PLC0415 - see above

        if self.insecure and self.ca_file:
            raise typer.BadParameter("--insecure and --ca-file exclude each other")
        tls: TlsOptions | bool | None = TlsOptions(ca_file=self.ca_file) if self.ca_file else None
        try:
            key = _key(self.api_key_file)
            return Client(self.target, api_key=key, tls=False if self.insecure else tls)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error)) from None


def print_json(message: Message) -> None:
    """Print a message for programs."""
    from google.protobuf import json_format  # noqa: PLC0415 - see above

    typer.echo(json_format.MessageToJson(message, ensure_ascii=False))


def _key(file: Path | None) -> str:
    if file is None:
        key = environment().get(KEY_VARIABLE, "").strip()
        missing = f"give the operator's key in {KEY_VARIABLE} or with --api-key-file"
    else:
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise typer.BadParameter(f"{file}: {type(error).__name__}") from None
        missing = f"{file} holds no key"
    if not key:
        raise typer.BadParameter(missing)
    return key


def _report(error: GatewayError, *, as_json: bool) -> None:
    violations = [f"{wrong.field}: {wrong.description}" for wrong in error.violations]
    facts: dict[str, Any] = {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "violations": violations,
        "retry_after_seconds": error.retry_after_seconds,
        "decision_id": error.decision_id,
        "metadata": error.metadata,
    }
    if as_json:
        known = {name: fact for name, fact in facts.items() if fact not in ("", [], {}, None)}
        typer.echo(json.dumps({"error": known}, ensure_ascii=False), err=True)
        return
    typer.echo(f"error: {error.message}", err=True)
    for violation in violations:
        typer.echo(f"  {violation}", err=True)
    if error.retry_after_seconds is not None:
        typer.echo(f"try again in {error.retry_after_seconds:.0f} s", err=True)
    typer.echo(f"{error.reason or error.code.name}, decision {error.decision_id or '-'}", err=True)
