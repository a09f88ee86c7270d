"""Configuration of a sandbox: two tenants, an operator, one account, and keys of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import SecretStr

from ims_gateway.emulator.server import Emulator
from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway.settings import Settings

ACCESS_KEY_ID: Final = "SANDBOX-ACCESS-KEY"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a sandbox's gateway is started with, and the API keys of each tenant and the operator.

    Keys are made anew at every start.
    """

    settings: Settings
    environment: dict[str, str]
    api_keys: dict[str, str]
    operator_key: str


def account_secret() -> str:
    """Return a fresh secret for the account that gateway and emulator share."""
    return secrets.token_urlsafe(24)


def write(
    folder: Path, emulator: Emulator, secret: str, *, listen: str, metrics_listen: str
) -> Sandbox:
    """Write accounts and tenants below the folder, and return what to start the gateway with."""
    pepper = secrets.token_urlsafe(32)
    api_keys: dict[str, str] = {}
    (folder / "tenants").mkdir(parents=True, exist_ok=True)
    account = {
        "name": "sandbox",
        "region": "cn-shanghai",
        "endpoint": emulator.https_endpoint,
        "ca_file": str(emulator.ca_file),
        "polls_per_second": 100,
    }
    _write_yaml(folder / "accounts.yaml", {"accounts": [account]})
    for name, daily in (("acme", 100_000), ("globex", 1)):
        api_keys[name], key = _key(pepper)
        _write_yaml(folder / "tenants" / f"{name}.yaml", _tenant(name, key, daily))
    operator_key, key = _key(pepper)
    operators = [{"name": "operator", "keys": [key]}]
    _write_yaml(folder / "operators.yaml", {"operators": operators})
    settings = Settings(
        config_dir=folder,
        key_pepper=SecretStr(pepper),
        database_url=SecretStr(f"sqlite:///{folder.absolute() / 'ledger.db'}"),
        listen=listen,
        metrics_listen=metrics_listen,
        decision_log=str(folder / "decisions.jsonl"),
        poll_interval_seconds=0.25,
        watch_interval_seconds=0.1,
    )
    environment = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret,
    }
    return Sandbox(settings, environment, api_keys, operator_key)


def _key(pepper: str) -> tuple[str, dict[str, str]]:
    """Return a fresh key, and what a file holds of it."""
    key_id, key = new_key()
    return key, {"id": key_id, "hash": key_hash(key, pepper.encode())}


def _tenant(name: str, key: dict[str, str], daily: int) -> dict[str, Any]:
    return {
        "name": name,
        "account": "sandbox",
        "default_output": f"oss://{name}-media/out",
        "principals": [{"name": "sandbox", "roles": ["editor"], "keys": [key]}],
        "grants": [
            {"subject": "role/editor", "actions": ["*"], "read": ["*"], "write": ["*"]},
            {
                "subject": "role/editor",
                "actions": ["submit"],
                "read": [f"oss://{name}-vault/*"],
                "write": [f"oss://{name}-vault/*"],
                "effect": "deny",
            },
        ],
        "limits": [
            {"id": "burst", "kind": "rate", "per_second": 50, "burst": 100},
            {"id": "daily", "kind": "day", "max": daily},
        ],
    }


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
