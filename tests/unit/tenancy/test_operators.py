"""Operators of the platform: a file of their own, keys and nothing else."""

import pytest

from ims_gateway.errors import PolicyDenied
from ims_gateway.identity.principal import Principal
from ims_gateway.policy.authorization import Authorization
from ims_gateway.tenancy.loading import load
from ims_gateway.tenancy.reading import ConfigurationError
from tests.calls import a_call

ACME, ALICE, BOB = ("a" * 64, "b" * 64, "c" * 64)
TENANT = f"""
name: {{name}}
account: main
principals: [{{{{name: farm, keys: [{{{{id: k0000001, hash: {ACME}}}}}]}}}}]
grants: [{{{{subject: principal/farm, actions: [submit], read: ["*"], write: ["*"]}}}}]
"""
OPERATORS = f"""
operators:
  - {{name: alice, keys: [{{id: k0000002, hash: {ALICE}}}, {{id: k0000003, hash: {BOB}}}]}}
"""
FAULTS = {
    "a role": (
        f"operators: [{{name: alice, roles: [admin], keys: [{{id: k0000002, hash: {ALICE}}}]}}]",
        "operators.yaml:1: operators[0].roles: ",
    ),
    "no key": ("operators: [{name: alice, keys: []}]", "operators.yaml:1: operators[0]: "),
    "keys forgotten": ("operators: [{name: alice}]", "operators.yaml:1: operators[0]: "),
    "nobody": ("operators: []", "operators.yaml:1: operators: "),
    "an empty file": ("", "operators.yaml:1: file: "),
    "a name of another kind": (
        f"operators: [{{name: principal/alice, keys: [{{id: k0000002, hash: {ALICE}}}]}}]",
        "operators.yaml:1: operators[0].name: ",
    ),
    "one name twice": (
        OPERATORS + OPERATORS.partition("operators:\n")[2],
        "operators.yaml:2: file: Value error, operator defined twice: alice",
    ),
    "a tenant's key": (
        f"operators: [{{name: alice, keys: [{{id: k0000002, hash: {ACME}}}]}}]",
        "acme.yaml: a key, SPIFFE id or token of it also stands in operators.yaml",
    ),
}


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one tenant."""
    (tmp_path / "tenants").mkdir()
    accounts = "accounts: [{name: main, region: cn-shanghai}]"
    (tmp_path / "accounts.yaml").write_text(accounts, encoding="utf-8")
    (tmp_path / "tenants" / "acme.yaml").write_text(TENANT.format(name="acme"), encoding="utf-8")
    return tmp_path


def test_every_key_of_an_operator_is_its_principal_without_a_tenant(folder):
    """It is found like a tenant's, and the tenants are what they were."""
    (folder / "operators.yaml").write_text(OPERATORS, encoding="utf-8")
    directory = load(folder).directory
    alice = Principal("principal/alice", "", (), operator=True)
    assert [directory.key(text).principal for text in (ALICE, BOB)] == [alice, alice]
    assert directory.key(ACME).principal == Principal("principal/farm", "acme")
    assert len(directory) == 1


def test_without_the_file_nobody_is_an_operator(folder):
    """The file may be left out."""
    directory = load(folder).directory
    assert directory.key(ALICE) is None
    assert not directory.key(ACME).principal.operator


def test_tenant_may_be_called_operators(folder):
    """Its file lies in another folder, and its keys stay its own."""
    (folder / "operators.yaml").write_text(OPERATORS, encoding="utf-8")
    (folder / "tenants" / "acme.yaml").unlink()
    theirs = TENANT.format(name="operators")
    (folder / "tenants" / "operators.yaml").write_text(theirs, encoding="utf-8")
    directory = load(folder).directory
    assert directory.key(ACME).principal.tenant == "operators"
    assert directory.key(ALICE).principal.operator


@pytest.mark.parametrize("kind", FAULTS)
def test_fault_in_the_file_stops_the_start(folder, kind):
    """With its place; a platform without the operators it wrote down is not what was asked for."""
    text, fault = FAULTS[kind]
    (folder / "operators.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(folder)
    assert any(str(found).startswith(fault) for found in raised.value.faults), raised.value


def test_who_may_do_what_is_told_apart_by_the_principal_alone(folder):
    """An operator acts for no tenant, and nobody of a tenant acts as an operator."""
    (folder / "operators.yaml").write_text(OPERATORS, encoding="utf-8")
    directory = load(folder).directory
    authorization = Authorization(lambda: directory)
    alice, farm = directory.key(ALICE).principal, directory.key(ACME).principal
    authorization.operator(alice)
    for refused in (
        lambda: authorization.operator(farm),
        lambda: authorization.tenant(a_call(principal=alice), ""),
        lambda: authorization.tenant(a_call(principal=alice), "tenants/acme"),
    ):
        with pytest.raises(PolicyDenied) as raised:
            refused()
        assert raised.value.metadata == {"dimension": "SUBJECT"}
