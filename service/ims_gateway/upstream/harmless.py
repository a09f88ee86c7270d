"""What may be told of a failure of `alibabacloud-credentials`.

Decides by what is known to be harmless, and drops the rest: the package's messages hold whole
requests and answers. A connection that fails is reported with the address that was asked for, and
that has the OIDC token in its query; a signature that does not match, with what was signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from alibabacloud_credentials.exceptions import CredentialException
from requests import exceptions as wire

_STATUS: Final = re.compile(r"http_?code[:=] ?(\d{3})", re.IGNORECASE)
_CODE: Final = re.compile(r'"Code" ?: ?"([A-Za-z][A-Za-z0-9._]{0,79})"', re.IGNORECASE)
# OAuth's own words, such as invalid_grant.
_ERROR: Final = re.compile(r'"error" ?: ?"([a-z_]{1,40})"')
_REQUEST_ID: Final = re.compile(r'"RequestId" ?: ?"([A-Za-z0-9-]{1,64})"')
# Of the package's own texts, those that hold no more than a file, a profile or a status.
_OWN: Final = re.compile(
    r"Failed to get RAM session credentials from ECS metadata service"
    r"|Failed to get token from ECS Metadata Service"
    r"|failed to execute external command: exit status \d+|command process timed out"
    r"|CloudSSO access token is empty or expired, please re-login with cli"
)
# The first row that fits. What stands higher is the more special.
_WIRE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (wire.SSLError, "TLS failed: its certificate is not one of a public authority"),
    (wire.ProxyError, "the proxy did not let it through"),
    (wire.ConnectTimeout, "no connection in time"),
    (wire.ReadTimeout, "no answer in time"),
    (wire.ConnectionError, "no connection"),
)


def told(error: BaseException) -> str:
    """Return what may be said of an exception of the package, or of what it uses."""
    for each in _chain(error):
        for kind, text in _WIRE:
            if isinstance(each, kind):
                return text
        if isinstance(each, OSError) and each.strerror:
            return f"{each.filename}: {each.strerror}" if each.filename else each.strerror
    if isinstance(error, CredentialException | ValueError):
        return _answer(str(error))
    return type(error).__name__


def _answer(text: str) -> str:
    """Return the part of a message that is known to be harmless."""
    if "No cached value was found" in text:
        return "the key that came has ended already"
    if own := _OWN.search(text):
        status = _STATUS.search(text)
        return f"{own[0]} (HTTP {status[1]})" if status else own[0]
    status, code, request_id = (each.search(text) for each in (_STATUS, _CODE, _REQUEST_ID))
    code = code or _ERROR.search(text)
    if code is None and status is None:
        return "no key came of it"
    words = [code[1] if code else "", f"HTTP {status[1]}" if status else ""]
    words.append(f"RequestId {request_id[1]}" if request_id else "")
    return "refused: " + ", ".join(word for word in words if word)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that led to it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
