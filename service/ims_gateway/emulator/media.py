"""Input and Output of a job: media asset ids, OSS addresses and output placeholders.

Decides which addresses the API page allows. Never looks whether anything exists.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ims_gateway.emulator.documents import Invalid

PLACEHOLDERS = frozenset({"source", "timestamp", "sequenceId", "resultType"})

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OSS = re.compile(r"oss://([a-z0-9][a-z0-9-]*)/([^/].*)", re.DOTALL)
_HTTP = re.compile(
    r"(https?)://([a-z0-9][a-z0-9-]*)\.oss-([a-z0-9-]+)\.aliyuncs\.com/([^/?#][^?#]*)", re.DOTALL
)
_TYPES = ("OSS", "Media")
_OWNERS = ("IMS", "VOD")


@dataclass(frozen=True, slots=True)
class OssAddress:
    """An object in OSS. scheme is "oss", "http" or "https", as it was written."""

    scheme: str
    bucket: str
    key: str

    def text(self, region: str) -> str:
        """Return the address in the form it was written in."""
        if self.scheme == "oss":
            return f"oss://{self.bucket}/{self.key}"
        return f"{self.scheme}://{self.bucket}.oss-{region}.aliyuncs.com/{self.key}"


def read_oss_address(text: Any, region: str) -> OssAddress:
    """Read one of the two documented forms of an OSS address.

    Raises Invalid when it has neither form or names another region (API page, "Media").
    """
    if not isinstance(text, str):
        raise Invalid("must be a string")
    if match := _OSS.fullmatch(text):
        return OssAddress("oss", *match.groups())
    match = _HTTP.fullmatch(text)
    if match is None:
        raise Invalid(
            "must be oss://bucket/object or http(s)://bucket.oss-[regionId].aliyuncs.com/object"
        )
    scheme, bucket, address_region, key = match.groups()
    if address_region != region:
        raise Invalid("must name a bucket in the region of the endpoint")
    return OssAddress(scheme, bucket, key)


def check_input(media: Mapping[str, Any], region: str, suffix: str | None) -> None:
    """Check an Input object. suffix: what the object's name must end in, if anything.

    Raises Invalid.
    """
    _check_members(media, allowed=("Type", "Media"), required=("Type", "Media"))
    if media["Type"] == "Media":
        return
    key = read_oss_address(media["Media"], region).key
    if suffix and not key.lower().endswith(suffix):
        raise Invalid(f"must be a {suffix} file")


def check_output(media: Mapping[str, Any], region: str, placeholders: frozenset[str]) -> None:
    """Check an Output object. placeholders: those that the path must hold.

    Media may be empty for Type Media, which makes a new media asset (API page). Raises Invalid.
    """
    _check_members(
        media, allowed=("Type", "Media", "Biz", "OutputUrl"), required=("Type",), empty=("Media",)
    )
    if media.get("Biz", "IMS") not in _OWNERS:
        raise Invalid("must have Biz IMS or VOD")
    path = media.get("OutputUrl") if media["Type"] == "Media" else media.get("Media", "")
    if media["Type"] == "OSS" and "OutputUrl" in media:
        raise Invalid("must not have OutputUrl when Type is OSS")
    if path is not None:
        read_oss_address(path, region)
        _check_placeholders(path, placeholders)


def fill(path: str, values: Mapping[str, str]) -> str:
    """Put values in the place of a path's placeholders."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], path)


def _check_members(
    media: Mapping[str, Any],
    *,
    allowed: tuple[str, ...],
    required: tuple[str, ...],
    empty: tuple[str, ...] = (),
) -> None:
    if not media.keys() <= set(allowed):
        raise Invalid(f"must have no other members than {', '.join(allowed)}")
    for name in required:
        if name not in media:
            raise Invalid(f"must have the member {name}")
    for name, value in media.items():
        if not isinstance(value, str) or not (value or name in empty):
            raise Invalid(f"must have a string in {name}")
    if media["Type"] not in _TYPES:
        raise Invalid("must have Type OSS or Media")


def _check_placeholders(path: str, required: frozenset[str]) -> None:
    used = set(_PLACEHOLDER.findall(path))
    if not used <= PLACEHOLDERS:
        raise Invalid("must use only {source}, {timestamp}, {sequenceId} and {resultType}")
    for name in sorted(required - used):
        raise Invalid(f"must hold the placeholder {{{name}}}")
