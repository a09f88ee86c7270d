"""imsctl, the command of those who submit jobs."""

import sys


def main() -> None:
    """Run imsctl and exit with one of the codes of exits.py."""
    try:
        from ims_gateway_client.cli.app import app  # noqa: PLC0415 - the extra may be absent
    except ModuleNotFoundError as missing:
        sys.exit(f"imsctl needs {missing.name}: pip install 'ims-gateway-client[cli]'")
    app()
