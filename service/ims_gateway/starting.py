"""What is wrong with the files of a gateway before it starts: all of it at once.

Whoever mends one fault and starts again should not be told of the next one then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ims_gateway.accounts import accounts_of
from ims_gateway.api import pem
from ims_gateway.policy.suites import Examiner
from ims_gateway.settings import FileSettings, Settings
from ims_gateway.tenancy.loading import Beginning, finish
from ims_gateway.tenancy.reading import ConfigurationError, Fault


def faults_of(
    files: FileSettings | Settings,
    environment: Mapping[str, str],
    beginning: Beginning | None = None,
) -> list[Fault]:
    """Return each fault that would keep a gateway from starting with these files.

    Accounts' keys may be in the `environment`. The reading of the configuration may have begun
    already.
    """
    faults: list[Fault] = []
    if files.config_dir is not None:
        with _gathering(faults):
            loaded = finish(beginning or Beginning(files.config_dir), Examiner().read)
            accounts_of(loaded.directory.accounts, environment)
    if files.tls_certificate_file is not None and files.tls_key_file is not None:
        with _gathering(faults):
            pem.read_good(files.tls_certificate_file, files.tls_key_file, files.tls_client_ca_file)
    return faults


@contextmanager
def _gathering(faults: list[Fault]) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        faults += error.faults
