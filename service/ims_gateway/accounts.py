"""From the accounts of the configuration to those that calls are made with.

Decides what of an account's credentials has to be in place at a start: whatever this machine can
say by itself, such as a variable, a file or a token's file. Whether a key can then be had is asked
later and stops nothing: an outage of STS must not keep a gateway from starting.
"""

from __future__ import annotations

from collections.abc import Mapping

from ims_gateway.tenancy.credentials_file import CredentialsFile, EnvironmentKey, FileKey
from ims_gateway.tenancy.files import AccountFile
from ims_gateway.tenancy.reading import ConfigurationError, Fault
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.credentials import (
    CredentialsProvider,
    CredentialsUnavailable,
    EnvironmentCredentials,
    FileCredentials,
)
from ims_gateway.upstream.renewal import RenewedCredentials


def accounts_of(
    files: Mapping[str, AccountFile], environment: Mapping[str, str]
) -> dict[str, Account]:
    """Return the accounts by name. Raises ConfigurationError with every fault."""
    accounts, faults = {}, []
    for name, file in files.items():
        try:
            accounts[name] = account_of(file, environment)
        except CredentialsUnavailable as problem:
            faults.append(Fault("accounts.yaml", 0, f"{name}: {problem}"))
        except ValueError as problem:
            faults.append(Fault("accounts.yaml", 0, str(problem)))
    if faults:
        raise ConfigurationError(faults)
    return accounts


def account_of(file: AccountFile, environment: Mapping[str, str]) -> Account:
    """Return an account. Raises CredentialsUnavailable, and ValueError for a bad endpoint."""
    return Account(
        name=file.name,
        region=file.region,
        credentials=_provider(file.credentials, environment),
        endpoint=file.endpoint or "",
        scheme=file.scheme,
        ca_file=file.ca_file,
        max_in_flight=file.max_in_flight,
        calls_per_second=file.calls_per_second,
        polls_per_second=file.polls_per_second,
        resend_unknown=file.resend_unknown,
    )


def _provider(file: CredentialsFile, environment: Mapping[str, str]) -> CredentialsProvider:
    match file:
        case EnvironmentKey():
            return EnvironmentCredentials(environment)
        case FileKey():
            return FileCredentials(file.path)
        case _:
            # Imported here: a gateway with keys of its own is half a second sooner without.
            from ims_gateway.upstream.providers import fetcher  # noqa: PLC0415

            return RenewedCredentials(fetcher(file, environment))
