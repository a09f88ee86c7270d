"""The key of somebody who logged in with `aliyun configure --mode OAuth`.

Decides when the login itself is renewed, and that no renewal is lost: a token that renews is good
once, so the next one is in the file before it is used. The provider of `alibabacloud-credentials`
reaches no host here (its address has no port, and it asks at port "None"), hands out the key that
it has to that key's very end, and writes tokens down only once there is a key.
"""

from __future__ import annotations

import calendar
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alibabacloud_credentials.provider.refreshable import Credentials as Handed

from ims_gateway.upstream import cli_file
from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.exchange import asked

# A login that ends sooner is renewed first; so does the aliyun command.
SECONDS_LEFT: Final = 1200.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where a login is renewed, and the aliyun command's id there."""

    address: str
    client_id: str


SITES: Final = {
    "CN": Site("https://oauth.aliyun.com", "4038181954557748008"),
    "INTL": Site("https://oauth.alibabacloud.com", "4103531455503354461"),
}


class OAuth:
    """A profile of mode OAuth."""

    def __init__(self, file: Path, name: str) -> None:
        self._file = file
        self._name = name

    def get_credentials(self) -> Handed:
        """Return a new key. Raises CredentialsUnavailable, and what `asked` does."""
        with cli_file.alone(self._file):
            # Read inside: another process may have renewed the login just now.
            profile = cli_file.profile(self._file, self._name)
            site = _site(profile)
            token = profile.get("oauth_access_token")
            if profile.get("oauth_refresh_token") and _ends_soon(profile):
                token = self._renewed(site, str(profile["oauth_refresh_token"]))
        if not token:
            raise CredentialsUnavailable(f"profile {self._name}: log in with the aliyun command")
        return _key(asked("POST", f"{site.address}/v1/exchange", bearer=str(token)))

    def _renewed(self, site: Site, refresh_token: str) -> str:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": site.client_id,
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        with cli_file.rewriting(self._file) as write:
            answer = asked("POST", f"{site.address}/v1/token", form=form)
            token, following = answer.get("access_token"), answer.get("refresh_token")
            if not token or not following:
                raise CredentialsUnavailable("what came renews no login")
            members = {
                "oauth_access_token": token,
                "oauth_access_token_expire": int(time.time() + _seconds(answer)),
                "oauth_refresh_token": following,
            }
            write(self._name, members)
        return str(token)


def _site(profile: cli_file.Profile) -> Site:
    name = str(profile.get("oauth_site_type") or "CN").upper()
    if name not in SITES:
        raise CredentialsUnavailable("oauth_site_type must be CN or INTL")
    return SITES[name]


def _ends_soon(profile: cli_file.Profile) -> bool:
    ends_at = profile.get("oauth_access_token_expire") or 0
    return not profile.get("oauth_access_token") or float(ends_at) - time.time() <= SECONDS_LEFT


def _seconds(answer: dict[str, Any]) -> float:
    # Whatever it is, the token that came with it must be written down.
    with suppress(KeyError, TypeError, ValueError):
        return float(answer["expires_in"])
    return 3600.0


def _key(answer: dict[str, Any]) -> Handed:
    # The SDKs do not agree on how the members begin, in upper or in lower case.
    found = {name.lower(): value for name, value in answer.items()}
    try:
        return Handed(
            access_key_id=found["accesskeyid"],
            access_key_secret=found["accesskeysecret"],
            security_token=found["securitytoken"],
            expiration=calendar.timegm(time.strptime(found["expiration"], "%Y-%m-%dT%H:%M:%SZ")),
            provider_name="oauth",
        )
    except (KeyError, TypeError, ValueError):
        raise CredentialsUnavailable("what came holds no key") from None
