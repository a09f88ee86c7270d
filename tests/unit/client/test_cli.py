import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from typer.testing import CliRunner

from ims_gateway_client.cli.app import app, hoist
from ims_gateway_client.cli.contract import ALGORITHMS, settable_fields, words_of
from ims_gateway_client.cli.exits import MEANINGS
from ims_gateway_client.cli.flags import algorithm_flags, job_flags
from imsgateway.v1.access_service_pb2 import (
    ExplainAccessResponse,
    ListAlgorithmsResponse,
    WhoAmIResponse,
)
from imsgateway.v1.decision_pb2 import Decision, QuotaEffect, UpstreamRequest
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import (
    CancelJobResponse,
    GetJobResponse,
    GetJobTraceResponse,
    ListJobsResponse,
    SubmitJobResponse,
    WatchJobResponse,
)
from imsgateway.v1.job_trace_pb2 import JobTrace
from imsgateway.v1.quota_service_pb2 import GetUsageResponse, ListUsageHistoryResponse

NAME = "tenants/acme/jobs/0198-a"
KEY = "imsk_test_secret"
README = Path(__file__).parents[3] / "clients/python/README.md"


@pytest.fixture
def imsctl(gateway, monkeypatch):
    """Return a function that runs imsctl in this process against the gateway."""
    monkeypatch.setenv("IMSCTL_TARGET", gateway.target)
    monkeypatch.setenv("IMSCTL_API_KEY", KEY)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str, stdin: str = "") -> Any:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def command(gateway):
    """Return a function that runs imsctl as a program."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "ims_gateway_client.cli", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=_environment(gateway, environment),
        )

    return run


def _environment(gateway: Any, more: dict[str, str]) -> dict[str, str]:
    base = {"PATH": os.environ["PATH"], "IMSCTL_TARGET": gateway.target, "IMSCTL_API_KEY": KEY}
    return base | more


def _accepted(request, _context):
    job = request.job
    job.name, job.request_id, job.state = NAME, request.request_id, Job.STATE_QUEUED
    return SubmitJobResponse(job=job)


def _states(*jobs: Job) -> list[WatchJobResponse]:
    return [WatchJobResponse(job=job) for job in jobs]


# Every algorithm from flags.


def _fill(message: Message, dice: random.Random) -> None:
    """Set every field that a caller may set; of a oneof, one."""
    chosen: dict[str, FieldDescriptor] = {}
    for field in settable_fields(message.DESCRIPTOR):
        oneof = field.containing_oneof
        if (
            oneof
            and len(oneof.fields) > 1
            and field is not chosen.setdefault(oneof.name, dice.choice(oneof.fields))
        ):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update({"team": "blue", "note": "a=b, c"})
        elif field.is_repeated:
            for _ in range(2):
                _append(getattr(message, field.name), field, dice)
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            _fill(getattr(message, field.name), dice)
        else:
            setattr(message, field.name, _value(field, dice))


def _append(values: Any, field: FieldDescriptor, dice: random.Random) -> None:
    if field.message_type:
        _fill(values.add(), dice)
    else:
        values.append(_value(field, dice))


def _value(field: FieldDescriptor, dice: random.Random) -> Any:
    if field.enum_type:
        return dice.choice(list(words_of(field.enum_type).values()))
    return {
        FieldDescriptor.CPPTYPE_STRING: dice.choice(["oss://b/ü {sequenceId}.png", "a=b,c", "-x"]),
        FieldDescriptor.CPPTYPE_INT32: dice.randint(-5, 100),
        FieldDescriptor.CPPTYPE_DOUBLE: dice.choice([0.0, 0.1, 1 / 3, 25.5, 1e-7, 1.0]),
        FieldDescriptor.CPPTYPE_BOOL: dice.choice([True, False]),
    }[field.cpp_type]


def _random_job(arm: FieldDescriptor, seed: int) -> Job:
    dice = random.Random(seed)  # noqa: S311 - test data
    job = Job()
    getattr(job, arm.name).SetInParent()
    _fill(getattr(job, arm.name), dice)
    job.display_name, job.user_data, job.priority = "A name", '{"a": [1]}', dice.randint(1, 10)
    job.pipeline_id, job.template_id = "pipeline", "template"
    job.media_duration.FromMilliseconds(dice.randint(1, 10**6))
    job.labels.update({"team": "blue", "note": "a=b, c"})
    return job


def _arguments(job: Job, arm: FieldDescriptor) -> list[str]:
    flags = [*algorithm_flags(arm), *job_flags()]
    texts = [(flag, text) for flag in flags for text in flag.read(job)]
    return [f"{flag.spellings[0]}={text}" for flag, text in texts]


@pytest.mark.parametrize("arm", ALGORITHMS, ids=lambda arm: arm.name)
def test_every_field_of_every_algorithm_is_submitted_from_flags(imsctl, gateway, arm):
    """The job that the gateway receives is the one that the flags describe, whole."""
    gateway.answers["SubmitJob"] = [_accepted]
    jobs = [_random_job(arm, seed) for seed in range(5)]
    for job in jobs:
        result = imsctl("submit", arm.name.replace("_", "-"), *_arguments(job, arm))
        assert result.exit_code == 0, result.output
    assert [request.job for request in gateway.requests("SubmitJob")] == jobs
    used = {
        flag.name
        for job in jobs
        for flag in [*algorithm_flags(arm), *job_flags()]
        if flag.read(job)
    }
    assert used == {flag.name for flag in [*algorithm_flags(arm), *job_flags()]}


def test_a_submit_as_people_type_it(imsctl, gateway):
    """Separate values, repeated flags and global options at the end."""
    gateway.answers["SubmitJob"] = [_accepted]
    request_id = str(uuid.uuid4())
    line = (
        "submit video-detext --input oss://b/in.mp4 --output oss://b/out.mp4 "
        "--limit-regions 0,0.7,1,0.3 --time-ranges 5-20 --time-ranges 25-43 --model new "
        "--priority 6 --display-name Nightly --label team=blue --label show=news "
        f"--request-id {request_id} --parent acme --output json"
    )
    result = imsctl(*line.split())
    assert result.exit_code == 0, result.output
    (sent,) = gateway.requests("SubmitJob")
    assert (sent.request_id, sent.parent) == (request_id, "tenants/acme")
    expected = Job(
        display_name="Nightly",
        priority=6,
        labels={"team": "blue", "show": "news"},
        video_detext={
            "input": {"oss_uri": "oss://b/in.mp4"},
            "output": {"uri": "oss://b/out.mp4"},
            "limit_regions": [{"x": 0, "y": 0.7, "width": 1, "height": 0.3}],
            "time_ranges": [
                {"start_seconds": 5, "end_seconds": 20},
                {"start_seconds": 25, "end_seconds": 43},
            ],
            "model": "MODEL_NEW",
        },
    )
    assert sent.job == expected
    assert json_format.Parse(result.stdout, Job()).name == NAME


def test_help_lists_every_algorithm_and_its_flags(imsctl):
    """Nobody needs the protos to find a flag."""
    listed = imsctl("submit", "--help").stdout
    for arm in ALGORITHMS:
        assert arm.name.replace("_", "-") in listed
    shown = imsctl("submit", "video-detext", "--help").stdout
    for flag in algorithm_flags(next(arm for arm in ALGORITHMS if arm.name == "video_detext")):
        assert f"--{flag.name}" in shown


# Files.


@pytest.mark.parametrize("form", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
@pytest.mark.parametrize("snake_case", [True, False], ids=["snake_case", "camelCase"])
def test_a_job_comes_from_a_file(imsctl, gateway, tmp_path, job, *, form, snake_case):
    """YAML and JSON, with the names of the proto or of its JSON mapping."""
    gateway.answers["SubmitJob"] = [_accepted]
    written = json_format.MessageToDict(job, preserving_proto_field_name=snake_case)
    file = tmp_path / "job"
    file.write_text(form(written))
    assert imsctl("submit", "--file", str(file)).exit_code == 0
    assert imsctl("submit", "--file", "-", stdin=form(written)).exit_code == 0
    assert [request.job for request in gateway.requests("SubmitJob")] == [job, job]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cover: {inputs: {}}", "inputs"),
        ("a: [", "neither YAML nor JSON"),
        ("- a\n- b", "is not a Job"),
        ("", "is not a Job"),
        ("priority: many", "is not a Job"),
    ],
)
def test_a_file_that_is_no_job_is_a_usage_error(imsctl, gateway, text, says):
    """Nothing is sent, and the text says where the file is wrong."""
    result = imsctl("submit", "--file", "-", stdin=text)
    assert result.exit_code == 2
    assert says in result.stderr
    assert gateway.calls == []


@pytest.mark.parametrize(
    "line",
    [
        "submit",
        "submit --wait cover --input oss://a/b.mp4",
        "submit nonsense",
        "submit cover --nonsense",
        "submit cover --format jpeg",
        "submit --file /nowhere/job.yaml",
        "get",
        "list --limit -1",
        "whoami --output xml",
        "whoami --timeout 0",
        "whoami --insecure --ca-file README",
        "whoami --api-key-file /nowhere/key",
        "whoami --certificate-file README",
        "whoami --key-file README",
        "nonsense",
    ],
)
def test_wrong_usage_sends_nothing(imsctl, gateway, tmp_path, line):
    """A typing mistake ends with code 2 before any call."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    result = imsctl(*line.replace("README", str(authority)).split())
    assert result.exit_code == 2
    assert gateway.calls == []


# The other commands.


def test_dry_run_shows_decision_quota_and_upstream_call(imsctl, gateway, job):
    """Nothing is submitted; the exit code is the answer."""
    reply = SubmitJobResponse(
        job=job,
        decision=Decision(
            decision_id="d-1",
            allowed=False,
            failed_dimension="DIMENSION_WRITE",
            objects=[
                {
                    "access": "OBJECT_ACCESS_READ",
                    "object": "oss://in/a",
                    "allowed": True,
                    "rule": "r1",
                },
                {"access": "OBJECT_ACCESS_WRITE", "object": "oss://out/b"},
            ],
        ),
        quota=QuotaEffect(
            admitted=False,
            limits=[{"limit_id": "daily", "metric": "submit/day", "limit": 100, "remaining": 0}],
        ),
        upstream_request=UpstreamRequest(
            account="main",
            endpoint="https://ice.cn-shanghai.aliyuncs.com",
            action="SubmitIProductionJob",
            parameters={"FunctionName": "Cover"},
        ),
    )
    gateway.answers["SubmitJob"] = [reply]
    line = ("submit", "cover", "--input", "oss://in/a", "--dry-run")
    result = imsctl(*line)
    assert result.exit_code == 5
    words = " ".join(result.stdout.split())
    for expected in (
        "policy denied (write)",
        "read oss://in/a allowed by rule r1",
        "write oss://out/b denied",
        "daily 0 of 100 left (submit/day)",
        "SubmitIProductionJob at https://ice.cn-shanghai.aliyuncs.com",
        "FunctionName Cover",
    ):
        assert expected in words
    reply.decision.allowed = True
    assert imsctl(*line).exit_code == 6
    reply.quota.admitted = True
    shown = imsctl(*line, "--output", "json")
    assert shown.exit_code == 0
    assert json_format.Parse(shown.stdout, SubmitJobResponse()) == reply
    assert all(request.validate_only for request in gateway.requests("SubmitJob"))


def test_explain_answers_with_its_exit_code(imsctl, gateway):
    """0 for allowed, 5 for denied, whether from flags or from a file."""
    gateway.answers["ExplainAccess"] = [
        ExplainAccessResponse(decision=Decision(allowed=True, decision_id="d-1")),
        ExplainAccessResponse(decision=Decision(failed_dimension="DIMENSION_DENY")),
    ]
    allowed = imsctl("explain", "cover", "--input", "oss://in/a")
    denied = imsctl(
        "explain", "--file", "-", "-o", "json", stdin="cover: {input: {ossUri: oss://i/a}}"
    )
    assert (allowed.exit_code, denied.exit_code) == (0, 5)
    assert "d-1" in allowed.stdout
    assert json.loads(denied.stdout) == {"failedDimension": "DIMENSION_DENY"}


def test_explain_shows_for_each_object_what_comes_closest(imsctl, gateway):
    """With the dimensions that do not fit, in words."""
    near = Decision.NearGrant(
        rule="acme.yaml#grants[0]", failed_dimensions=["DIMENSION_READ", "DIMENSION_CEILING"]
    )
    refused = Decision.ObjectDecision(
        access="OBJECT_ACCESS_READ",
        object="oss://i/a",
        failed_dimension="DIMENSION_READ",
        nearest_grants=[near],
    )
    decision = Decision(failed_dimension="DIMENSION_READ", objects=[refused])
    gateway.answers["ExplainAccess"] = [ExplainAccessResponse(decision=decision)]
    shown = imsctl("explain", "cover", "--input", "oss://i/a").stdout
    assert "nearest acme.yaml#grants[0], does not fit: read, ceiling" in shown


def test_algorithms_shows_rules_and_prices(imsctl, gateway):
    """One row an algorithm, and each rule once."""
    reply = ListAlgorithmsResponse(
        algorithms=[
            {
                "algorithm": "video_h2v",
                "allowed": True,
                "rules": ["acme.yaml#grants[0]"],
                "prices": [
                    {"currency": "CNY", "flat_micros": 100_000, "micros_per_minute": 20_000},
                    {"model": "m-1", "currency": "CNY"},
                ],
            },
            {"algorithm": "cover"},
        ],
        rules=[
            {
                "rule": "acme.yaml#grants[0]",
                "effect": "EFFECT_ALLOW",
                "subject": "role/editor",
                "read": ["oss://a/*"],
                "min_priority": 3,
                "max_priority": 6,
                "models": ["*"],
                "templates": ["-"],
            }
        ],
    )
    gateway.answers["ListAlgorithms"] = [reply]
    lines = [line.split() for line in imsctl("algorithms", "--parent", "acme").stdout.splitlines()]
    assert lines[1][:3] == ["video-h2v", "yes", "acme.yaml#grants[0]"]
    assert " ".join(lines[1][3:]) == "0.1 CNY + 0.02 CNY a minute; m-1: free"
    assert lines[2] == ["cover", "no", "none", "none"]
    assert lines[5][:5] == ["acme.yaml#grants[0]", "allow", "role/editor", "oss://a/*", "nothing"]
    assert gateway.requests("ListAlgorithms")[0].parent == "tenants/acme"
    as_json = imsctl("algorithms", "-o", "json").stdout
    assert json_format.Parse(as_json, ListAlgorithmsResponse()) == reply


def test_a_bare_id_is_a_job_of_the_callers_tenant(imsctl, gateway, at):
    """Whoami completes the name; a full name needs no second call."""
    gateway.answers["WhoAmI"] = [WhoAmIResponse(tenant="tenants/acme")]
    gateway.answers["GetJob"] = [GetJobResponse(job=at("RUNNING"))]
    gateway.answers["CancelJob"] = [CancelJobResponse(job=at("CANCELLING"))]
    assert imsctl("get", "0198-a", "--download-urls").exit_code == 0
    assert imsctl("cancel", "0198-a").exit_code == 0
    assert len(gateway.requests("WhoAmI")) == 2
    assert imsctl("get", NAME).exit_code == 0
    assert len(gateway.requests("WhoAmI")) == 2
    assert {request.name for request in gateway.requests("GetJob")} == {NAME}
    assert [request.include_download_urls for request in gateway.requests("GetJob")] == [
        True,
        False,
    ]
    assert gateway.requests("CancelJob")[0].name == NAME


def test_get_shows_the_job_in_the_words_of_the_flags(imsctl, gateway, at):
    """State, failure, wish and result stand in one table; a hostile name moves no cursor."""
    job = at("FAILED", display_name="red \x1b[31m", labels={"a": "b"})
    job.failure.code, job.failure.message = "InvalidParameter", "no such file"
    job.cover.result.images.add(uri="oss://out/1.png", media_id="m1")
    job.create_time.FromJsonString("2026-04-01T09:30:00Z")
    job.end_time.FromJsonString("2026-04-01T09:31:30Z")
    gateway.answers["GetJob"] = [GetJobResponse(job=job)]
    result = imsctl("get", NAME)
    rows = dict(line.split("  ", 1) for line in result.stdout.splitlines() if "  " in line)
    shown = {name.strip(): text.strip() for name, text in rows.items()}
    assert result.exit_code == 0
    assert shown["state"] == "FAILED"
    assert shown["failure"] == "InvalidParameter: no such file"
    assert shown["input"] == "oss://in/a.mp4"
    assert shown["labels"] == "a=b"
    assert shown["file"] == "oss://out/1.png"
    assert shown["ended"] == "2026-04-01 09:31:30Z (after 90.0 s)"
    assert "\x1b" not in result.stdout
    assert "red \\x1b[31m" in result.stdout


def _trace(state: str, **fields: Any) -> JobTrace:
    """Return the trace of a job that was taken a second after its call began."""
    trace = JobTrace(
        name=f"{NAME}/trace",
        algorithm="video_h2v",
        state=f"STATE_{state}",
        trace_id="0" * 31 + "1",
        decision_id="d-1",
        changes=[
            {"state": "STATE_SUBMITTING", "time": {"seconds": 100}, "cause": "submit"},
            {"state": "STATE_QUEUED", "time": {"seconds": 101}, "cause": "accepted"},
        ],
        read_time={"seconds": 220},
        **fields,
    )
    if state == "SUCCEEDED":
        trace.changes.add(state=Job.STATE_SUCCEEDED, time={"seconds": 200}, cause="red \x1b[31m")
    return trace


def _submit_of(**fields: Any) -> dict[str, Any]:
    """Return a call of four seconds whose admission took the second of them."""
    admit = {
        "name": "admit",
        "outcome": "ok",
        "start_offset": {"seconds": 1},
        "duration": {"seconds": 1},
        "attributes": {"imsgateway.quota.outcome": "held", "imsgateway.policy_version": "v1"},
        "limits": [{"limit_id": "daily", "metric": "submit/day", "limit": 9, "remaining": 4}],
    }
    call = {"start_time": {"seconds": 99}, "duration": {"seconds": 4}, "code": "OK"}
    return call | {"steps": [admit]} | fields


def test_trace_draws_steps_and_states_where_they_lie_in_time(imsctl, gateway, monkeypatch):
    """A step against its call, a state against the job's life; a hostile text moves no cursor."""
    trace = _trace("SUCCEEDED", submit=_submit_of())
    gateway.answers["WhoAmI"] = [WhoAmIResponse(tenant="tenants/acme")]
    gateway.answers["GetJobTrace"] = [GetJobTraceResponse(trace=trace)]
    result = imsctl("trace", NAME.rpartition("/")[2])
    head, tree = result.stdout.split("\n\n")
    submit, admit, job, submitting, queued, succeeded = map(str.rstrip, tree.splitlines())

    assert result.exit_code == 0
    assert gateway.requests("GetJobTrace")[0].name == f"{NAME}/trace"
    assert f"job          {NAME}" in head
    assert "video-h2v" in head
    assert submit.endswith("OK")
    assert submit.count("\u2588") == 24
    assert "+1.00 s  1.00 s        \u2588\u2588\u2588\u2588\u2588\u2588 " in _narrow(admit)
    assert admit.endswith("daily 4 of 9 left, quota held")
    assert "+1.00 s  1 m 40 s" in _narrow(job)
    assert submitting.startswith("├─ SUBMITTING")
    assert queued.endswith("accepted")
    assert "1 m 39 s" in queued
    assert succeeded.startswith("└─ SUCCEEDED")
    assert succeeded.endswith("red \\x1b[31m")
    monkeypatch.setenv("COLUMNS", "80")
    assert "\u2588" not in imsctl("trace", NAME).stdout
    as_json = imsctl("trace", NAME, "--output", "json").stdout
    assert json_format.Parse(as_json, JobTrace()) == trace


def _narrow(line: str) -> str:
    """Return a line with the space before its times closed up."""
    return re.sub(r"(?<! )  +(?=[+0-9])", "  ", line)


def test_trace_says_what_is_not_known(imsctl, gateway):
    """A record that is gone, a call under way, a caller that has left, a job that goes on."""
    sent = {"dispatch_time": {"seconds": 100}}
    gone = _trace("QUEUED", next_poll_time={"seconds": 222}, **sent)
    left = _trace("QUEUED", submit=_submit_of(code="CANCELLED", steps=[]), **sent)
    gateway.answers["GetJobTrace"] = [
        GetJobTraceResponse(trace=trace) for trace in (gone, _trace("SUBMITTING"), left)
    ]
    text = imsctl("trace", NAME).stdout
    assert "not on record: only the latest decisions are kept" in text
    assert "└─ dispatch" in text
    assert "asked about again in 2.00 s" in text
    assert re.search(r"└─ QUEUED .*1 m 59 s", text)
    assert "still under way" in imsctl("trace", NAME).stdout
    assert "CANCELLED; the caller left, the submit went on" in imsctl("trace", NAME).stdout


def test_list_shows_as_many_jobs_as_asked_for(imsctl, gateway, at):
    """One line a job in a pipe, one document a job in JSON; no page more than needed is fetched."""
    page = ListJobsResponse(jobs=[at("QUEUED"), at("RUNNING")], next_page_token="more")
    gateway.answers["ListJobs"] = [page]
    table = imsctl("list", "--limit", "3", "--parent", "acme")
    assert [line.split()[:2] for line in table.stdout.splitlines()] == [
        ["JOB", "STATE"],
        ["0198-a", "QUEUED"],
        ["0198-a", "RUNNING"],
        ["0198-a", "QUEUED"],
    ]
    assert len(gateway.calls) == 2
    assert gateway.requests("ListJobs")[0].parent == "tenants/acme"
    lines = imsctl("list", "--limit=2", "--output=json").stdout.splitlines()
    assert [json_format.Parse(line, Job()) for line in lines] == list(page.jobs)


def test_list_fits_a_narrow_terminal(imsctl, gateway, at, monkeypatch):
    """The id stays in one piece, with state and algorithm below it."""
    job = at("SUBMIT_UNKNOWN")
    job.name = f"tenants/acme/jobs/{uuid.UUID(int=1)}"
    gateway.answers["ListJobs"] = [ListJobsResponse(jobs=[job])]
    monkeypatch.setenv("COLUMNS", "40")
    lines = [line.strip() for line in imsctl("list").stdout.splitlines()]
    assert lines[1:] == [str(uuid.UUID(int=1)), "SUBMIT_UNKNOWN  cover"]


def test_quota_draws_a_bar_for_each_limit(imsctl, gateway):
    """As long as its share is used; with whom it is counted for, and whether it is on trial."""
    limits = [
        {"limit_id": "daily", "metric": "submit/day", "limit": 100, "used": 50},
        {"limit_id": "spend", "metric": "cost/month", "limit": 2_000_000, "used": 2_500_000},
        {
            "limit_id": "each",
            "metric": "submit/hour",
            "limit": 4,
            "dimensions": {"principal": "farm"},
            "shadow": True,
        },
    ]
    gateway.answers["GetUsage"] = [GetUsageResponse(limits=limits, currency="CNY")]
    daily, spend, each = imsctl("quota").stdout.splitlines()

    assert (daily.count("\u2588"), "50 of 100" in daily) == (12, True)
    assert (spend.count("\u2588"), "2.50 of 2.00 CNY" in spend) == (24, True)
    assert (each.count("\u2588"), "submit/hour, principal farm, on trial" in each) == (0, True)
    assert json.loads(imsctl("-o", "json", "quota").stdout)["currency"] == "CNY"


def test_quota_draws_a_bar_for_each_day(imsctl, gateway):
    """Beside the day of most use."""
    days = [
        {"date": "2026-06-02", "algorithms": [{"algorithm": "video_h2v", "jobs": 1}]},
        {
            "date": "2026-06-01",
            "algorithms": [
                {"algorithm": "cover", "jobs": 1, "cost_micros": 1_500_000},
                {"algorithm": "video_clip", "jobs": 3},
            ],
        },
    ]
    history = ListUsageHistoryResponse(days=days, currency="CNY")
    gateway.answers["ListUsageHistory"] = [history]
    today, before = imsctl("quota", "--history", "--days", "2").stdout.splitlines()

    assert gateway.calls[-1].request.page_size == 2
    assert (today.count("\u2588"), "1 jobs, 0.00 CNY" in today) == (6, True)
    assert (before.count("\u2588"), "4 jobs, 1.50 CNY" in before) == (24, True)
    assert before.rstrip().endswith("video-clip 3, cover 1")


def test_the_duration_of_media_is_given_in_seconds(imsctl, gateway):
    """And shown so."""
    job = Job(name=NAME, cover={}, media_duration={"seconds": 90, "nanos": 500_000_000})
    gateway.answers["SubmitJob"] = [SubmitJobResponse(job=job)]
    line = ["submit", "cover", "--input", "oss://b/in.mp4", "--media-duration", "90.5"]
    shown = imsctl(*line).stdout

    assert gateway.calls[-1].request.job.media_duration == job.media_duration
    assert "90.500" in shown


def test_whoami_names_the_caller(imsctl, gateway):
    """Principal, tenant and roles."""
    gateway.answers["WhoAmI"] = [
        WhoAmIResponse(principal="principal/farm", tenant="tenants/acme", roles=["a", "b"])
    ]
    assert imsctl("whoami").stdout.split() == [
        "principal", "principal/farm", "tenant", "tenants/acme", "roles", "a,", "b",
    ]  # fmt: skip
    assert json.loads(imsctl("-o", "json", "whoami").stdout)["roles"] == ["a", "b"]


@pytest.mark.parametrize(("seconds", "text"), [(None, "never"), (0, "1970-01-01 00:00:00Z")])
def test_whoami_says_by_what_and_until_when(imsctl, gateway, seconds, text):
    """So that people see which of their credentials they used."""
    answer = WhoAmIResponse(credential="token/cluster/robot")
    if seconds is not None:
        answer.expire_time.FromSeconds(seconds)
    gateway.answers["WhoAmI"] = [answer]

    shown = imsctl("whoami").stdout

    assert "token/cluster/robot" in shown
    assert text in shown


# Following.


@pytest.mark.parametrize(
    ("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 1), ("REJECTED", 1)]
)
def test_the_end_of_a_job_is_the_exit_code(imsctl, gateway, at, end, code):
    """Of watch, of submit --wait, and of a submit that meets a job which has ended."""
    gateway.answers["WatchJob"] = [_states(at("RUNNING"), at(end))]
    gateway.answers["SubmitJob"] = [_accepted, SubmitJobResponse(job=at(end))]
    watched = imsctl("watch", NAME)
    assert watched.exit_code == code
    assert [line.split()[-2:] for line in watched.stdout.splitlines()] == [
        ["RUNNING", NAME],
        [end, NAME],
    ]
    waited = imsctl("submit", "cover", "--input", "oss://in/a", "--wait")
    assert waited.exit_code == code
    assert "RUNNING" in waited.stderr
    assert "RUNNING" not in waited.stdout
    assert end in waited.stdout
    assert imsctl("submit", "cover", "--input", "oss://in/a").exit_code == code


def test_watch_in_json_is_a_document_a_line(imsctl, gateway, at):
    """Programs read each state as it comes."""
    gateway.answers["WatchJob"] = [_states(at("RUNNING"), at("SUCCEEDED"))]
    lines = imsctl("watch", NAME, "--output", "json").stdout.splitlines()
    assert [json_format.Parse(line, Job()) for line in lines] == [at("RUNNING"), at("SUCCEEDED")]


def test_waiting_in_json_is_one_document(imsctl, gateway, at):
    """Submit --wait answers with the job at its end, and with nothing else."""
    gateway.answers["SubmitJob"] = [_accepted]
    gateway.answers["WatchJob"] = [_states(at("RUNNING"), at("SUCCEEDED"))]
    result = imsctl("submit", "cover", "--input", "oss://in/a", "--wait", "-o", "json")
    assert json_format.Parse(result.stdout, Job()) == at("SUCCEEDED")
    assert result.stderr == ""


def test_nobody_waits_for_an_operator(imsctl, gateway, at):
    """A job of unknown outcome ends the waiting with code 9 and a warning."""
    gateway.answers["SubmitJob"] = [_accepted]
    gateway.answers["WatchJob"] = [_states(at("SUBMIT_UNKNOWN"))]
    result = imsctl("submit", "cover", "--input", "oss://in/a", "--wait")
    assert result.exit_code == 9
    assert "Do NOT submit this job again" in result.stderr
    assert f"imsctl watch {NAME}" in result.stderr


# Refusals.


def test_a_violation_is_shown_with_its_flag(imsctl, gateway, refuse):
    """People see what to correct, programs get the same as JSON on standard error."""
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="job.cover.output.uri", description="must hold {sequenceId}")
    gateway.answers["SubmitJob"] = [
        refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", bad)
    ]
    line = ("submit", "cover", "--input", "oss://in/a")
    shown = imsctl(*line)
    assert shown.exit_code == 3
    assert shown.stdout == ""
    assert "--output" in shown.stderr
    assert "must hold {sequenceId}" in shown.stderr
    error = json.loads(imsctl(*line, "--output", "json").stderr)["error"]
    request_id = gateway.requests("SubmitJob")[-1].request_id
    assert error == {
        "exit_code": 3,
        "code": "INVALID_ARGUMENT",
        "reason": "INVALID_REQUEST",
        "message": "told to",
        "violations": [
            {
                "field": "job.cover.output.uri",
                "flag": "--output",
                "description": "must hold {sequenceId}",
            }
        ],
        "request_id": request_id,
    }


def test_a_limit_says_when_to_retry(imsctl, gateway, refuse, retry_after):
    """With RetryInfo the time, without it what else to do."""
    failure = error_details_pb2.QuotaFailure()
    failure.violations.add(quota_id="daily", description="limit daily of 100 is reached")
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    gateway.answers["SubmitJob"] = [
        refuse(code, "QUOTA_EXCEEDED", failure, retry_after(90)),
        refuse(code, "QUOTA_EXCEEDED", failure),
    ]
    line = ("submit", "cover", "--input", "oss://in/a")
    first, second = imsctl(*line).stderr, imsctl(*line).stderr
    assert "limit daily of 100 is reached" in first
    assert "Try again in 0:01:30" in first
    assert "let running jobs end" in second


def test_an_unavailable_gateway_gets_advice_to_repeat(imsctl, gateway, unavailable):
    """The request id of the failed submit makes going on safe."""
    gateway.answers["SubmitJob"] = [unavailable]
    result = imsctl("submit", "cover", "--input", "oss://in/a")
    assert result.exit_code == 8
    assert f"--request-id {gateway.requests('SubmitJob')[0].request_id}" in result.stderr


def test_a_denial_names_its_decision(imsctl, gateway, refuse):
    """The platform team finds the record by it."""
    gateway.answers["GetJob"] = [
        refuse(
            grpc.StatusCode.PERMISSION_DENIED, "POLICY_DENIED", decision_id="d-7", dimension="read"
        )
    ]
    result = imsctl("get", NAME)
    assert result.exit_code == 5
    assert "decision id d-7" in result.stderr
    assert "dimension read" in result.stderr


# As a program.


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", 3),
        (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED", 4),
        (grpc.StatusCode.PERMISSION_DENIED, "POLICY_DENIED", 5),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_EXCEEDED", 6),
        (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", 7),
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", 8),
        (grpc.StatusCode.UNKNOWN, "SUBMIT_OUTCOME_UNKNOWN", 9),
        (grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_REFUSED", 10),
        (grpc.StatusCode.INTERNAL, "INTERNAL", 10),
    ],
)
def test_refusals_have_their_exit_codes(command, gateway, refuse, *, code, reason, exit_code):
    """A script tells them apart without reading; no stack and no key is shown."""
    gateway.answers["SubmitJob"] = [refuse(code, reason)]
    done = command("submit", "cover", "--input", "oss://in/a")
    assert done.returncode == exit_code, done.stderr
    assert done.stdout == ""
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr


def test_a_program_that_goes_well_ends_with_nought(command, gateway, at):
    """Output to standard output, nothing to standard error, no colours in a pipe."""
    gateway.answers["SubmitJob"] = [_accepted]
    gateway.answers["WatchJob"] = [_states(at("SUCCEEDED"))]
    done = command("submit", "cover", "--input", "oss://in/a", "--wait", "--output", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["state"] == "STATE_SUCCEEDED"
    plain = command("watch", NAME)
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout


def test_nobody_listening_is_code_8(command, gateway):
    """The text names the target."""
    gateway.stop()
    done = command("whoami")
    assert done.returncode == 8
    assert gateway.target in done.stderr


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_a_live_display_and_no_color_is_respected(gateway, at, *, no_color):
    """States scroll by, the table of the job stands at the end."""
    gateway.answers["WatchJob"] = [_states(at("RUNNING"), at("SUCCEEDED"))]
    more = {"TERM": "xterm-256color", "COLUMNS": "80"} | ({"NO_COLOR": "1"} if no_color else {})
    main, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ims_gateway_client.cli", "watch", NAME],
        stdout=other,
        env=_environment(gateway, more),
    ) as running:
        os.close(other)
        shown = b"".join(iter(lambda: _read(main), b"")).decode()
    os.close(main)
    assert running.returncode == 0
    assert shown.index("RUNNING") < shown.index("SUCCEEDED") < shown.index("algorithm")
    assert ("\x1b[32mSUCCEEDED" in shown) is not no_color


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux reports that the other side has closed
        return b""


@pytest.mark.usefixtures("interruptible")
def test_interrupting_a_watch_leaves_the_job_alone(gateway, at):
    """Ctrl-C ends imsctl with 130 and says how to go on following."""

    def interrupt(_request, _context):
        running.send_signal(signal.SIGINT)
        running.wait(60)
        return WatchJobResponse(job=at("RUNNING"))

    gateway.answers["WatchJob"] = [[*_states(at("QUEUED")), interrupt]]
    with subprocess.Popen(
        [sys.executable, "-m", "ims_gateway_client.cli", "watch", NAME],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(gateway, {}),
    ) as running:
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert f"imsctl watch {NAME}" in said
    assert [call.method for call in gateway.calls] == ["WatchJob"]


# Credentials and global options.


def test_the_key_comes_from_file_or_environment(imsctl, gateway, tmp_path, monkeypatch):
    """The file wins; without either the call goes without a credential."""
    gateway.answers["WhoAmI"] = [WhoAmIResponse()]
    file = tmp_path / "key"
    file.write_text("imsk_from_file\n")
    assert imsctl("whoami", "--api-key-file", str(file)).exit_code == 0
    assert imsctl("whoami").exit_code == 0
    monkeypatch.setenv("IMSCTL_API_KEY", "")
    assert imsctl("whoami").exit_code == 0
    sent = [call.metadata.get("authorization") for call in gateway.calls]
    assert sent == ["Bearer imsk_from_file", f"Bearer {KEY}", None]


@pytest.mark.parametrize("contents", [b"", b"two words", b"line\nline", b"imsk_\xc3\xbc", b"\xff"])
def test_a_file_without_one_key_is_a_usage_error(imsctl, gateway, tmp_path, contents):
    """Nothing of the file's contents is shown."""
    file = tmp_path / "key"
    file.write_bytes(contents)
    result = imsctl("whoami", "--api-key-file", str(file))
    assert result.exit_code == 2
    assert gateway.calls == []
    assert not contents or contents not in result.stderr_bytes


def test_a_key_that_no_header_can_hold_is_a_usage_error(imsctl, gateway, monkeypatch):
    """The message does not repeat it."""
    monkeypatch.setenv("IMSCTL_API_KEY", "imsk_with space")
    result = imsctl("whoami")
    assert result.exit_code == 2
    assert "imsk_with" not in result.stderr
    assert gateway.calls == []


def test_no_option_takes_the_key_itself(imsctl):
    """`ps` shows every argument to everybody on the machine."""
    assert imsctl("--api-key", KEY, "whoami").exit_code == 2


@pytest.mark.parametrize(
    ("typed", "hoisted"),
    [
        ("get x --output json", "--output json get x"),
        ("get x --output=json --insecure", "--output=json --insecure get x"),
        ("get x -o table", "-o table get x"),
        ("get x --target h:1 --timeout 5", "--target h:1 --timeout 5 get x"),
        ("submit cover --output oss://b/o.png", "submit cover --output oss://b/o.png"),
        (
            "submit cover --output oss://b/o --output json",
            "--output json submit cover --output oss://b/o",
        ),
        ("get -- --insecure", "get -- --insecure"),
        ("get x --target", "--target get x"),
        ("", ""),
    ],
)
def test_global_options_stand_anywhere(typed, hoisted):
    """--output is global only for the two forms, and an algorithm's own for anything else."""
    assert hoist(typed.split()) == hoisted.split()


def test_the_exit_codes_are_documented(imsctl):
    """The help and the README say the same as the code does."""
    shown = " ".join(imsctl("--help").stdout.split())
    written = README.read_text()
    for code, meaning in MEANINGS.items():
        assert f"{code} {meaning}" in shown
        assert f"| {code} | {meaning} |" in written


def test_without_the_extra_imsctl_says_what_to_install(tmp_path):
    """The library works without typer; the command then names the extra."""
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no typer', name='typer')")
    done = subprocess.run(
        [sys.executable, "-c", "import ims_gateway_client.cli as c; c.main()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "imsctl needs typer: pip install 'ims-gateway-client[cli]'"
