"""A folder of files becomes a directory of tenants, or a list of all its faults."""

import pytest

from ims_gateway.identity.principal import Principal
from ims_gateway.policy.decision import Ask
from ims_gateway.policy.policies import Policies
from ims_gateway.quota.limits import CountLimit, RateLimit
from ims_gateway.tenancy.loading import load
from ims_gateway.tenancy.reading import ConfigurationError

ACCOUNTS = "accounts: [{name: main, region: cn-shanghai}, {name: north, region: cn-beijing}]\n"
HASHES = {name: f"{number}" * 64 for number, name in enumerate(("acme", "globex"), 1)}


def tenant(name, **members):
    """Return the text of a tenant's file, a member a line."""
    lines = {
        "name": name,
        "account": "main",
        "principals": f"[{{name: farm, roles: [editor], keys: [{{id: key-{name}, "
        f"hash: '{HASHES.get(name, 'f' * 64)}'}}]}}]".replace(f"key-{name}", "k0000001"),
        "grants": "[{subject: role/editor, actions: [submit], read: ['*'], write: ['*']}]",
        **members,
    }
    return "".join(f"{member}: {value}\n" for member, value in lines.items())


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two good tenants."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "accounts.yaml").write_text(ACCOUNTS, encoding="utf-8")
    put(tmp_path, "acme", tenant("acme"))
    put(tmp_path, "globex", tenant("globex", account="north"))
    return tmp_path


def put(folder, name, text):
    """Write a tenant's file."""
    (folder / "tenants" / f"{name}.yaml").write_text(text, encoding="utf-8")


def faults(folder):
    """Return the faults of a folder."""
    try:
        found = load(folder).faults
    except ConfigurationError as error:
        return [str(fault) for fault in error.faults]
    return [str(fault) for each in found.values() for fault in each]


def ask(directory, name, object_="oss://acme/x"):
    """Ask a tenant's policy whether its caller may read an object."""
    question = Ask("principal/farm", "submit", "cover", (("read", object_),))
    return Policies().of(directory.tenant(name)).decide(question)


def test_tenants_are_found_by_name_and_by_key(folder):
    """Each with the region of its account."""
    directory = load(folder).directory

    assert len(directory) == 2
    assert directory.tenant("acme").region == "cn-shanghai"
    assert directory.tenant("globex").region == "cn-beijing"
    assert directory.tenant("nobody") is None
    assert directory.key(HASHES["globex"]).principal == Principal(
        "principal/farm", "globex", ("editor",)
    )
    assert directory.key("0" * 64) is None
    assert sorted(directory.accounts) == ["main", "north"]


def test_a_tenant_is_as_its_file_says(folder):
    """Limits carry the tenant's time zone, rules their place in the file."""
    limits = "[{id: a, kind: rate, per_second: 0.5, burst: 2}, {id: b, kind: day, max: 3}]"
    put(
        folder,
        "acme",
        tenant("acme", limits=limits, time_zone="Asia/Tokyo", default_output="oss://acme-out"),
    )
    found = load(folder).directory.tenant("acme")

    assert found.resource == "tenants/acme"
    assert found.default_output == "oss://acme-out"
    assert found.limits == (RateLimit("a", 0.5, 2), CountLimit("b", 3, "Asia/Tokyo"))
    assert [grant.rule for grant in found.grants] == ["acme.yaml#grants[0]"]


def test_the_platform_s_grants_hold_for_every_tenant(folder):
    """A deny there wins over what the tenants' files allow."""
    deny = "grants: [{subject: role/editor, actions: ['*'], read: ['oss://vault/*'], effect: deny}]"
    (folder / "grants.yaml").write_text(deny, encoding="utf-8")
    directory = load(folder).directory

    for name in ("acme", "globex"):
        assert ask(directory, name).allowed
        refused = ask(directory, name, "oss://vault/x")
        assert (refused.allowed, refused.rule) == (False, "grants.yaml#grants[0]")


def test_a_policy_s_version_tells_one_set_of_rules_from_another(folder):
    """It changes with the tenant's file and with the platform's, and with nothing else."""
    versions = [ask(load(folder).directory, "acme").policy_version for _ in range(2)]
    put(folder, "globex", tenant("globex", time_zone="Asia/Tokyo"))
    versions.append(ask(load(folder).directory, "acme").policy_version)
    put(folder, "acme", tenant("acme", time_zone="Asia/Tokyo"))
    versions.append(ask(load(folder).directory, "acme").policy_version)
    (folder / "grants.yaml").write_text("grants: []", encoding="utf-8")
    versions.append(ask(load(folder).directory, "acme").policy_version)

    assert versions[0] == versions[1] == versions[2]
    assert len(set(versions)) == 3


def test_a_policy_is_built_once(folder):
    """And is the tenant's own."""
    directory = load(folder).directory
    acme, globex = directory.tenant("acme"), directory.tenant("globex")
    policies = Policies()

    assert policies.of(acme) is policies.of(acme)
    assert policies.of(acme) is not policies.of(globex)


def test_a_name_must_be_the_file_s(folder):
    """Else two files could claim one tenant."""
    put(folder, "other", tenant("acme", principals="[{name: farm}]"))

    assert faults(folder) == ["other.yaml:1: name: must be other, as the file's"]


def test_an_account_must_be_known(folder):
    """The fault has the line of the member."""
    put(folder, "acme", tenant("acme", account="nobody"))

    assert faults(folder) == ["acme.yaml:2: account: not in accounts.yaml"]


def test_faults_of_all_files_are_reported_at_once(folder):
    """Of the files themselves and between them."""
    (folder / "grants.yaml").write_text("grants: [{subject: x}]", encoding="utf-8")
    put(folder, "acme", tenant("acme", acount="main"))
    put(folder, "globex", tenant("hooli", account="nobody"))
    put(folder, "initech", tenant("initech", principals="[{name: farm}]", time_zone="Mars/Base"))

    assert [": ".join(fault.split(": ")[:2]) for fault in faults(folder)] == [
        "grants.yaml:1: grants[0].subject",
        "grants.yaml:1: grants[0].actions",
        "acme.yaml:5: acount",
        "globex.yaml:1: name",
        "globex.yaml:2: account",
        "initech.yaml:5: time_zone",
    ]


def test_a_key_belongs_to_one_tenant(folder):
    """Whoever holds it would be one of two callers, by chance."""
    put(folder, "globex", tenant("globex").replace(HASHES["globex"], HASHES["acme"]))

    assert faults(folder) == [
        "globex.yaml: a key, SPIFFE id or token of it also stands in acme.yaml"
    ]


def test_a_key_belongs_to_one_principal(folder):
    """Also within a tenant, under whatever id."""
    keys = f"keys: [{{id: k0000001, hash: '{HASHES['acme']}'}}]"
    again = keys.replace("k0000001", "k0000002")
    put(folder, "acme", tenant("acme", principals=f"[{{name: a, {keys}}}, {{name: b, {again}}}]"))

    assert faults(folder) == [
        "acme.yaml:1: file: Value error, key k0000001 stands twice, under another id"
    ]


def test_no_fault_shows_a_hash(folder):
    """Not even that of a key that stands twice."""
    put(folder, "globex", tenant("globex").replace(HASHES["globex"], HASHES["acme"]))

    assert HASHES["acme"] not in "\n".join(faults(folder))


def test_a_folder_without_tenants_is_a_fault(tmp_path):
    """A gateway for nobody is a mistake in the path."""
    (tmp_path / "accounts.yaml").write_text(ACCOUNTS, encoding="utf-8")

    assert faults(tmp_path) == ["tenants: no tenant"]


def test_a_folder_without_accounts_is_a_fault(folder):
    """It is named first."""
    (folder / "accounts.yaml").unlink()

    assert faults(folder)[0] == "accounts.yaml: FileNotFoundError"


def test_other_files_beside_the_tenants_are_left_alone(folder):
    """A README, or what an editor leaves behind."""
    (folder / "tenants" / "README.md").write_text("not yaml: [", encoding="utf-8")
    (folder / "tenants" / "acme.yaml~").write_text("not yaml: [", encoding="utf-8")

    assert len(load(folder).directory) == 2
