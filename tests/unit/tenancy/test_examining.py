"""Very many files are read by two processes, and nobody can tell."""

import hashlib

import pytest

from ims_gateway.tenancy.examining import MANY
from ims_gateway.tenancy.loading import Beginning, finish, load

BAD = (7, MANY - 7)


def text(number):
    """Return a tenant's file; of some the account is misspelt."""
    key = hashlib.sha256(str(number).encode()).hexdigest()
    account = "mian" if number in BAD else "main"
    return (
        f"name: t{number}\naccount: {account}\n"
        f"principals: [{{name: a, keys: [{{id: k0000001, hash: '{key}'}}]}}]\n"
        "grants: [{subject: principal/a, actions: [get]}]\n"
    )


@pytest.fixture
def folder(tmp_path):
    """Return a folder with as many tenants as it takes."""
    (tmp_path / "tenants").mkdir()
    accounts = "accounts: [{name: main, region: cn-shanghai}]"
    (tmp_path / "accounts.yaml").write_text(accounts, encoding="utf-8")
    for number in range(MANY):
        (tmp_path / "tenants" / f"t{number}.yaml").write_text(text(number), encoding="utf-8")
    return tmp_path


def test_a_part_that_another_process_has_read_is_like_the_rest(folder):
    """Tenants, credentials and faults of both parts are all there."""
    loaded = load(folder)

    assert len(loaded.directory) == MANY - len(BAD)
    for number in (0, 1, MANY // 2, MANY - 1):
        key = hashlib.sha256(str(number).encode()).hexdigest()
        assert loaded.directory.key(key).principal.tenant == f"t{number}"
        assert loaded.directory.tenant(f"t{number}").account == "main"
    assert {fault.file for found in loaded.faults.values() for fault in found} == {
        f"t{number}.yaml" for number in BAD
    }


def test_files_that_the_other_process_does_not_answer_for_are_read_all_the_same(
    folder, monkeypatch
):
    """A helper that dies costs time, and no tenant."""
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (folder / "pickle.py").write_text("raise SystemExit(1)", encoding="utf-8")

    assert len(load(folder).directory) == MANY - len(BAD)


def test_a_start_that_has_begun_serves_the_files_as_they_were_seen_then(folder):
    """A file that comes while the gateway is imported is left to the first look for changes."""
    beginning = Beginning(folder)
    (folder / "tenants" / "late.yaml").write_text(text("late"), encoding="utf-8")
    (folder / "tenants" / "t0.yaml").unlink()

    loaded = finish(beginning)

    assert "late" not in loaded.directory.filed
    assert {f"t{number}" for number in range(1, MANY) if number not in BAD} <= set(loaded.directory)
