"""One call as it came in, decoded once: for the signature, the checks and the record.

Decides how a query is decoded and what its canonical form is. Never judges a value.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from multidict import CIMultiDictProxy
from yarl import URL

from ims_gateway.emulator.envelope import Refusal

SUBMIT = "SubmitIProductionJob"
QUERY = "QueryIProductionJob"
CANCEL = "CancelIProductionJob"
ACTIONS = (SUBMIT, QUERY, CANCEL)

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_ASCII_ESCAPES = {code: f"%{code:02X}" for code in range(128) if chr(code) not in _UNRESERVED}


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    path: raw, without the query. canonical_query: sorted and RFC 3986 encoded.
    parameters: the decoded query. headers: as received, names in any case.
    """

    method: str
    path: str
    canonical_query: str
    parameters: Mapping[str, str]
    headers: CIMultiDictProxy[str]
    body: bytes = b""

    @property
    def action(self) -> str:
        """The name of the operation that is asked for; empty when absent."""
        return self.headers.get("x-acs-action", "")

    @property
    def host(self) -> str:
        """The host that the caller addressed."""
        return self.headers.get("host", "")


def read_call(method: str, url: URL, headers: CIMultiDictProxy[str], body: bytes) -> Call:
    """Decode a call. url: encoded as it was on the wire.

    Clients encode the same query differently ("+" or "%20", "/" or "%2F"), so the signature
    can only be checked against what the query means (wire facts). Bytes that are not UTF-8
    decode to a replacement character, which nobody has signed.

    Raises Refusal (InvalidParameter) for a repeated name.
    """
    query = url.query
    parameters = dict(query)
    if len(parameters) != len(query):
        raise Refusal("InvalidParameter", "A parameter is given more than once.")
    canonical_query = "&".join(
        f"{_escape(name)}={_escape(value)}" for name, value in sorted(parameters.items())
    )
    return Call(method, url.raw_path, canonical_query, parameters, headers, body)


def _escape(text: str) -> str:
    # quote() decides every byte in Python; most of a query is ASCII and needs no more than this.
    return text.translate(_ASCII_ESCAPES) if text.isascii() else quote(text, safe="~")
