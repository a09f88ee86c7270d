"""Settings come from the environment, refuse nonsense, and show no secret."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from ims_gateway.settings import Settings, environment
from ims_gateway.settling import PAUSES_SECONDS

PEPPER = "0123456789abcdef0123456789abcdef"
GOOD = {"IMSGW_CONFIG_DIR": "/etc/imsgw", "IMSGW_KEY_PEPPER": PEPPER}


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    """Begin with no variables of ours, and where no .env lies about."""
    for name in os.environ:
        if name.startswith("IMSGW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings(monkeypatch, **variables):
    """Read settings from these variables and the two that are required."""
    for name, value in {**GOOD, **variables}.items():
        monkeypatch.setenv(name, value)
    return Settings()


def faults(monkeypatch, **variables):
    """Return the names of the settings that are wrong."""
    with pytest.raises(ValidationError) as raised:
        settings(monkeypatch, **variables)
    return [fault["loc"][0] for fault in raised.value.errors()]


def test_two_variables_are_enough(monkeypatch):
    """Every other setting has a default that serves on one machine."""
    found = settings(monkeypatch)

    assert found.config_dir == Path("/etc/imsgw")
    assert found.key_pepper.get_secret_value() == PEPPER
    assert found.listen.startswith("127.0.0.1:")
    assert found.decision_log == "-"


def test_without_the_required_variables_there_are_no_settings():
    """Both are named at once."""
    with pytest.raises(ValidationError) as raised:
        Settings()

    assert [fault["loc"] for fault in raised.value.errors()] == [("config_dir",), ("key_pepper",)]


def test_every_variable_is_read(monkeypatch):
    """With its unit in its name."""
    found = settings(
        monkeypatch,
        IMSGW_DATABASE_URL="sqlite:////var/lib/x.db",
        IMSGW_LISTEN="[::]:1",
        IMSGW_METRICS_LISTEN="",
        IMSGW_MAX_MESSAGE_BYTES="1024",
        IMSGW_SUBMIT_TIMEOUT_SECONDS="1.5",
    )

    assert found.database_url.get_secret_value() == "sqlite:////var/lib/x.db"
    assert (found.listen, found.metrics_listen) == ("[::]:1", "")
    assert (found.max_message_bytes, found.submit_timeout_seconds) == (1024, 1.5)


BAD = [
    ("key_pepper", PEPPER[:-1]),
    ("max_message_bytes", "1023"),
    ("max_message_bytes", "4194305"),
    ("max_message_bytes", "1e3000"),
    *(
        (name, value)
        for name in (
            "submit_timeout_seconds",
            "poll_interval_seconds",
            "watch_interval_seconds",
        )
        for value in ("0", "-1", "nan", "inf", "1000", "soon", "")
    ),
    ("drain_seconds", "-0.1"),
    ("drain_seconds", "601"),
    ("listen", ""),
    ("listen", "50051"),
    ("listen", "localhost"),
    ("metrics_listen", "9464"),
    ("metrics_listen", "localhost:65536"),
    ("admin_listen", "50052"),
    ("workers", "0"),
    ("workers", "65"),
    ("max_calls", "0"),
    ("max_streams", "0"),
    ("max_connection_age_seconds", "0.5"),
    ("max_connection_age_grace_seconds", "0"),
    ("drain_delay_seconds", "601"),
    ("reflection", "maybe"),
    ("metrics_listen", "localhost:http"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_nonsense_is_refused(monkeypatch, name, value):
    """And named."""
    assert faults(monkeypatch, **{f"IMSGW_{name.upper()}": value}) == [name]


def test_all_faults_are_reported_at_once(monkeypatch):
    """In the order of the settings."""
    found = faults(
        monkeypatch, IMSGW_DRAIN_SECONDS="x", IMSGW_KEY_PEPPER="short", IMSGW_MAX_MESSAGE_BYTES="1"
    )

    assert found == ["key_pepper", "max_message_bytes", "drain_seconds"]


TOGETHER = [
    ({"WORKERS": "2", "LISTEN": "unix:/tmp/socket"}, "cannot share a Unix socket"),
    ({"WORKERS": "2", "ADMIN_LISTEN": "unix:/tmp/socket"}, "cannot share a Unix socket"),
    ({"LISTEN": "0.0.0.0:1", "ADMIN_LISTEN": "0.0.0.0:1"}, "must be another address"),
    ({"TLS_KEY_FILE": "key.pem"}, "go together"),
    ({"TLS_CLIENT_CA_FILE": "ca.pem"}, "needs IMSGW_TLS_CERTIFICATE_FILE"),
]


@pytest.mark.parametrize(("variables", "fault"), TOGETHER)
def test_settings_that_do_not_go_together_are_refused(monkeypatch, variables, fault):
    """And named."""
    with pytest.raises(ValidationError, match=fault):
        settings(monkeypatch, **{f"IMSGW_{name}": value for name, value in variables.items()})


def test_a_process_has_time_to_settle_what_is_paid_for(monkeypatch):
    """However short a drain is."""
    found = settings(monkeypatch, IMSGW_DRAIN_SECONDS="0", IMSGW_SUBMIT_TIMEOUT_SECONDS="20")

    assert found.shutdown_seconds > 20 + sum(PAUSES_SECONDS)


def test_no_secret_is_shown(monkeypatch):
    """Neither by the settings nor by what is wrong with them."""
    assert PEPPER not in repr(settings(monkeypatch))
    with pytest.raises(ValidationError) as raised:
        settings(monkeypatch, IMSGW_KEY_PEPPER="hunter2", IMSGW_DRAIN_SECONDS="x")

    assert "hunter2" not in f"{raised.value} {raised.value!r}"


def test_settings_do_not_change(monkeypatch):
    """Whoever was given them may rely on them."""
    with pytest.raises(ValidationError):
        settings(monkeypatch).listen = "0.0.0.0:1"


def test_credentials_are_read_from_the_environment_that_the_process_has(monkeypatch):
    """Under the cloud's own names, by whoever needs them."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "AKID")

    assert environment()["ALIBABA_CLOUD_ACCESS_KEY_ID"] == "AKID"
