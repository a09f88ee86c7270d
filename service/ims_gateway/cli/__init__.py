"""imsgw: the operator's command."""

from __future__ import annotations

from ims_gateway.cli.commands import app


def main() -> None:
    """Run imsgw."""
    app()
