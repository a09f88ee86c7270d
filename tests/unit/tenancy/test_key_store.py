"""Keys change in their files, and nothing else does."""

import json
from datetime import UTC, datetime

import pytest
import yaml
from typer.testing import CliRunner

from ims_gateway.cli.commands import app
from ims_gateway.identity.keys import key_hash
from ims_gateway.tenancy.files import TenantFile
from ims_gateway.tenancy.key_edits import CannotEdit, add_key, remove_key, set_member
from ims_gateway.tenancy.reading import parse

PEPPER = "a pepper that is long enough for it"
A, B, C = "a" * 64, "b" * 64, "c" * 64
HEAD = "# who\nname: acme # us\naccount: main\n\n"
TAIL = "\n# what\ngrants:\n- {subject: role/editor, actions: ['*'], read: ['*']}\n"
STYLES = {
    "indented": """principals:
  # the farm
  - name: farm   # renders
    keys:
      # the first
      - id: k1111111  # old
        hash: AAA
      - hash: BBB
        id: k2222222
        # ends soon
        expires: 2027-01-01T00:00:00Z  # new year

  - name: desk
    keys:
      - {id: k3333333, hash: CCC}
""",
    "not indented": """principals:
- name: farm
  keys:
  - id: k1111111
    hash: "AAA"
  - id: 'k2222222'
    hash: BBB
    expires: "2027-01-01T00:00:00Z"
- keys:
  - id: k3333333
    hash: CCC
  name: desk
""",
    "in braces": """principals:
- {name: farm, keys: [{id: k1111111, hash: AAA},
    {id: k2222222, hash: BBB, expires: "2027-01-01T00:00:00Z"}]}
- name: desk
  keys: [
    {id: k3333333, hash: CCC},  # the only one
  ]
""",
}


def text_of(style):
    """Return a tenant's file."""
    body = STYLES[style].replace("AAA", A).replace("BBB", B).replace("CCC", C)
    return HEAD + body + TAIL


def keys_of(text):
    """Return the keys of each principal."""
    file = parse(text, "acme.yaml", TenantFile)
    return {
        principal.name: [(key.id, key.disabled, key.expires) for key in principal.keys]
        for principal in file.principals
    }


END = datetime(2027, 1, 1, tzinfo=UTC)
BEFORE = {
    "farm": [("k1111111", False, None), ("k2222222", False, END)],
    "desk": [("k3333333", False, None)],
}
every_style = pytest.mark.parametrize("style", STYLES)


@every_style
def test_a_key_is_added_behind_the_others(style):
    """With every other line as it was."""
    text = text_of(style)
    assert keys_of(text) == BEFORE

    after = add_key(text, "k1111111", "k9999999", "d" * 64)

    assert keys_of(after)["farm"] == [*BEFORE["farm"], ("k9999999", False, None)]
    assert keys_of(after)["desk"] == BEFORE["desk"]
    if style != "in braces":
        assert set(text.splitlines()) < set(after.splitlines())
    assert after.count("#") == text.count("#")


@every_style
@pytest.mark.parametrize("key_id", ["k1111111", "k2222222", "k3333333"])
def test_a_key_is_taken_out(style, key_id):
    """Also the only one of its principal."""
    after = remove_key(text_of(style), key_id)

    expected = {name: [key for key in keys if key[0] != key_id] for name, keys in BEFORE.items()}
    assert keys_of(after) == expected


@every_style
@pytest.mark.parametrize("key_id", ["k1111111", "k2222222", "k3333333"])
def test_a_member_of_a_key_is_set(style, key_id):
    """One that was there is replaced, with its comment left behind it."""
    text = text_of(style)

    after = set_member(text, key_id, "expires", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z")
    after = set_member(after, key_id, "disabled", value=True, written="true")

    new = (key_id, True, datetime(2026, 12, 1, tzinfo=UTC))
    assert keys_of(after) == {
        name: [new if key[0] == key_id else key for key in keys] for name, keys in BEFORE.items()
    }
    assert after.count("#") == text.count("#")


def test_what_cannot_be_edited_safely_is_left_to_people():
    """Such as keys that two principals share by an alias, which would both change."""
    text = text_of("not indented").replace("keys:\n  - id: k3333333\n    hash: " + C, "keys: *all")
    text = text.replace("  keys:\n  - id: k1111111", "  keys: &all\n  - id: k1111111")
    yaml.safe_load(text)

    for edit in (
        lambda: remove_key(text, "k1111111"),
        lambda: add_key(text, "k1111111", "k9999999", "d" * 64),
        lambda: set_member(text, "k1111111", "disabled", value=True, written="true"),
        lambda: remove_key(text, "k0000000"),
    ):
        with pytest.raises(CannotEdit):
            edit()


@pytest.fixture
def imsgw(tmp_path):
    """Return what runs imsgw keys on a folder of two tenants and an operator."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.yaml").write_text(text_of("indented"), "utf-8")
    operators = {"operators": [{"name": "alice", "keys": [{"id": "k4444444", "hash": "d" * 64}]}]}
    (tmp_path / "operators.yaml").write_text(yaml.safe_dump(operators), "utf-8")
    environment = {"IMSGW_CONFIG_DIR": str(tmp_path), "IMSGW_KEY_PEPPER": PEPPER}

    def run(line):
        return CliRunner().invoke(app, ["keys", *line.split()], env=environment)

    return run


def listed(imsgw):
    """Return the states of keys, by id."""
    found = json.loads(imsgw("list --output json").stdout)
    return {key["id"]: key["state"] for key in found}


def test_keys_are_listed_without_their_hashes(imsgw):
    """As a table or as JSON."""
    table = imsgw("list").stdout
    assert table.splitlines()[0].split() == ["TENANT", "PRINCIPAL", "ID", "EXPIRES", "STATE"]
    assert "acme    farm       k2222222  2027-01-01T00:00:00Z  active" in table
    assert "-       alice      k4444444  -" in table
    assert A not in imsgw("list --output json").stdout
    assert imsgw("list --tenant nobody").stdout.count("\n") == 1


def test_a_rotated_key_goes_on_until_the_overlap_ends(imsgw, tmp_path):
    """And what is in the file of the new one is its keyed hash only."""
    result = imsgw("rotate k1111111 --overlap-hours 0 --output json")
    made = json.loads(result.stdout)

    assert listed(imsgw) | {"k2222222": "active"} == {
        "k1111111": "expired",
        made["id"]: "active",
        "k2222222": "active",
        "k3333333": "active",
        "k4444444": "active",
    }
    text = (tmp_path / "tenants" / "acme.yaml").read_text("utf-8")
    assert made["key"] not in text
    assert key_hash(made["key"], PEPPER.encode()) in text
    assert [file.name for file in (tmp_path / "tenants").iterdir()] == ["acme.yaml"]


def test_a_rotation_never_lets_an_old_key_live_longer(imsgw):
    """Its own end comes first."""
    overlap = json.loads(imsgw("rotate k2222222 --overlap-hours 8760 --output json").stdout)
    assert overlap["overlap_ends"] == "2027-01-01T00:00:00Z"


def test_keys_are_disabled_and_revoked(imsgw, tmp_path):
    """The file keeps its permissions."""
    file = tmp_path / "tenants" / "acme.yaml"
    file.chmod(0o640)
    assert imsgw("disable k1111111").exit_code == 0
    assert imsgw("revoke k2222222").exit_code == 0
    states = listed(imsgw)
    assert states["k1111111"] == "disabled"
    assert "k2222222" not in states
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_change_that_makes_a_file_bad_is_not_made(imsgw, tmp_path):
    """An operator that nothing recognizes is none."""
    before = (tmp_path / "operators.yaml").read_bytes()
    result = imsgw("revoke k4444444")
    assert result.exit_code == 78
    assert "operators.yaml" in result.stderr
    assert (tmp_path / "operators.yaml").read_bytes() == before


def test_unknown_keys_are_refused(imsgw):
    """With the exit code of wrong usage."""
    for command in ("rotate", "disable", "revoke"):
        assert imsgw(f"{command} k0000000").exit_code == 2
