"""imsgw policy: what it prints, and the exit codes that CI goes by."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from ims_gateway.cli.commands import app

GRANT = {
    "subject": "role/editor",
    "actions": ["submit"],
    "read": ["oss://acme-media/*"],
    "write": ["oss://acme-media/out/*"],
}
JOB = {"cover": {"input": {"oss_uri": "oss://acme-media/in.mp4"}}}


def put(folder, name, content):
    """Write a file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    path.write_text(text, encoding="utf-8")
    return str(path)


def configuration(folder, *grants):
    """Write a configuration with one tenant."""
    tenant = {
        "name": "acme",
        "account": "main",
        "default_output": "oss://acme-media/out",
        "principals": [{"name": "farm", "roles": ["editor"]}],
        "grants": list(grants) or [GRANT],
    }
    put(folder, "accounts.yaml", {"accounts": [{"name": "main", "region": "cn-shanghai"}]})
    put(folder, "tenants/acme.yaml", tenant)
    return str(folder)


@pytest.fixture
def config(tmp_path):
    """Return a clean configuration."""
    return configuration(tmp_path / "config")


def imsgw(*arguments):
    """Run imsgw policy."""
    return CliRunner().invoke(app, ["policy", *arguments], env={"COLUMNS": "200"})


def test_lint_is_quiet_about_what_is_clean(config):
    """The folder also comes from the gateway's own setting."""
    assert imsgw("lint", "--config-dir", config).exit_code == 0
    done = CliRunner().invoke(app, ["policy", "lint"], env={"IMSGW_CONFIG_DIR": config})
    assert (done.exit_code, done.stdout) == (0, "0 findings\n")


def test_lint_fails_for_errors_and_if_strict_for_warnings(tmp_path):
    """Each finding says where, what and how to mend it."""
    warned = configuration(tmp_path / "warned", GRANT | {"actions": ["*"]})
    wrong = configuration(tmp_path / "wrong", GRANT | {"subject": "role/editr"})

    assert imsgw("lint", "--config-dir", warned).exit_code == 0
    assert imsgw("lint", "--config-dir", warned, "--strict").exit_code == 1
    done = imsgw("lint", "--config-dir", wrong)
    assert done.exit_code == 1
    assert "acme.yaml:4: error unreachable-subject" in done.stdout
    assert "acme.yaml#grants[0]: nobody is role/editr" in done.stdout
    assert "Correct the name" in done.stdout
    found, _ = json.loads(imsgw("lint", "--config-dir", wrong, "--output", "json").stdout)
    assert (found["code"], found["severity"]) == ("unreachable-subject", "error")
    assert (found["file"], found["line"], found["rule"]) == ("acme.yaml", 4, "acme.yaml#grants[0]")


def test_where_no_configuration_is_there_is_nothing_to_lint(tmp_path):
    """Which is not the same as clean."""
    assert imsgw("lint", "--config-dir", str(tmp_path)).exit_code == 78
    assert imsgw("lint", "--config-dir", str(tmp_path), "--wrong").exit_code == 2


def suite(folder, *, allowed, tenant="acme"):
    """Write a suite with one case."""
    case = {"name": "reads its own", "principal": "farm", "job": JOB}
    cases = [case | {"expect": {"allowed": allowed}}]
    return put(folder, "policy_tests/own.yaml", {"tenant": tenant, "cases": cases})


def test_suites_of_the_configuration_are_run(config, tmp_path):
    """One line a case."""
    suite(tmp_path / "config", allowed=True)
    done = imsgw("test", "--config-dir", config)

    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "ok   policy_tests/own.yaml reads its own",
        "1 cases, 0 with another answer",
    ]


def test_a_suite_with_another_answer_fails(config, tmp_path):
    """Named by its path, it may stand anywhere."""
    path = suite(tmp_path, allowed=False)
    done = imsgw("test", path, "--config-dir", config)

    assert done.exit_code == 1
    assert f"FAIL {path}:2 reads its own: expected denied, is allowed" in done.stdout
    found = json.loads(imsgw("test", path, "--config-dir", config, "--output", "json").stdout)
    assert [case["passed"] for case in found["cases"]] == [False]


@pytest.mark.parametrize("trouble", ["no tenant", "no suite", "no configuration", "a bad tenant"])
def test_what_cannot_be_tested_is_no_success(config, tmp_path, trouble):
    """Nor is it the failure of a policy."""
    path = suite(tmp_path, allowed=True, tenant="acme" if trouble != "no tenant" else "globex")
    if trouble == "no suite":
        path = put(tmp_path, "policy_tests/own.yaml", "tenant: acme\n")
    if trouble == "no configuration":
        config = str(tmp_path / "nowhere")
    if trouble == "a bad tenant":
        put(tmp_path, "config/tenants/globex.yaml", "x: 1\n")
    done = imsgw("test", path, "--config-dir", config)

    assert done.exit_code == 2
    assert done.stderr


def record(**members):
    """Return a line of the decision log."""
    policy = {
        "subject": "principal/farm",
        "action": "submit",
        "algorithm": "cover",
        "priority": None,
        "model": "",
        "pipeline": "",
        "template": "",
        "objects": [{"access": "read", "object": "oss://acme-media/in.mp4"}],
    }
    return json.dumps({"tenant": "acme", "decision_id": "d-1", "policy": policy | members}) + "\n"


def test_diff_shows_what_a_change_would_deny(config, tmp_path):
    """By the calls on record."""
    after = configuration(tmp_path / "after", GRANT | {"read": ["oss://acme-media/new/*"]})
    log = put(tmp_path, "decisions.jsonl", record() + record())
    done = imsgw("diff", "--before", config, "--after", after, "--decisions", log)

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "newly denied: principal/farm in acme, submit cover",
        "    before     allowed by acme.yaml#grants[0]",
        "    after      denied (READ)",
        "    calls      2, such as d-1, d-1",
        "    refused    read oss://acme-media/in.mp4",
        "2 calls asked anew, 2 with another answer; 0 records without a question, 0 unreadable",
    ]
    line = ("diff", "--before", config, "--after", after, "--decisions", log, "--output", "json")
    (change,) = json.loads(imsgw(*line).stdout)["changes"]
    assert (change["after"]["dimension"], change["calls"]) == ("READ", 2)
    same = imsgw("diff", "--before", config, "--after", config, "--decisions", log)
    assert same.exit_code == 0


@pytest.mark.parametrize("content", [None, "no json\n"])
def test_diff_without_records_is_trouble(config, tmp_path, content):
    """Not the answer that nothing would change."""
    log = put(tmp_path, "d.jsonl", content) if content else str(tmp_path / "nowhere")
    done = imsgw("diff", "--before", config, "--after", config, "--decisions", log)

    assert done.exit_code == 2
    assert log in done.stderr


def test_explain_answers_from_files(config, tmp_path):
    """As imsctl explain does from a gateway."""
    line = ("--tenant", "acme", "--config-dir", config)
    job = put(tmp_path, "job.yaml", JOB)
    allowed = imsgw("explain", job, "--principal", "farm", *line)
    denied = imsgw("explain", job, "--principal", "nobody", *line, "--output", "json")

    assert (allowed.exit_code, denied.exit_code) == (0, 1)
    assert "by rule acme.yaml#grants[0]" in allowed.stdout
    answer = json.loads(denied.stdout)
    assert answer["failedDimension"] == "DIMENSION_SUBJECT"
    assert answer["objects"][0]["nearestGrants"] == [
        {"rule": "acme.yaml#grants[0]", "failedDimensions": ["DIMENSION_SUBJECT"]}
    ]


def test_explain_says_what_cannot_be_asked(config, tmp_path):
    """A job that would be refused at once, a tenant that is not there, no configuration."""
    bad = put(tmp_path, "bad.yaml", "cover: {}")
    good = put(tmp_path, "job.yaml", JOB)
    line = ("--principal", "farm")

    wrong = imsgw("explain", bad, "--tenant", "acme", "--config-dir", config, *line)
    assert (wrong.exit_code, "job.cover.input: " in wrong.stderr) == (2, True)
    nobody = imsgw("explain", good, "--tenant", "nobody", "--config-dir", config, *line)
    assert nobody.exit_code == 2
    nowhere = imsgw("explain", good, "--tenant", "acme", "--config-dir", str(tmp_path), *line)
    assert nowhere.exit_code == 78
