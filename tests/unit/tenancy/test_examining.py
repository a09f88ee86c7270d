"""Very many files are read by two processes, and nobody can tell."""

import hashlib

import pytest

from ims_gateway.tenancy.examining import MANY
from ims_gateway.tenancy.loading import load

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
