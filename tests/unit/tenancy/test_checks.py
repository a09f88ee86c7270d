"""A change with which a policy's tests fail is not taken."""

import os

import pytest
import yaml

from ims_gateway.policy.suites import Examiner
from ims_gateway.tenancy.loading import load, refresh
from ims_gateway.tenancy.reading import ConfigurationError

EXAMINER = Examiner()
OPEN = {"subject": "principal/farm", "actions": ["get"], "effect": "allow"}
DENY = {"subject": "principal/farm", "actions": ["get"], "effect": "deny"}


class Folder:
    """A configuration folder, and what is loaded of it."""

    def __init__(self, path):
        self.path = path
        self.clock = 1_000_000_000
        for name in ("tenants", "policy_tests"):
            (path / name).mkdir()
        self.put("accounts.yaml", {"accounts": [{"name": "main", "region": "cn-shanghai"}]})
        for name in ("acme", "globex"):
            self.tenant(name, OPEN)

    def put(self, name, content):
        """Write a file, at a moment of its own that is long ago."""
        path = self.path / name
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        self.clock += 1_000_000_000
        os.utime(path, ns=(self.clock, self.clock))

    def tenant(self, name, *grants):
        """Write a tenant's file."""
        principals = [{"name": "farm"}]
        self.put(
            f"tenants/{name}.yaml",
            {"name": name, "account": "main", "principals": principals, "grants": list(grants)},
        )

    def suite(self, *, allowed=True, tenant="acme"):
        """Write a suite."""
        case = {"name": "get", "principal": "farm", "action": "get", "algorithm": "cover"}
        cases = [case | {"expect": {"allowed": allowed}}]
        self.put(f"policy_tests/{tenant}.yaml", {"tenant": tenant, "cases": cases})

    def load(self):
        """Load for the first time."""
        return load(self.path, EXAMINER.read)

    def refresh(self, before):
        """Read what has changed."""
        return refresh(self.path, before, self.clock * 1_000, EXAMINER.read)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two tenants and a suite that the first passes."""
    made = Folder(tmp_path)
    made.suite()
    return made


def effects(loaded, name="acme"):
    """Return the effects of a tenant's grants in force."""
    return [grant.effect for grant in loaded.directory.tenant(name).grants]


def told(loaded):
    """Return the faults by file."""
    return {name: [str(fault) for fault in found] for name, found in loaded.faults.items()}


FAILS = 'fails policy_tests/acme.yaml:2: "get": expected allowed, is denied (DENY, '


def test_a_tenant_s_change_that_fails_its_suite_is_not_taken(folder):
    """The tenant stays as it was, others change, and the fault names suite, line and case."""
    before = folder.load()
    folder.tenant("acme", OPEN, DENY)
    folder.tenant("globex", OPEN, DENY)
    after = folder.refresh(before)

    assert (effects(after), effects(after, "globex")) == (["allow"], ["allow", "deny"])
    assert told(after) == {"tenants/acme.yaml": [f"acme.yaml: {FAILS}acme.yaml#grants[1])"]}
    folder.tenant("acme", OPEN, OPEN)
    mended = folder.refresh(after)
    assert (effects(mended), told(mended)) == (["allow", "allow"], {})


def test_a_platform_s_change_that_fails_a_tenant_s_suite_is_not_taken(folder):
    """For no tenant: its grants hold for all of them."""
    before = folder.load()
    folder.put("grants.yaml", {"grants": [DENY]})
    after = folder.refresh(before)

    assert effects(after) == effects(after, "globex") == ["allow"]
    assert told(after) == {"grants.yaml": [f"grants.yaml: {FAILS}grants.yaml#grants[0])"]}
    folder.put("grants.yaml", {"grants": [OPEN]})
    mended = folder.refresh(after)
    assert (effects(mended), told(mended)) == (["allow", "allow"], {})


def test_a_platform_s_change_is_taken_with_the_tenant_s_that_it_needs(folder):
    """Both at once, as a ConfigMap brings them; and a tenant's alone mends the platform's later."""
    folder.suite(allowed=False)
    folder.tenant("acme", DENY)
    before = folder.load()
    folder.put("grants.yaml", {"grants": [OPEN]})
    folder.tenant("acme", OPEN, DENY)
    both = folder.refresh(before)
    assert (effects(both), told(both)) == (["allow", "deny", "allow"], {})

    folder.put(
        "policy_tests/globex.yaml",
        yaml.safe_load((folder.path / "policy_tests/acme.yaml").read_text(encoding="utf-8"))
        | {"tenant": "globex"},
    )
    folder.tenant("globex", DENY)
    later = folder.refresh(both)
    assert (effects(later, "globex"), told(later)) == (["deny", "allow"], {})


def test_a_refused_change_of_the_platform_is_tried_again_when_a_tenant_changes(folder):
    """What was in its way may be gone."""
    before = folder.load()
    folder.put("grants.yaml", {"grants": [DENY]})
    refused = folder.refresh(before)
    folder.suite(allowed=False)
    after = folder.refresh(refused)

    assert effects(after) == ["allow", "deny"]
    assert told(after) == {}


def test_a_suite_that_what_is_in_force_does_not_pass_changes_nothing(folder):
    """It is reported, until suite or tenant are mended."""
    before = folder.load()
    folder.suite(allowed=False)
    after = folder.refresh(before)
    assert effects(after) == ["allow"]
    assert [*told(after)] == ["policy_tests/acme.yaml"]

    folder.tenant("globex", OPEN, OPEN)
    still = folder.refresh(after)
    assert [*told(still)] == ["policy_tests/acme.yaml"]

    folder.tenant("acme", OPEN, DENY)
    mended = folder.refresh(still)
    assert (effects(mended), told(mended)) == (["allow", "deny"], {})


def test_a_mended_suite_lets_the_refused_change_in(folder):
    """Without anybody writing the tenant's file again."""
    before = folder.load()
    folder.tenant("acme", OPEN, DENY)
    refused = folder.refresh(before)
    folder.suite(allowed=False)
    after = folder.refresh(refused)

    assert (effects(after), told(after)) == (["allow", "deny"], {})


def test_a_suite_that_is_gone_asks_nothing(folder):
    """Neither do its faults stay."""
    folder.suite(allowed=False)
    with pytest.raises(KeyError):
        folder.load().directory.filed["acme"]
    before = folder.load()
    (folder.path / "policy_tests" / "acme.yaml").unlink()
    after = folder.refresh(before)

    assert (effects(after), told(after)) == (["allow"], {})


def test_a_start_leaves_out_the_tenant_whose_suite_fails(folder):
    """As for any other fault of its file."""
    folder.tenant("acme", OPEN, DENY)
    loaded = folder.load()

    assert [*loaded.directory] == ["globex"]
    assert [*told(loaded)] == ["tenants/acme.yaml"]


def test_a_suite_that_cannot_be_read_is_reported_and_stops_nothing(folder):
    """`imsgw policy test` fails for it."""
    folder.put("policy_tests/bad.yaml", {"tenant": "acme"})
    loaded = folder.load()
    folder.tenant("acme", OPEN, OPEN)
    after = folder.refresh(loaded)

    assert [*told(loaded)] == [*told(after)] == ["policy_tests/bad.yaml"]
    assert effects(after) == ["allow", "allow"]


def test_suites_do_not_hide_a_bad_platform(folder):
    """Without accounts no tenant can be opened, and nothing is asked."""
    (folder.path / "accounts.yaml").unlink()

    with pytest.raises(ConfigurationError, match=r"accounts\.yaml"):
        folder.load()


def test_a_platform_file_that_is_gone_stays_reported(folder):
    """Whatever else changes."""
    before = folder.load()
    (folder.path / "accounts.yaml").unlink()
    gone = folder.refresh(before)
    folder.tenant("globex", OPEN, OPEN)
    after = folder.refresh(gone)

    assert [*told(gone)] == [*told(after)] == ["accounts.yaml"]


def operator(name):
    """Return operators.yaml with one operator."""
    return {"operators": [{"name": name, "spiffe_ids": [f"spiffe://x/{name}"]}]}


def test_operators_change_although_the_platform_s_grants_are_refused(folder):
    """One who is let go is let go."""
    before = folder.load()
    folder.put("grants.yaml", {"grants": [DENY]})
    refused = folder.refresh(before)
    folder.put("operators.yaml", operator("alice"))
    after = folder.refresh(refused)

    assert [*told(after)] == ["grants.yaml"]
    assert effects(after) == ["allow"]
    assert after.directory.spiffe_id("spiffe://x/alice").operator


def test_a_suite_that_is_not_passed_holds_up_no_change_but_its_tenant_s_and_of_the_grants(folder):
    """Operators have nothing to do with it."""
    before = folder.load()
    folder.suite(allowed=False)
    failing = folder.refresh(before)
    folder.put("operators.yaml", operator("alice"))
    after = folder.refresh(failing)

    assert [*told(after)] == ["policy_tests/acme.yaml"]
    assert after.directory.spiffe_id("spiffe://x/alice").operator
