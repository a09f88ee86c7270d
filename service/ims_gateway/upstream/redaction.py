"""What of the service's own words may be kept.

Decides which parts of a message to leave out: the refusal of a signature quotes the string to
sign, and other messages quote signed addresses. Never decides who may read the rest.
"""

import re

MAX_MESSAGE_CHARS = 300
MAX_NAME_CHARS = 128
REMOVED = "[removed]"

# Nothing after these words is about anything but the signature.
_SIGNING = re.compile(r"string\s*to\s*sign|canonical(ized)?[ _]?(request|query)", re.IGNORECASE)
_SECRETS = re.compile(
    r"""
    \?[^\s"'<>]*=[^\s"'<>]*                      # the query of an address
    | [^\s"'<>=&]+=[^\s"'<>&]*(&[^\s"'<>]*)+     # a query without its address
    | \b(signature|credential|security-?token|access-?key(-?id|-?secret)?)\b\s*[=:]\s*[^\s,;]+
    | \b(LTAI|STS\.)\w+                          # access key ids
    | (?:%[0-9A-Fa-f]{2}|[0-9A-Za-z+/_-]){40,}=* # digests, signatures, tokens
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NAME = re.compile(r"[\x21-\x7e]+")


def redact(message: str) -> str:
    """Return a message of the service as one short line without signatures, keys and queries."""
    # Bounded first: what is looked at stays small, however much was sent.
    kept = message[: 4 * MAX_MESSAGE_CHARS]
    if cut := _SIGNING.search(kept):
        kept = kept[: cut.start()] + REMOVED
    line = " ".join(_SECRETS.sub(REMOVED, kept).split())
    line = "".join([character for character in line if character.isprintable()])
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def bounded_name(value: object) -> str | None:
    """Return a Code or RequestId of the service if it looks like one, else None."""
    if isinstance(value, str) and len(value) <= MAX_NAME_CHARS and _NAME.fullmatch(value):
        return value
    return None
