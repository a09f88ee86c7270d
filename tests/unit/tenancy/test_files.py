"""Faults of a configuration file are all found, each with its line and field, and no secret."""

from datetime import UTC, datetime

import pytest

from ims_gateway.tenancy.files import AccountsFile, TenantFile
from ims_gateway.tenancy.grant_file import GrantsFile
from ims_gateway.tenancy.limits_file import PricesFile
from ims_gateway.tenancy.reading import ConfigurationError, read

HASH = "5ec4e7" + "0" * 58
TENANT = f"""\
name: acme
account: main
time_zone: Europe/Berlin
default_output: oss://acme-out/ims
principals:
  - name: farm
    roles: [editor]
    keys:
      - id: k1a2b3c4
        hash: {HASH}
        expires: 2027-01-01T00:00:00Z
grants:
  - subject: role/editor
    actions: [submit, get]
    read: ["oss://acme-in/*"]
    write: ["oss://acme-out/*"]
    ceilings:
      priority: [1, 5]
limits:
  - {{id: burst, kind: rate, per_second: 10, burst: 20}}
  - {{id: daily, kind: day, max: 1000}}
"""
ACCOUNTS = """\
accounts:
  - name: main
    region: cn-shanghai
"""


def faults(tmp_path, text, model=TenantFile, name="acme.yaml"):
    """Return the faults of a file."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as raised:
        read(path, model)
    return str(raised.value).splitlines()


def accepted(tmp_path, text, model=TenantFile):
    """Return what a file says."""
    path = tmp_path / "acme.yaml"
    path.write_text(text, encoding="utf-8")
    return read(path, model)


def changed(old, new):
    """Return the tenant's file with one change."""
    assert TENANT.count(old) == 1
    return TENANT.replace(old, new)


def test_a_good_file_is_read(tmp_path):
    """Times have zones, what is absent has its default."""
    file = accepted(tmp_path, TENANT)

    assert (file.name, file.account, file.time_zone) == ("acme", "main", "Europe/Berlin")
    assert file.principals[0].keys[0].expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert file.grants[0].algorithms == ("*",)
    assert file.grants[0].effect == "allow"
    assert [limit.kind for limit in file.limits] == ["rate", "day"]


def test_the_smallest_files_are_read(tmp_path):
    """Most members may be left out."""
    small = (
        "name: a\naccount: b\nprincipals: [{name: c}]\n"
        "grants: [{subject: principal/c, actions: [get]}]"
    )

    assert accepted(tmp_path, small).limits == ()
    assert accepted(tmp_path, ACCOUNTS, AccountsFile).accounts[0].max_in_flight == 64
    assert accepted(tmp_path, "grants: []", GrantsFile).grants == ()


# What is changed, into what, and where the fault is said to be.
FAULTS = {
    "unknown member": ("account: main", "account: main\nacount: x", "3: acount:"),
    "unknown member within": ("    roles:", "    role: x\n    roles:", "7: principals[0].role:"),
    "missing member": ("account: main\n", "", "1: account:"),
    "missing member within": ("        hash: " + HASH + "\n", "", "9: principals[0].keys[0].hash:"),
    "bad name": ("name: acme", "name: Acme_1", "1: name:"),
    "name of a number": ("name: acme", "name: 7", "1: name:"),
    "no such time zone": ("Europe/Berlin", "Europe/Bern", "3: time_zone:"),
    "path for a time zone": ("Europe/Berlin", "../etc/passwd", "3: time_zone:"),
    "output is no folder": ("oss://acme-out/ims", "oss://acme-out/", "4: default_output:"),
    "output with placeholder": ("acme-out/ims", "acme-out/{source}", "4: default_output:"),
    "key id": ("k1a2b3c4", "K1", "9: principals[0].keys[0].id:"),
    "key id of digits": ("k1a2b3c4", "12345678", "9: principals[0].keys[0].id:"),
    "time without zone": ("00:00:00Z", "00:00:00", "9: principals[0].keys[0]:"),
    "date without time": ("T00:00:00Z", "", "9: principals[0].keys[0]:"),
    "no date at all": ("2027-01-01T00:00:00Z", "soon", "11: principals[0].keys[0].expires:"),
    "subject": ("role/editor", "editor", "13: grants[0].subject:"),
    "action": ("[submit, get]", "[submit, got]", "14: grants[0].actions[1]:"),
    "no action": ("[submit, get]", "[]", "14: grants[0].actions:"),
    "empty pattern": ('["oss://acme-in/*"]', '[""]', "15: grants[0].read[0]:"),
    "line end in a pattern": ('["oss://acme-in/*"]', '["a\\nb"]', "15: grants[0].read[0]:"),
    "no list of patterns": ('["oss://acme-in/*"]', "'*'", "15: grants[0].read:"),
    "effect": ('    read: ["oss', '    effect: Deny\n    read: ["oss', "15: grants[0].effect:"),
    "priority out of order": ("[1, 5]", "[5, 1]", "17: grants[0].ceilings:"),
    "priority out of range": ("[1, 5]", "[1, 11]", "18: grants[0].ceilings.priority[1]:"),
    "half a range": ("[1, 5]", "[1]", "18: grants[0].ceilings.priority[1]:"),
    "more than a range": ("[1, 5]", "[1, 2, 3]", "18: grants[0].ceilings.priority:"),
    "ceilings for nobody": ("priority: [1, 5]", "models: []", "18: grants[0].ceilings.models:"),
    "kind of limit": ("kind: day", "kind: year", "21: limits[1]:"),
    "no kind": ("kind: day, ", "", "21: limits[1]:"),
    "member of another kind": ("kind: day, max", "kind: rate, max", "21: limits[1].max:"),
    "no rate": ("per_second: 10", "per_second: 0", "20: limits[0].per_second:"),
    "rate is no number": ("per_second: 10", "per_second: .nan", "20: limits[0].per_second:"),
    "burst that never refills": ("per_second: 10", "per_second: 1.0e-9", "20: limits[0]:"),
    "burst": ("burst: 20", "burst: 0", "20: limits[0].burst:"),
    "less than nothing": ("max: 1000", "max: -1", "21: limits[1].max:"),
    "limit twice": ("id: daily", "id: burst", "1: file:"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_reported_with_its_line_and_field(tmp_path, kind):
    """As file:line: field: what is wrong."""
    old, new, where = FAULTS[kind]
    found = faults(tmp_path, changed(old, new))

    assert [fault for fault in found if fault.startswith(f"acme.yaml:{where} ")], found


def test_all_faults_of_a_file_are_reported_at_once(tmp_path):
    """An operator mends them in one go."""
    text = TENANT.replace("k1a2b3c4", "K1").replace("[submit, get]", "[]").replace("20}", "0}")

    assert [fault.split(": ")[0] for fault in faults(tmp_path, text)] == [
        "acme.yaml:9",
        "acme.yaml:14",
        "acme.yaml:20",
    ]


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HASH, SECRET),
        ("k1a2b3c4", SECRET),
        ("2027-01-01T00:00:00Z", SECRET),
        ("name: farm", f"name: {SECRET.upper()}"),
        ("roles: [editor]", f"roles: {SECRET}"),
        ("    keys:", f"    secret: {SECRET}\n    keys:"),
        ("[1, 5]", f"[{SECRET}, 5]"),
        ("  - name: farm", f"  - name: '{SECRET}"),
        ("  - name: farm", f"  - name: {SECRET}: farm"),
        ("  - name: farm", f"  - name: [{SECRET}"),
    ],
)
def test_no_fault_shows_a_value(tmp_path, old, new):
    """Somebody may have pasted a key where its hash belongs."""
    found = "\n".join(faults(tmp_path, changed(old, new)))

    assert found
    assert SECRET.lower() not in found.lower()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (changed("limits:", "grants: []\nlimits:"), "19: grants stands twice"),
        (
            changed("    roles: [editor]", "    roles: [editor]\n    roles: []"),
            "8: roles stands twice",
        ),
        (changed("burst: 20}", "burst: 20, burst: 1}"), "20: burst stands twice"),
    ],
)
def test_a_member_that_stands_twice_is_a_fault(tmp_path, text, where):
    """YAML would drop the first without a word: of two lists of grants, one."""
    assert faults(tmp_path, text) == [f"acme.yaml:{where}"]


def test_a_key_id_stands_once_in_a_tenant(tmp_path):
    """A key that is taken back by its id is the one that was meant."""
    second = f"  - name: desk\n    keys: [{{id: k1a2b3c4, hash: {'a' * 64}}}]\ngrants:\n"

    assert "key defined twice: k1a2b3c4" in faults(tmp_path, changed("grants:\n", second))[0]


def test_a_principal_stands_once_in_a_tenant(tmp_path):
    """Grants name it."""
    second = "  - name: farm\ngrants:\n"

    assert "principal defined twice: farm" in faults(tmp_path, changed("grants:\n", second))[0]


@pytest.mark.parametrize("actions", ["[submit]", "['*']", "[get, submit]"])
def test_a_deny_of_submits_that_would_deny_nothing_is_a_fault(tmp_path, actions):
    """Every job has objects, so a deny without patterns for them fits none."""
    deny = f"  - {{subject: role/editor, actions: {actions}, effect: deny}}\nlimits:\n"

    (found,) = faults(tmp_path, changed("limits:\n", deny))
    assert found.startswith("acme.yaml:19: grants[1]: ")


def test_a_deny_of_calls_without_objects_needs_no_patterns(tmp_path):
    """Neither does one that names what it denies to read or to write."""
    denies = """\
  - {subject: role/editor, actions: [get, list], effect: deny}
  - {subject: role/editor, actions: [submit], read: ["*"], effect: deny}
limits:
"""

    assert len(accepted(tmp_path, changed("limits:\n", denies)).grants) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- name: acme",
        "acme",
        "name: [",
        "name: a: b",
        "\tname: acme",
        "{[a]: b}",
        "name: *nobody",
        "name: !secret x",
        "name: !!int x",
        "name: !!timestamp x",
        "name: !!binary x",
        "name: &a [*a]",
        "1: x",
        "a: 1\n---\nb: 2",
        changed("2027-01-01T00:00:00Z", "2027-13-45"),
        changed("2027-01-01T00:00:00Z", "9" * 5000),
        "name: \x01",
        b"name: \xff",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_a_file_that_is_no_tenant_is_a_fault_and_no_crash(tmp_path, text):
    """Whatever stands in it."""
    found = faults(tmp_path, text)

    assert found
    assert all(fault.startswith("acme.yaml:") for fault in found)


def test_a_date_that_does_not_exist_has_a_line(tmp_path):
    """There is no thirteenth month."""
    (found,) = faults(tmp_path, changed("2027-01-01T00:00:00Z", "2027-13-45"))

    assert found.startswith("acme.yaml:11: principals[0].keys[0].expires: ")


def test_a_file_that_is_not_there_is_a_fault(tmp_path):
    """It is named, and its folder is not."""
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path / "acme.yaml", TenantFile)

    assert str(raised.value) == "acme.yaml: FileNotFoundError"


def test_a_rate_refills_within_a_year(tmp_path):
    """What is accepted fits into the ledger and into a timestamp."""
    slow = changed("per_second: 10", "per_second: 0.000001").replace("burst: 20", "burst: 31")

    assert accepted(tmp_path, slow).limits[0].burst == 31
    assert faults(tmp_path, slow.replace("burst: 31", "burst: 32"))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("name: main", "name: main\n    name: x", "3: name"),
        ("region: cn-shanghai", "region: CN", "3: accounts[0].region:"),
        ("region: cn-shanghai", "region: cn-shanghai\n    scheme: ftp", "4: accounts[0].scheme:"),
        (
            "region: cn-shanghai",
            "region: cn-shanghai\n    credentials: {source: file}",
            "4: accounts[0].credentials.path:",
        ),
        (
            "region: cn-shanghai",
            "region: cn-shanghai\n    credentials: {path: /x}",
            "4: accounts[0].credentials:",
        ),
        (
            "region: cn-shanghai",
            "region: cn-shanghai\n    max_in_flight: 0",
            "4: accounts[0].max_in_flight:",
        ),
        (
            "region: cn-shanghai",
            "region: cn-shanghai\n  - {name: main, region: cn-beijing}",
            "1: file: Value error, account defined twice: main",
        ),
        (ACCOUNTS, "accounts: []", "1: accounts:"),
    ],
)
def test_faults_of_accounts_are_reported_too(tmp_path, old, new, where):
    """With line and field."""
    (found,) = faults(tmp_path, ACCOUNTS.replace(old, new), AccountsFile, "accounts.yaml")

    assert found.startswith(f"accounts.yaml:{where}")


LIMIT_FAULTS = {
    "misspelled algorithm": ("max: 1000", "max: 1000, algorithms: [covr]", "limits[1].algorithms"),
    "unknown principal": ("max: 1000", "max: 1000, principals: [fram]", "names no principal: fram"),
    "unknown dimension": ("max: 1000", "max: 1000, per: [tenant]", "limits[1].per[0]"),
    "budget without a window": ("kind: day, max: 1000", "kind: budget, max_micros: 1", "window"),
}


@pytest.mark.parametrize("kind", LIMIT_FAULTS)
def test_a_limit_that_would_limit_nobody_is_a_fault(tmp_path, kind):
    """Nobody would notice it otherwise."""
    old, new, problem = LIMIT_FAULTS[kind]

    assert problem in str(faults(tmp_path, TENANT.replace(old, new))[0])


PRICE_FAULTS = {
    "nothing for most": ("[{algorithm: cover, micros: 1}]", "no price for audio_beat_detection"),
    "two for one": ("[{algorithm: '*'}, {algorithm: '*'}]", "two prices for"),
    "a model of any": ("[{algorithm: '*', model: new}]", "a model needs its algorithm"),
    "a fraction": ("[{algorithm: '*', micros: 0.5}]", "prices[0].micros"),
}


@pytest.mark.parametrize("kind", PRICE_FAULTS)
def test_a_price_list_prices_everything_once(tmp_path, kind):
    """In whole micro-units: what has no price would pass every budget."""
    prices, problem = PRICE_FAULTS[kind]
    found = faults(tmp_path, f"currency: CNY\nprices: {prices}\n", PricesFile, "prices.yaml")

    assert any(problem in str(fault) for fault in found)
