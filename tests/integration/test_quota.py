"""Limits as callers and operators meet them: refusals, metadata, usage, costs, audits."""

from __future__ import annotations

import csv
import json
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import duration_pb2

from ims_gateway.jobs.ledger import Ledger
from ims_gateway_client import errors as client_errors
from imsgateway.v1 import job_pb2, job_service_pb2, quota_service_pb2
from tests.integration.test_process import imsgw
from tests.integration.world import answer_of, cover, refused, until

Submit = job_service_pb2.SubmitJobRequest
GetUsage = quota_service_pb2.GetUsageRequest
History = quota_service_pb2.ListUsageHistoryRequest
PRICES = {
    "currency": "CNY",
    "prices": [
        {"algorithm": "*", "micros": 50_000},
        {"algorithm": "video_clip", "micros": 1, "micros_per_minute": 600_000},
    ],
}
BUDGET = {"id": "spend", "kind": "budget", "window": "month", "max_micros": 1_000_000}
LIMITS = [
    {"id": "burst", "kind": "rate", "per_second": 0.5, "burst": 5},
    {"id": "each", "kind": "day", "max": 100, "per": ["principal", "algorithm"]},
    {"id": "open", "kind": "concurrent", "max": 50},
    {"id": "trial", "kind": "hour", "max": 1, "shadow": True},
    {**BUDGET, "alerts": [5, 50]},
]
# 20,000 are no different, and take a minute.
FLOOD = 2_000
# Transactions of a gateway to which nobody comes.
BY_ITSELF_A_SECOND = 2.5


def clip(**fields: Any) -> job_pb2.Job:
    """Return a job whose price is by the minute."""
    return job_pb2.Job(video_clip={"input": {"oss_uri": "oss://acme-media/in.mp4"}}, **fields)


async def test_every_reply_says_how_much_is_left(make_world):
    """By the limits that are enforced, in the form of the RateLimit header fields."""
    async with make_world(acme={"limits": LIMITS}, prices=PRICES) as world:
        call = world.acme.jobs.SubmitJob(Submit(job=cover()))
        await call
        trailers = dict(await call.trailing_metadata())
        policies = trailers["ratelimit-policy"].split(", ")
        states = trailers["ratelimit"].split(", ")
        assert '"burst";q=5;w=10' in policies
        assert '"open";q=50;qu="concurrent-requests"' in policies
        assert '"burst";r=4;t=2' in states
        assert '"open";r=49' in states
        assert not any("trial" in item for item in policies + states)


async def test_a_refusal_says_by_which_limit_for_whom_and_until_when(make_world):
    """As QuotaFailure, RetryInfo, and in the metadata; also what is refused from memory."""
    limits = [{"id": "one", "kind": "rate", "per_second": 0.01, "burst": 1, "per": ["principal"]}]
    async with make_world(acme={"limits": limits}) as world:
        await world.acme.submit(cover())
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await world.acme.jobs.SubmitJob(Submit(job=cover()))
            answer = answer_of(failed.value)
            (violation,) = answer.details["QuotaFailure"].violations
            assert (violation.quota_metric, violation.quota_id) == ("submit/rate", "one")
            assert dict(violation.quota_dimensions) == {"tenant": "acme", "principal": "robot"}
            assert violation.quota_value == 1
            assert 90 < answer.details["RetryInfo"].retry_delay.ToSeconds() <= 100
            trailers = dict(failed.value.trailing_metadata())
            assert trailers["ratelimit-policy"] == '"one";q=1'
            assert trailers["ratelimit"].startswith('"one";r=0;t=')
        assert world.sent == 1


async def test_a_job_that_a_budget_can_never_pay_is_not_to_be_tried_again(make_world):
    """No RetryInfo; and media that last long cost more."""
    async with make_world(acme={"limits": [BUDGET]}, prices=PRICES) as world:
        long = clip(media_duration=duration_pb2.Duration(seconds=101))
        answer = await refused(world.acme.jobs.SubmitJob(Submit(job=long)))
        assert answer.reason == "QUOTA_EXCEEDED"
        assert "RetryInfo" not in answer.details
        assert answer.details["QuotaFailure"].violations[0].quota_metric == "cost/month"
        await world.acme.submit(clip(media_duration=duration_pb2.Duration(seconds=90)))
        assert world.used("spend") == 900_001
        assert world.rows("SELECT cost FROM jobs") == [(900_001,)]


async def test_a_price_by_the_minute_needs_to_know_the_minutes(make_world):
    """Where a budget applies; the violation names the field, and nothing is charged."""
    limits = [BUDGET, {"id": "daily", "kind": "day", "max": 5}]
    async with make_world(acme={"limits": limits}, prices=PRICES) as world:
        answer = await refused(world.acme.jobs.SubmitJob(Submit(job=clip())))
        assert (answer.reason, answer.paths) == ("INVALID_REQUEST", ["job.media_duration"])
        assert world.rows("SELECT * FROM counters") == []
        await world.acme.submit(cover())


async def test_a_budget_on_trial_asks_for_no_minutes(make_world):
    """It refuses nothing; what cannot be told counts as the flat part alone."""
    limits = [{**BUDGET, "shadow": True}]
    async with make_world(acme={"limits": limits}, prices=PRICES) as world:
        await world.acme.submit(clip())
        assert world.used("spend") == 1


async def test_open_jobs_are_counted_until_they_end(make_world):
    """The next one fits when one of them has ended."""
    limits = [{"id": "open", "kind": "concurrent", "max": 1}]
    async with make_world(acme={"limits": limits}) as world:
        await world.acme.submit(cover())
        answer = await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
        assert (answer.reason, answer.details["QuotaFailure"].violations[0].quota_metric) == (
            "QUOTA_EXCEEDED",
            "jobs/open",
        )
        await until(lambda: world.used("open") == 0)
        await world.acme.submit(cover())


async def test_a_limit_on_trial_is_reported_and_refuses_nothing(make_world):
    """In usage, in the preview, and in the record of the call that it would have refused."""
    limits = [{"id": "trial", "kind": "day", "max": 1, "shadow": True}]
    async with make_world(acme={"limits": limits}) as world:
        for _ in range(2):
            await world.acme.submit(cover())
        (usage,) = (await world.acme.quota.GetUsage(GetUsage())).limits
        assert (usage.limit_id, usage.used, usage.limit, usage.shadow) == ("trial", 2, 1, True)
        assert [record.get("shadow_breaches") for record in world.records][:2] == [None, ["trial"]]
        preview = await world.acme.validate(cover())
        assert preview.quota.admitted
        assert [(each.has_room, each.shadow) for each in preview.quota.limits] == [(False, True)]


async def test_a_tenant_sees_its_usage_and_its_history_and_nobody_else_s(make_world):
    """By limit, and by day and algorithm, with what it was taken to cost."""
    async with make_world(acme={"limits": LIMITS}, prices=PRICES) as world:
        await world.acme.submit(cover())
        await world.acme.submit(clip(media_duration=duration_pb2.Duration(seconds=6)))
        reply = await world.acme.quota.GetUsage(GetUsage())
        used = [(each.limit_id, each.used, dict(each.dimensions)) for each in reply.limits]
        robot = {"principal": "robot"}
        assert used == [
            ("burst", 2, {}),
            ("each", 1, {**robot, "algorithm": "cover"}),
            ("each", 1, {**robot, "algorithm": "video_clip"}),
            ("open", 2, {}),
            ("trial", 2, {}),
            ("spend", 110_001, {}),
        ]
        assert reply.currency == "CNY"
        history = await world.acme.quota.ListUsageHistory(History())
        (day,) = history.days
        assert day.date == f"{datetime.now(UTC):%Y-%m-%d}"
        assert [(each.algorithm, each.jobs, each.cost_micros) for each in day.algorithms] == [
            ("cover", 1, 50_000),
            ("video_clip", 1, 60_001),
        ]
        assert not history.next_page_token
        assert not (await world.globex.quota.ListUsageHistory(History())).days
        for call in (
            world.acme.quota.GetUsage(GetUsage(parent="tenants/globex")),
            world.acme.quota.ListUsageHistory(History(parent="tenants/globex")),
        ):
            assert (await refused(call)).reason == "POLICY_DENIED"
        bad = await refused(world.acme.quota.ListUsageHistory(History(page_token="yesterday")))
        assert (bad.reason, bad.paths) == ("INVALID_REQUEST", ["page_token"])


async def test_a_grant_to_another_tenant_s_principal_does_not_open_the_books(make_world):
    """It may submit, and sees nothing of what others have used."""
    guest = {
        "subject": "tenants/globex/principals/robot",
        "actions": ["submit"],
        "read": ["oss://acme-media/*"],
        "write": ["oss://acme-media/*"],
    }
    async with make_world() as world:
        path = world.folder / "tenants" / "acme.yaml"
        file = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**file, "grants": [*file["grants"], guest]}))
        async with world.replica() as other:
            await other.globex.submit(cover(), parent="tenants/acme")
            for call in (
                other.globex.quota.GetUsage(GetUsage(parent="tenants/acme")),
                other.globex.quota.ListUsageHistory(History(parent="tenants/acme")),
            ):
                assert (await refused(call)).reason == "POLICY_DENIED"


async def test_history_goes_on_page_by_page_to_the_first_job(make_world):
    """Every day once, without a gap."""
    async with make_world() as world:
        await world.acme.submit(cover())
        world.rows("UPDATE jobs SET create_time = create_time - 86400000000 * 9")
        await world.acme.submit(cover())
        days, token = [], ""
        while True:
            request = History(page_size=4, page_token=token)
            page = await world.acme.quota.ListUsageHistory(request)
            days += page.days
            token = page.next_page_token
            if not token:
                break
        assert len(days) == len({day.date for day in days}) == 10
        assert [len(day.algorithms) for day in days] == [1, *[0] * 8, 1]


class CountingStore:
    """A store that counts what is asked of it: each group of writes is a transaction at most."""

    def __init__(self, store: Any, asked: Counter[str]) -> None:
        self._store = store
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, *arguments: Any, **more: Any) -> Any:
        """Count, and write."""
        self._asked["write"] += 1
        return await self._store.write(*arguments, **more)

    async def read(self, *arguments: Any, **more: Any) -> Any:
        """Count, and read."""
        self._asked["read"] += 1
        return await self._store.read(*arguments, **more)


async def test_a_flood_of_refused_calls_costs_the_ledger_next_to_nothing(make_world):
    """At most one transaction for a hundred of them, beside what a gateway does by itself.

    That is once a second each to keep decisions, to share accounts, and now and then to look for
    polls: on a slow machine, which takes longer over the flood, it is more.
    """
    limits = [{"id": "slow", "kind": "rate", "per_second": 0.1, "burst": 3}]
    asked: Counter[str] = Counter()

    def counted(store: Any, clock: Any) -> Ledger:
        counting: Any = CountingStore(store, asked)
        return Ledger(counting, clock)

    # A tracker looks however idle it is; 20 times a second is for impatient tests.
    settings = {"poll_interval_seconds": 10.0}
    parts = {"ledger_of": counted}
    async with make_world(acme={"limits": limits}, settings=settings, parts=parts) as world:
        for _ in range(3):
            await world.acme.submit(cover())
        await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
        asked.clear()
        began = time.monotonic()
        jobs = (Submit(job=cover(), request_id=str(uuid.uuid4())) for _ in range(FLOOD))
        answers: Counter[Any] = Counter()
        async for _, result in world.acme.submit_many(jobs):
            answers[type(result)] += 1
        refusals = answers[client_errors.RateExceeded]
        assert refusals >= FLOOD - 50
        by_itself = BY_ITSELF_A_SECOND * (time.monotonic() - began)
        assert asked.total() - by_itself <= refusals / 100


async def test_an_operator_verifies_explains_and_ranks_quotas(make_world):
    """By commands, in words and as JSON; a counter that is wrong is found."""
    async with make_world(acme={"limits": LIMITS}, prices=PRICES) as world:
        await world.acme.submit(cover())
        environment = {
            "IMSGW_DATABASE_URL": world.settings.database_url.get_secret_value(),
            "IMSGW_CONFIG_DIR": str(world.folder),
        }
        good = imsgw("quota", "verify", "--output", "json", **environment)
        assert (good.returncode, json.loads(good.stdout)["differences"]) == (0, [])
        effective = imsgw(
            *("quota", "effective", "--tenant", "acme", "--algorithm", "video_clip"),
            *("--media-seconds", "60", "--output", "json"),
            **environment,
        )
        shown = json.loads(effective.stdout)
        assert (shown["principal"], shown["cost_micros"]) == ("robot", 600_001)
        assert [(each["limit_id"], each["source"]) for each in shown["limits"]] == [
            (limit["id"], f"acme.yaml#limits[{number}]") for number, limit in enumerate(LIMITS)
        ]
        top = json.loads(imsgw("quota", "top", "--output", "json", **environment).stdout)
        assert top["limits"][0]["limit_id"] == "trial"
        for command in (
            ["verify"],
            ["effective", "--tenant", "acme", "--algorithm", "cover"],
            ["top"],
        ):
            assert imsgw("quota", *command, **environment).returncode == 0

        world.rows("UPDATE counters SET used = used + 1 WHERE limit_id = 'spend'")
        bad = imsgw("quota", "verify", "--output", "json", **environment)
        (difference,) = json.loads(bad.stdout)["differences"]
        assert bad.returncode == 1
        assert (difference["counted"], difference["held"]) == (50_001, 50_000)
        assert "1 differences" in imsgw("quota", "verify", **environment).stdout


async def test_a_bill_is_held_against_the_ledger(make_world, tmp_path):
    """What either side lacks, and where they differ."""
    async with make_world(acme={"limits": [BUDGET]}, prices=PRICES) as world:
        for _ in range(3):
            await world.acme.submit(cover())
        world.fault("accept_then_drop")
        await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
        ours = [row[0] for row in world.rows("SELECT upstream_job_id FROM jobs")]
        first, second, third = (job_id for job_id in ours if job_id)
        bill = tmp_path / "bill.csv"
        with bill.open("w", newline="") as file:
            csv.writer(file).writerows(
                [
                    ("job_id", "algorithm", "amount"),
                    (first, "Cover", "0.03"),
                    (first, "Cover", "0.02"),
                    (second, "VideoClip", "0.06"),
                    ("a-job-of-nobody", "Cover", "0.05"),
                ]
            )
        environment = {"IMSGW_DATABASE_URL": world.settings.database_url.get_secret_value()}
        done = imsgw("reconcile", str(bill), "--output", "json", **environment)
        found = json.loads(done.stdout)
        assert (done.returncode, found["agree"], found["matched"]) == (1, False, 2)
        assert [each["job_id"] for each in found["only_billed"]] == ["a-job-of-nobody"]
        assert [each["upstream_job_id"] for each in found["only_in_ledger"]] == [third]
        assert [each["billed"]["job_id"] for each in found["other_algorithm"]] == [second]
        assert [each["billed"]["job_id"] for each in found["other_amount"]] == [second]
        assert len(found["unknown"]) == 1
        words = imsgw("reconcile", str(bill), **environment)
        assert words.returncode == 1
        assert "2 jobs on both sides, 4 differences" in words.stdout
        bill.write_text("job_id,amount\n")
        assert imsgw("reconcile", str(bill), **environment).returncode == 78
