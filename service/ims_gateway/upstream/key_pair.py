"""The session key that STS gives for a key pair of RAM.

Decides how that is signed: with the private key, SHA256withRSA, which is what STS can verify with
the public one, and what Alibaba Cloud's SDKs for Go and PHP send. The provider of
`alibabacloud-credentials` takes the private key's text for the secret of an HMAC, which nobody
without the private key could verify.
"""

from __future__ import annotations

import base64
import calendar
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from alibabacloud_credentials.provider.refreshable import Credentials as Handed
from joserfc import jws
from joserfc.jwk import RSAKey

from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.exchange import asked

ENDPOINT: Final = "sts.ap-northeast-1.aliyuncs.com"
DURATION_SECONDS: Final = 3600
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class KeyPair:
    """Asks with a public key's id, proves it with the private key.

    endpoint: of STS, a host or an address. The file is read for each key: it may be replaced.
    """

    def __init__(
        self,
        public_key_id: str,
        private_key_file: Path,
        duration_seconds: int = DURATION_SECONDS,
        endpoint: str | None = None,
    ) -> None:
        self._public_key_id = public_key_id
        self._private_key_file = private_key_file
        self._duration_seconds = duration_seconds
        host = endpoint or ENDPOINT
        self._address = host if "://" in host else f"https://{host}"

    def get_credentials(self) -> Handed:
        """Return a new session key. Raises CredentialsUnavailable, and what `asked` does."""
        query = {
            "AccessKeyId": self._public_key_id,
            "Action": "GenerateSessionAccessKey",
            "DurationSeconds": str(self._duration_seconds),
            "Format": "JSON",
            "PublicKeyId": self._public_key_id,
            "SignatureMethod": "SHA256withRSA",
            "SignatureNonce": secrets.token_hex(16),
            "SignatureType": "PRIVATEKEY",
            "SignatureVersion": "1.0",
            "Timestamp": time.strftime(_TIME, time.gmtime()),
            "Version": "2015-04-01",
        }
        query["Signature"] = _signature(query, _private_key(self._private_key_file))
        return _session_key(asked("GET", f"{self._address}/", query=query))


def _signature(query: dict[str, str], key: RSAKey) -> str:
    signed = "&".join(f"{_encoded(name)}={_encoded(query[name])}" for name in sorted(query))
    text = f"GET&{_encoded('/')}&{_encoded(signed)}"
    # RS256 of JOSE is SHA256withRSA of Java.
    return base64.b64encode(jws.JWSRegistry.algorithms["RS256"].sign(text.encode(), key)).decode()


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _private_key(file: Path) -> RSAKey:
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError as error:
        raise CredentialsUnavailable(f"{file}: {error.strerror}") from None
    except ValueError:
        lines = []
    body = "\n".join(line for line in lines if not line.startswith("-----"))
    # The frame of what RAM hands out may name PKCS #1 (RSA) around PKCS #8, so it is not asked.
    for label in ("PRIVATE KEY", "RSA PRIVATE KEY"):
        with suppress(ValueError, TypeError):
            key = RSAKey.import_key(f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
            if key.is_private:
                return key
    raise CredentialsUnavailable(f"{file}: it holds no private key of RSA")


def _session_key(answer: dict[str, Any]) -> Handed:
    try:
        key = answer["SessionAccessKey"]
        return Handed(
            access_key_id=key["SessionAccessKeyId"],
            access_key_secret=key["SessionAccessKeySecret"],
            expiration=calendar.timegm(time.strptime(key["Expiration"], _TIME)),
            provider_name="rsa_key_pair",
        )
    except (KeyError, TypeError, ValueError):
        # What was answered is not quoted: it may have the key in it.
        raise CredentialsUnavailable("what came holds no session key") from None
