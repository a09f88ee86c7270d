"""Verifies ACS3-HMAC-SHA256 signatures as wire facts describe them.

Decides who called and whether what arrived is what was signed. Written from the
description of the scheme and shares no code with the gateway's signer: two copies of one
misunderstanding would agree with each other.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from multidict import CIMultiDictProxy

from ims_gateway.emulator.call import Call
from ims_gateway.emulator.envelope import Refusal
from ims_gateway.emulator.nonces import Nonces
from ims_gateway.emulator.settings import AccessKey

_ALGORITHM = "ACS3-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    _ALGORITHM + r" Credential=([^,\s]+),SignedHeaders=([^,\s]+),Signature=([^,\s]+)"
)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_EMPTY_BODY_HASH = hashlib.sha256(b"").hexdigest()
_REQUIRED = (
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a call, and the nonce that the call has used up."""

    access_key_id: str
    account_id: str
    nonce: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """What an Authorization header claims."""

    access_key_id: str
    signed_names: tuple[str, ...]
    signature: str


class Verifier:
    """Checks calls against the access keys it was given."""

    def __init__(
        self,
        access_keys: Mapping[str, AccessKey],
        *,
        window_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._access_keys = access_keys
        self._window_seconds = window_seconds
        self._clock = clock
        self._nonces = Nonces(window_seconds)

    def verify(self, call: Call) -> Caller:
        """Return who signed the call, and spend its nonce.

        Raises Refusal: MissingParameter.<header>, IncompleteSignature, SignatureDoesNotMatch,
        InvalidTimeStamp.Format, InvalidTimeStamp.Expired, InvalidAccessKeyId.NotFound,
        InvalidAccessKeyId.Inactive, MissingSecurityToken, SignatureNonceUsed,
        InvalidSecurityToken.MismatchWithAccessKey, InvalidSecurityToken.Expired.
        """
        claim = _read_claim(call.headers)
        _require_signed_headers(call.headers, claim)
        now = self._clock()
        self._require_timely(call.headers["x-acs-date"], now)
        key = self._find_key(claim.access_key_id)
        _require_signature(call, claim, key.secret)
        _require_security_token(call.headers, claim, key.security_token)
        if key.expires_at is not None and now >= key.expires_at:
            raise Refusal("InvalidSecurityToken.Expired", "The security token has expired.")
        nonce = call.headers["x-acs-signature-nonce"]
        # Last: a call that was never theirs must not use up a nonce of the caller.
        if not self._nonces.spend(claim.access_key_id, nonce, now):
            raise Refusal("SignatureNonceUsed", "The signature nonce has been used.")
        return Caller(claim.access_key_id, key.account_id, nonce)

    def forget_nonces(self) -> None:
        """Forget every nonce, as a service that has never been called."""
        self._nonces.clear()

    def _require_timely(self, date: str, now: float) -> None:
        if not _DATE.fullmatch(date):
            raise Refusal("InvalidTimeStamp.Format", "x-acs-date is not %Y-%m-%dT%H:%M:%SZ.")
        try:
            dated = datetime.fromisoformat(date).timestamp()
        except ValueError as error:
            raise Refusal("InvalidTimeStamp.Format", "x-acs-date is no date.") from error
        if abs(now - dated) > self._window_seconds:
            raise Refusal("InvalidTimeStamp.Expired", "x-acs-date is too far off.")

    def _find_key(self, access_key_id: str) -> AccessKey:
        key = self._access_keys.get(access_key_id)
        if key is None:
            raise Refusal("InvalidAccessKeyId.NotFound", "The access key id is not found.")
        if not key.active:
            raise Refusal("InvalidAccessKeyId.Inactive", "The access key is inactive.")
        return key


def _read_claim(headers: CIMultiDictProxy[str]) -> _Claim:
    authorization = headers.get("authorization")
    if authorization is None:
        raise _missing("Authorization")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise Refusal("IncompleteSignature", "The Authorization header is malformed.")
    access_key_id, names, signature = match.groups()
    signed_names = tuple(names.split(";"))
    if list(signed_names) != sorted({name.lower() for name in signed_names}):
        raise Refusal("IncompleteSignature", "SignedHeaders are not lower-case and sorted.")
    return _Claim(access_key_id, signed_names, signature)


def _require_signed_headers(headers: CIMultiDictProxy[str], claim: _Claim) -> None:
    for name in _REQUIRED:
        if not headers.get(name):
            raise _missing(name)
    signed = set(claim.signed_names)
    if "host" not in signed or any(
        name.startswith("x-acs-") and name not in signed for name in map(str.lower, headers)
    ):
        raise Refusal("IncompleteSignature", "host and every x-acs-* header must be signed.")
    if not all(name in headers for name in signed):
        raise Refusal("SignatureDoesNotMatch", "A signed header did not arrive.")


def _require_signature(call: Call, claim: _Claim, secret: str) -> None:
    body_hash = hashlib.sha256(call.body).hexdigest() if call.body else _EMPTY_BODY_HASH
    if not _same(call.headers["x-acs-content-sha256"], body_hash):
        raise _mismatch()
    canonical_request = "\n".join(
        (
            call.method,
            call.path,
            call.canonical_query,
            _canonical_headers(call.headers, claim.signed_names),
            ";".join(claim.signed_names),
            body_hash,
        )
    )
    digest = hashlib.sha256(_bytes(canonical_request)).hexdigest()
    expected = hmac.digest(_bytes(secret), f"{_ALGORITHM}\n{digest}".encode(), "sha256").hex()
    if not _same(claim.signature, expected):
        raise _mismatch()


def _require_security_token(
    headers: CIMultiDictProxy[str], claim: _Claim, token: str | None
) -> None:
    # The two codes on tokens are common ones of the API gateway, not of the wire facts.
    given = headers.get("x-acs-security-token")
    named = headers.get("x-acs-accesskey-id")
    if token is not None and not given:
        raise Refusal("MissingSecurityToken", "The security token of the access key is missing.")
    if token is not None and named is None:
        raise _missing("x-acs-accesskey-id")
    wrong_token = given is not None and not _same(given, token or "")
    if wrong_token or (named is not None and named != claim.access_key_id):
        raise Refusal(
            "InvalidSecurityToken.MismatchWithAccessKey",
            "The security token does not belong to the access key.",
        )


def _canonical_headers(headers: CIMultiDictProxy[str], names: tuple[str, ...]) -> str:
    return "".join([f"{name}:{_joined(headers.getall(name))}\n" for name in names])


def _joined(values: list[str]) -> str:
    return values[0].strip() if len(values) == 1 else ",".join(sorted(v.strip() for v in values))


def _same(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _bytes(text: str) -> bytes:
    # Header bytes that are not UTF-8 arrive as surrogates; they must not break the check.
    return text.encode("utf-8", "surrogateescape")


def _missing(name: str) -> Refusal:
    return Refusal(f"MissingParameter.{name}", f"The header {name} is missing.")


def _mismatch() -> Refusal:
    return Refusal("SignatureDoesNotMatch", "The signature does not match.")
