"""API keys: how they look, and what is kept of them.

A key is shown once, `imsk_<id>_<secret>`. What a tenant's file holds is HMAC-SHA256 of the whole
key under a pepper that only the gateway knows, so neither the file nor the pepper alone is of use.
"""

from __future__ import annotations

import hmac
import re
import secrets

PREFIX = "imsk"
SHAPE = re.compile(r"imsk_[0-9a-z]{8}_[A-Za-z0-9_-]{43}")


def new_key() -> tuple[str, str]:
    """Return a fresh key's id and the key itself, which holds 256 random bits."""
    # Begins with a letter: in YAML an id of eight digits would be a number.
    key_id = f"k{secrets.token_hex(4)[1:]}"
    return key_id, f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"


def key_hash(key: str, pepper: bytes) -> str:
    """Return what is kept of a key: the hex HMAC-SHA256 of it under the pepper."""
    return hmac.digest(pepper, key.encode(), "sha256").hex()
