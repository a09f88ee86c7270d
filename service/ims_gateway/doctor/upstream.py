"""Whether each account has a key, and whether the service takes it.

The service is asked about a job that does not exist: a signed call that reads, costs nothing, and
tells a good signature from a bad one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from ims_gateway.accounts import account_of
from ims_gateway.doctor.finding import Finding, fail, lasting, ok, warn
from ims_gateway.tenancy.files import AccountFile
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import UpstreamClient
from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.errors import (
    JOB_NOT_FOUND,
    AccountRefused,
    NotSent,
    Throttled,
    UpstreamError,
)
from ims_gateway.upstream.renewal import RenewedCredentials
from ims_gateway.upstream.transport import tls_context

CREDENTIALS: Final = "credentials"
UPSTREAM: Final = "upstream"
NO_JOB: Final = "0" * 32
SECONDS: Final = 8.0
# A signed call is refused 15 minutes off.
SKEW_WARNS_SECONDS: Final = 30.0
SKEW_FAILS_SECONDS: Final = 600.0
# A key that is this near to its end when it is fresh will be renewed all the time.
SHORTEST_KEY_SECONDS: Final = 300.0
# Code of the service, or what it begins with -> what to do.
MEND: Final = (
    ("SignatureDoesNotMatch", "The secret is not that of the key: put the right one there."),
    ("InvalidAccessKeyId.Inactive", "Enable the key, or use another."),
    ("InvalidAccessKeyId", "There is no such key: put one there that exists, of this account."),
    ("InvalidSecurityToken", "The temporary key has ended or is another's: renew it."),
    ("MissingSecurityToken", "The key is a temporary one: its security_token belongs to it."),
    ("InvalidTimeStamp", "Synchronize this machine's clock (NTP)."),
    ("Forbidden.SubscriptionRequired", "Activate Intelligent Media Services for the account."),
    (
        "Forbidden",
        "Give the key's user or role the right ice:QueryIProductionJob and its siblings.",
    ),
    ("", "Look the code up in the service's own list; the request id is for its support."),
)


async def check_account(file: AccountFile, environment: Mapping[str, str]) -> list[Finding]:
    """Look an account over: its key, the way to the service, and both together."""
    try:
        account = account_of(file, environment)
    except CredentialsUnavailable as problem:
        return [_no_key(file, str(problem))]
    except ValueError as problem:
        return [fail(UPSTREAM, file.name, str(problem), "Correct it in accounts.yaml.")]
    key, way = await asyncio.gather(_key(file, account), _way(account))
    if key[-1].level == "fail" or way[0].level == "fail":
        return [*key, *way]
    return [*key, *way, await _signed(account)]


async def _key(file: AccountFile, account: Account) -> list[Finding]:
    credentials = account.credentials
    kind = file.credentials.type
    if not isinstance(credentials, RenewedCredentials):
        key = credentials.snapshot()
        text = "temporary, its end is not known" if key.security_token else "does not end by itself"
        return [ok(CREDENTIALS, file.name, f"{kind}: {text}")]
    await credentials.renew()
    if credentials.problem is not None:
        return [_no_key(file, credentials.problem)]
    left = credentials.time_left_seconds
    if left is None:
        return [ok(CREDENTIALS, file.name, f"{kind}: its end is not known")]
    found = f"{kind}: ends in {lasting(left)}"
    if left < SHORTEST_KEY_SECONDS:
        advice = "Have keys issued for longer: STS gives 15 minutes to 12 hours."
        return [warn(CREDENTIALS, file.name, found, advice)]
    return [ok(CREDENTIALS, file.name, found)]


def _no_key(file: AccountFile, problem: str) -> Finding:
    advice = {
        "environment": "Set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.",
        "file": "Mount the secret there: access_key_id and access_key_secret, as YAML or JSON.",
        "oidc_role_arn": "Check that the role trusts the cluster's OIDC provider and this service "
        "account, the webhook's variables in the pod, and the way to STS.",
        "ram_role_arn": "Check that the role trusts its base, that the base may assume it "
        "(sts:AssumeRole), and the way to STS.",
        "ecs_ram_role": "Give the instance a role, and the pod a way to its metadata service.",
    }.get(file.credentials.type, "Check `credentials` of the account in accounts.yaml.")
    return fail(CREDENTIALS, file.name, problem, advice)


async def _way(account: Account) -> list[Finding]:
    """Ask the endpoint for its time, unsigned: any answer has it."""
    try:
        verify = await asyncio.to_thread(tls_context, account)
        async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=SECONDS) as client:
            before = time.time()
            answer = await client.get(account.origin + "/", follow_redirects=False)
            here = (before + time.time()) / 2
    except (httpx.HTTPError, OSError) as error:
        return [_unreached(account, error)]
    reached = ok(UPSTREAM, account.name, f"{account.origin} answers")
    try:
        there = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return [reached]
    # It says whole seconds, those that have passed.
    return [reached, _clock(account, there + 0.5 - here)]


def _unreached(account: Account, error: Exception) -> Finding:
    text = str(error) or type(error).__name__
    advice = (
        "Check `endpoint`, DNS, and that the network lets this host out (NetworkPolicy, proxy)."
    )
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        advice = "Check `endpoint` and `ca_file`: the certificate is not one of its authorities."
    return fail(UPSTREAM, account.name, f"{account.origin}: {text}", advice)


def _clock(account: Account, skew: float) -> Finding:
    advice = "Synchronize this machine's clock (NTP): calls are refused when it is 15 minutes off."
    found = f"its clock is {skew:+.0f} s from this machine's"
    if abs(skew) >= SKEW_FAILS_SECONDS:
        return fail(UPSTREAM, account.name, found, advice)
    if abs(skew) >= SKEW_WARNS_SECONDS:
        return warn(UPSTREAM, account.name, found, advice)
    return ok(UPSTREAM, account.name, "its clock agrees with this machine's")


async def _signed(account: Account) -> Finding:
    try:
        async with UpstreamClient(account) as client:
            await client.query(NO_JOB, timeout_seconds=SECONDS)
    except UpstreamError as error:
        if error.code != JOB_NOT_FOUND:
            return _refusal(account, error)
    return ok(UPSTREAM, account.name, "takes the signature")


def _refusal(account: Account, error: UpstreamError) -> Finding:
    level, advice = warn, "Try again: the service may be in trouble."
    match error:
        case AccountRefused():
            code = error.code or ""
            level, advice = fail, next(mend for begin, mend in MEND if code.startswith(begin))
        case Throttled():
            advice = "The account is at its limit: lower calls_per_second or polls_per_second."
        case NotSent():
            level, advice = fail, "Look at what is said above of the way there."
    return level(UPSTREAM, account.name, str(error), advice)
