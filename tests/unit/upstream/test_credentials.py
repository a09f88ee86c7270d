import os
import traceback
from pathlib import Path

import pytest

from ims_gateway.upstream.credentials import (
    Credentials,
    CredentialsUnavailable,
    EnvironmentCredentials,
    FileCredentials,
)

GOOD = "access_key_id: LTAI1\naccess_key_secret: hush-hush\n"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        """Return the time."""
        return self.seconds


@pytest.fixture
def clock():
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
def key_file(tmp_path) -> Path:
    """Write a good file."""
    path = tmp_path / "key.yaml"
    path.write_text(GOOD)
    return path


def test_secret_and_token_are_not_in_the_repr():
    """What a log or a traceback shows of a key is its id."""
    shown = repr(Credentials("LTAI1", "hush-hush", "token-token"))
    assert "LTAI1" in shown
    assert "hush" not in shown
    assert "token-token" not in shown


@pytest.mark.parametrize("text", ["", "two\nlines", "spa ce", "ключ", 7, None])
@pytest.mark.parametrize("name", ["access_key_id", "access_key_secret"])
def test_text_that_cannot_be_a_key_is_refused_unseen(name, text):
    """A key that would break the header it goes into is refused, and not quoted."""
    fields = {"access_key_id": "LTAI1", "access_key_secret": "hush-hush", name: text}
    with pytest.raises(CredentialsUnavailable) as refusal:
        Credentials(**fields)
    assert str(refusal.value) == f"{name} must be one line of printable ASCII"


def test_environment_gives_a_permanent_key():
    """An empty token variable is no token."""
    environment = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI1",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "hush-hush",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "",
    }
    assert EnvironmentCredentials(environment).snapshot() == Credentials("LTAI1", "hush-hush")


def test_environment_gives_a_temporary_key():
    """The token variable makes it an STS key."""
    environment = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.1",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "hush-hush",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
    }
    assert EnvironmentCredentials(environment).snapshot().security_token == "token"


def test_missing_variable_is_named():
    """The message says what to set."""
    with pytest.raises(CredentialsUnavailable, match="ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set"):
        EnvironmentCredentials({"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI1"})


def test_process_environment_is_not_read(monkeypatch):
    """Only what was handed in counts."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI1")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hush-hush")
    with pytest.raises(CredentialsUnavailable):
        EnvironmentCredentials({})


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "security_token: token\n",
        '{"access_key_id":"LTAI1","access_key_secret":"hush-hush","security_token":"token"}',
        """{
\t"access_key_id": "LTAI1",
\t"access_key_secret": "hush-hush",
\t"security_token": "token"
}""",
    ],
)
def test_file_may_be_yaml_or_json(tmp_path, text):
    """Both forms, tabs in JSON included, give the same key."""
    path = tmp_path / "key"
    path.write_text(text)
    assert FileCredentials(path).snapshot() == Credentials("LTAI1", "hush-hush", "token")


def test_changed_file_is_read_again_after_a_second(key_file, clock):
    """A rotated key is in use a second later, and the file is not looked at any sooner."""
    provider = FileCredentials(key_file, clock=clock)
    key_file.write_text(GOOD.replace("LTAI1", "LTAI22"))
    clock.seconds += 0.9
    assert provider.snapshot().access_key_id == "LTAI1"
    clock.seconds += 0.1
    assert provider.snapshot().access_key_id == "LTAI22"


def test_kubernetes_way_of_changing_a_file_is_seen(tmp_path, clock):
    """A secret volume swaps a link to the folder, and the file's size and age may stay the same."""
    for folder, key in (("old", "LTAI1"), ("new", "LTAI2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "key").write_text(GOOD.replace("LTAI1", key))
        os.utime(tmp_path / folder / "key", ns=(1, 1))
    (tmp_path / "..data").symlink_to("old")
    provider = FileCredentials(tmp_path / "..data" / "key", clock=clock)
    (tmp_path / "..tmp").symlink_to("new")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    clock.seconds += 1
    assert provider.snapshot().access_key_id == "LTAI2"


def test_bad_file_never_replaces_a_good_key(key_file, clock):
    """The last good key stays in use, and the problem is told until it is gone."""
    provider = FileCredentials(key_file, clock=clock)
    assert provider.problem is None
    for broken in ("access_key_id: LTAI2\n", None):
        key_file.write_text(broken) if broken else key_file.unlink()
        clock.seconds += 1
        assert provider.snapshot().access_key_id == "LTAI1"
        assert str(key_file) in provider.problem
    key_file.write_text(GOOD.replace("LTAI1", "LTAI3"))
    clock.seconds += 1
    assert provider.snapshot().access_key_id == "LTAI3"
    assert provider.problem is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("access_key_secret: 'hush-hush\n", "neither YAML nor JSON"),
        ('{"access_key_secret": "hush-hush"', "neither YAML nor JSON"),
        ("\udcff hush-hush", "neither YAML nor JSON"),
        ("hush-hush", "must hold access_key_id"),
        ("access_key_id: LTAI1\nhush-hush: x\naccess_key_secret: y", "nothing else"),
        ("access_key_id: LTAI1\naccess_key_secret: 'hush-hush hush'", "printable ASCII"),
        ("access_key_id: LTAI1\naccess_key_secret: [hush-hush]", "printable ASCII"),
    ],
)
def test_bad_file_is_refused_without_quoting_it(tmp_path, text, said):
    """Neither the message nor the traceback shows a line of the file."""
    path = tmp_path / "key"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(CredentialsUnavailable, match=said) as refusal:
        FileCredentials(path)
    assert str(path) in str(refusal.value)
    assert "hush-hush" not in "".join(traceback.format_exception_only(refusal.value))
    assert refusal.value.__suppress_context__


def test_absent_file_is_refused(tmp_path):
    """There is no key to begin with, so there is no provider."""
    with pytest.raises(CredentialsUnavailable, match="No such file"):
        FileCredentials(tmp_path / "absent")
