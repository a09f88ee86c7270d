"""One exchange over HTTP with whoever hands out keys, where the package has none that works.

Decides whom to trust and which way to go: public authorities and those of SSL_CERT_FILE, also
through a proxy. Never logs, and raises what `harmless` knows to cut down.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any, Final

from alibabacloud_credentials.exceptions import CredentialException
from requests import Session
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

# To connect, and between two parts of an answer: those of the package.
TIMEOUTS_SECONDS: Final = (5, 10)
OK: Final = 200


class _Trusting(HTTPAdapter):
    """Adds what OpenSSL is told to trust to the public authorities that requests comes with."""

    def init_poolmanager(self, *given: Any, **more: Any) -> Any:
        return super().init_poolmanager(*given, **more, ssl_context=ssl.create_default_context())

    def proxy_manager_for(self, *given: Any, **more: Any) -> Any:
        return super().proxy_manager_for(*given, **more, ssl_context=ssl.create_default_context())


def asked(
    method: str,
    url: str,
    *,
    query: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    bearer: str | None = None,
) -> dict[str, Any]:
    """Return the JSON object that is answered.

    Raises CredentialException with what was answered instead, and what requests raises.
    """
    headers = {"Accept": "application/json"}
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    with Session() as session:
        # Else a ~/.netrc would take the place of the bearer's token.
        session.trust_env = False
        session.mount("https://", _Trusting())
        answer = session.request(
            method,
            url,
            params=query,
            data=form,
            headers=headers,
            proxies=get_environ_proxies(url),
            timeout=TIMEOUTS_SECONDS,
            allow_redirects=False,
        )
    return _object(answer.status_code, answer.text)


def _object(status: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if status != OK or not isinstance(found, dict):
        raise CredentialException(f"http_code: {status}, result: {text}")
    return found
