"""Files that change while the gateway serves: the good ones are taken, each by itself."""

import os
import random
import shutil

import pytest

from ims_gateway.tenancy import loading
from ims_gateway.tenancy.loading import load
from ims_gateway.tenancy.looking import SETTLING_NANOSECONDS
from ims_gateway.tenancy.reading import ConfigurationError

ACCOUNTS = "accounts: [{name: main, region: cn-shanghai}]\n"
OPERATORS = "operators: [{name: alice, keys: [{id: k0000009, hash: '%s'}]}]\n"
DENY = "grants: [{subject: role/editor, actions: ['*'], read: ['oss://vault/*'], effect: deny}]\n"
SOMETIME = 10**18


def text(name, key="", **members):
    """Return a tenant's file: one principal, with a key that is told apart by a character."""
    lines = {
        "name": name,
        "account": "main",
        "principals": f"[{{name: farm, roles: [editor], keys: [{{id: k0000001, "
        f"hash: '{(key or name[0]) * 64}'}}]}}]",
        "grants": "[{subject: role/editor, actions: [submit], read: ['*'], write: ['*']}]",
        **members,
    }
    return "".join(f"{member}: {value}\n" for member, value in lines.items())


class Folder:
    """A configuration folder whose files change at moments of their own."""

    def __init__(self, path):
        self.path = path
        self.now = SOMETIME
        (path / "tenants").mkdir()
        self.write("accounts.yaml", ACCOUNTS)
        for name in ("acme", "beta"):
            self.write(f"tenants/{name}.yaml", text(name))
        self.loaded = load(path)

    def write(self, name, content):
        """Write a file as an editor does, and let time go on."""
        self.now += 10**9
        (self.path / name).write_text(content, encoding="utf-8")
        os.utime(self.path / name, ns=(self.now, self.now))

    def refresh(self, *, settled=True):
        """Look at the folder again, by default when nothing was written to for a while."""
        self.now += SETTLING_NANOSECONDS if settled else 0
        self.loaded = loading.refresh(self.path, self.loaded, self.now)
        return self.loaded.directory

    @property
    def faults(self):
        """Return what is wrong with the files that were not taken."""
        return sorted(str(fault) for found in self.loaded.faults.values() for fault in found)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two tenants that was read."""
    return Folder(tmp_path)


def owner(directory, key):
    """Return the tenant of a key."""
    entry = directory.key(key * 64)
    return entry and entry.principal.tenant


def test_nothing_is_new_where_nothing_changed(folder):
    """The very directory stays."""
    before = folder.loaded

    assert folder.refresh() is before.directory
    assert folder.loaded is before


def test_a_changed_tenant_is_taken_and_the_others_stay_open(folder):
    """What was taken of the old directory stays as it was."""
    before = folder.loaded.directory
    acme, beta = before.tenant("acme"), before.tenant("beta")
    folder.write("tenants/acme.yaml", text("acme", key="d", default_output="oss://acme-out"))
    after = folder.refresh()

    assert after.tenant("acme").default_output == "oss://acme-out"
    assert after.tenant("acme").version != acme.version
    assert after.tenant("beta") is beta
    assert before.tenant("acme") is acme
    assert [owner(after, key) for key in "abd"] == [None, "beta", "acme"]
    assert [owner(before, key) for key in "abd"] == ["acme", "beta", None]


def test_a_file_that_is_being_written_is_left_until_it_is_not(folder):
    """Half a file may be well formed, and lack the denies at its end."""
    before = folder.loaded.directory
    folder.write("tenants/acme.yaml", text("acme", key="d"))

    assert folder.refresh(settled=False) is before
    assert folder.loaded.unsettled == {"tenants/acme.yaml"}
    assert owner(folder.refresh(), "d") == "acme"
    assert not folder.loaded.unsettled


def test_a_bad_file_never_replaces_a_good_one(folder):
    """Its tenant stays as it was, the fault has file and line, and mending it ends the fault."""
    folder.write("tenants/acme.yaml", text("acme", key="d", acount="x"))
    folder.write("tenants/beta.yaml", text("beta", key="e"))
    after = folder.refresh()

    assert [owner(after, key) for key in "abde"] == ["acme", None, None, "beta"]
    assert [fault.rpartition(": ")[0] for fault in folder.faults] == ["acme.yaml:5: acount"]
    assert folder.refresh() is after
    folder.write("tenants/acme.yaml", text("acme", key="d"))
    assert owner(folder.refresh(), "d") == "acme"
    assert folder.faults == []


def test_a_new_tenant_comes_and_a_deleted_one_goes(folder):
    """With everything that its principals were recognized by."""
    folder.write("tenants/corp.yaml", text("corp"))
    (folder.path / "tenants" / "acme.yaml").unlink()
    after = folder.refresh()

    assert sorted(after) == ["beta", "corp"]
    assert after.tenant("acme") is None
    assert [owner(after, key) for key in "abc"] == [None, "beta", "corp"]


def test_an_empty_folder_takes_nobody_s_tenant_away(folder):
    """It is a mount that is away; when it is back, all is well by itself."""
    shutil.move(folder.path / "tenants", folder.path / "away")
    after = folder.refresh()

    assert sorted(after) == ["acme", "beta"]
    assert folder.faults == ["tenants: no tenant"]
    shutil.move(folder.path / "away", folder.path / "tenants")
    assert sorted(folder.refresh()) == ["acme", "beta"]
    assert folder.faults == []


def test_keys_that_change_places_are_taken_together(folder):
    """Two files that were changed at once are looked at as one change."""
    folder.write("tenants/acme.yaml", text("acme", key="b"))
    folder.write("tenants/beta.yaml", text("beta", key="a"))
    after = folder.refresh()

    assert [owner(after, key) for key in "ab"] == ["beta", "acme"]


def test_a_key_that_is_somebody_s_already_stays_with_them(folder):
    """The file that takes it is at fault, and its tenant stays as it was."""
    folder.write("tenants/beta.yaml", text("beta", key="a"))
    after = folder.refresh()

    assert [owner(after, key) for key in "ab"] == ["acme", "beta"]
    assert folder.faults == ["beta.yaml: a key, SPIFFE id or token of it also stands in acme.yaml"]


def test_an_operator_does_not_get_a_tenant_s_key(folder):
    """Nor does the tenant lose it."""
    folder.write("operators.yaml", OPERATORS % ("a" * 64))
    after = folder.refresh()

    assert owner(after, "a") == "acme"
    assert folder.faults == [
        "operators.yaml: a key, SPIFFE id or token of it also stands in acme.yaml"
    ]


def test_operators_come_and_go(folder):
    """With the file, or a line of it."""
    folder.write("operators.yaml", OPERATORS % ("9" * 64))
    assert folder.refresh().key("9" * 64).principal.operator
    (folder.path / "operators.yaml").unlink()
    assert folder.refresh().key("9" * 64) is None


def test_the_platform_s_grants_reach_every_tenant_at_once(folder):
    """Each has another version of its policy."""
    before = {name: folder.loaded.directory.tenant(name).version for name in ("acme", "beta")}
    folder.write("grants.yaml", DENY)
    after = folder.refresh()

    for name, version in before.items():
        assert after.tenant(name).grants[-1].rule == "grants.yaml#grants[0]"
        assert after.tenant(name).version != version


@pytest.mark.parametrize("name", ["grants.yaml", "operators.yaml", "issuers.yaml"])
def test_a_bad_file_of_the_platform_leaves_all_of_them_as_they_were(folder, name):
    """Tenants' files are taken all the same."""
    folder.write("grants.yaml", DENY)
    folder.refresh()
    folder.write(name, "nonsense: [")
    folder.write("tenants/acme.yaml", text("acme", key="d"))
    after = folder.refresh()

    assert owner(after, "d") == "acme"
    assert after.tenant("acme").grants[-1].rule == "grants.yaml#grants[0]"
    assert [fault.split(":")[0] for fault in folder.faults] == [name]


def test_accounts_wait_for_a_start(folder):
    """They have calls in flight. The platform's other files do not wait with them."""
    folder.write("accounts.yaml", ACCOUNTS.replace("main", "other"))
    folder.write("operators.yaml", OPERATORS % ("9" * 64))
    after = folder.refresh()

    assert sorted(after.accounts) == ["main"]
    assert after.key("9" * 64).principal.operator
    assert folder.faults == [
        "accounts.yaml: changed; takes effect when the gateway is started anew"
    ]


def test_a_config_map_s_swap_is_one_change(tmp_path):
    """Its files are links into a folder whose own link is replaced by a rename."""
    for version, key in (("one", "a"), ("two", "d")):
        (tmp_path / version).mkdir()
        content = text("acme", key=key)
        (tmp_path / version / "acme.yaml").write_text(content, encoding="utf-8")
    (tmp_path / "config" / "tenants").mkdir(parents=True)
    (tmp_path / "config" / "accounts.yaml").write_text(ACCOUNTS, encoding="utf-8")
    data = tmp_path / "config" / "tenants" / "..data"
    data.symlink_to(tmp_path / "one")
    (tmp_path / "config" / "tenants" / "acme.yaml").symlink_to("..data/acme.yaml")
    loaded = load(tmp_path / "config")
    assert owner(loaded.directory, "a") == "acme"

    (tmp_path / "next").symlink_to(tmp_path / "two")
    (tmp_path / "next").rename(data)
    later = (tmp_path / "two" / "acme.yaml").stat().st_mtime_ns + SETTLING_NANOSECONDS
    after = loading.refresh(tmp_path / "config", loaded, later)
    assert [owner(after.directory, key) for key in "ad"] == [None, "acme"]


@pytest.mark.parametrize("seed", range(20))
def test_changes_come_to_what_a_start_would_read(tmp_path, seed):
    """In whatever order files come, change and go: good ones, bad ones, keys in two of them."""
    chance = random.Random(seed)  # noqa: S311 - the seed is the test's name
    folder = Folder(tmp_path)
    for _ in range(30):
        for _ in range(chance.randint(1, 3)):
            name = chance.choice(("acme", "beta", "corp"))
            path = folder.path / "tenants" / f"{name}.yaml"
            if chance.random() < 0.2:
                path.unlink(missing_ok=True)
            else:
                folder.write(f"tenants/{name}.yaml", text(name, key=chance.choice("abcdef")))
        folder.refresh()
    # Nothing is at fault in the end, so that what was kept for lack of better is gone.
    for name, key in (("acme", "a"), ("beta", "b"), ("corp", "c")):
        folder.write(f"tenants/{name}.yaml", text(name, key=chance.choice("012") + ""))
        folder.write(f"tenants/{name}.yaml", text(name, key=key))
    directory, fresh = folder.refresh(), load(tmp_path).directory

    assert folder.faults == []
    assert directory.index == fresh.index
    assert {name: directory.tenant(name) for name in directory} == {
        name: fresh.tenant(name) for name in fresh
    }


def test_platforms_files_may_have_a_folder_of_their_own(tmp_path):
    """As where each folder is a ConfigMap: they are found there, and changes of them are."""
    (tmp_path / "platform").mkdir()
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.yaml").write_text(text("acme"), encoding="utf-8")
    accounts, grants = (tmp_path / "platform" / name for name in ("accounts.yaml", "grants.yaml"))
    accounts.write_text(ACCOUNTS, encoding="utf-8")
    before = load(tmp_path)
    assert before.directory.tenant("acme").region == "cn-shanghai"
    grants.write_text(DENY, encoding="utf-8")
    os.utime(grants, ns=(SOMETIME, SOMETIME))
    after = loading.refresh(tmp_path, before, SOMETIME + SETTLING_NANOSECONDS)
    assert after.directory.platform.shared.grants


def test_no_file_of_the_platform_is_passed_over(tmp_path):
    """A deny beside the folder in which the platform's files are would hold for nobody."""
    folder = Folder(tmp_path)
    (tmp_path / "platform").mkdir()
    shutil.move(tmp_path / "accounts.yaml", tmp_path / "platform")
    folder.write("grants.yaml", DENY)
    with pytest.raises(ConfigurationError, match="stands beside platform/"):
        load(tmp_path)
