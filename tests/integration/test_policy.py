"""Who may do what, over the whole path: roles, guests, explanations, policies on trial."""

from __future__ import annotations

import json

import grpc
import pytest
import yaml

from ims_gateway.policy.replay import replay
from ims_gateway.tenancy.loading import load
from imsgateway.v1 import access_service_pb2 as access_pb
from imsgateway.v1 import decision_pb2, job_service_pb2
from tests.integration.world import cover, refused

Dimension = decision_pb2.Decision.Dimension
GUEST = "tenants/globex/principals/robot"


def put_platform(folder, **members):
    """Write grants.yaml."""
    (folder / "grants.yaml").write_text(yaml.safe_dump(members), encoding="utf-8")


def grant(subject, *, actions=("*",), read=(), write=(), **members):
    """Return a grant as files say it."""
    return {
        "subject": subject,
        "actions": list(actions),
        "read": list(read),
        "write": list(write),
        **members,
    }


def shadow_differences(world, outcome):
    """Return how often policies on trial have differed so."""
    labels = {"imsgateway_policy_shadow_outcome": outcome}
    name = "imsgateway_policy_shadow_differences_total"
    found = [
        sample.value
        for metric in world.gateway.metrics.collect()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


async def test_an_explanation_names_what_comes_closest_and_sends_nothing(world):
    """For each object; `validate_only` says the same."""
    job = cover("oss://other/in.mp4")
    decision = await world.acme.explain(job)
    request = job_service_pb2.SubmitJobRequest(job=job, validate_only=True)
    preview = await world.acme.jobs.SubmitJob(request)

    read, write = decision.objects
    assert (read.allowed, write.allowed) == (False, True)
    assert [(near.rule, [*near.failed_dimensions]) for near in read.nearest_grants] == [
        ("acme.yaml#grants[0]", [decision_pb2.Decision.DIMENSION_READ])
    ]
    assert not write.nearest_grants
    assert preview.decision.objects == decision.objects
    assert decision.ByteSize() < 1000
    assert world.sent == 0


async def test_an_explanation_stays_small_however_many_grants_there_are(make_world):
    """A few grants are named, the best first."""
    grants = [grant(f"role/r{number}", read=["oss://x/*"]) for number in range(300)]
    grants.append(grant("role/editor", read=["oss://acme-media/*"], write=["oss://x/*"]))
    async with make_world(acme={"grants": grants}) as world:
        decision = await world.acme.explain(cover())

    assert [len(found.nearest_grants) for found in decision.objects] == [0, 3]
    assert decision.objects[1].nearest_grants[0].rule == "acme.yaml#grants[300]"
    assert decision.ByteSize() < 1000


async def test_roles_of_tenant_and_platform_include_each_other(make_world, tmp_path):
    """A principal has a role of the platform by a role of its tenant."""
    put_platform(
        tmp_path,
        roles={"media-user": ["reader"]},
        grants=[
            grant("role/reader", actions=["submit", "get"], read=["oss://{tenant}-media/*"]),
            grant("role/media-user", actions=["submit"], write=["oss://{tenant}-media/out/*"]),
        ],
    )
    own = [grant("role/nobody", actions=["get"])]
    async with make_world(acme={"grants": own, "roles": {"editor": ["media-user"]}}) as world:
        job = await world.acme.submit(cover())
        assert (await world.acme.get(job.name)).name == job.name
        answer = await refused(
            world.acme.jobs.SubmitJob(
                job_service_pb2.SubmitJobRequest(job=cover("oss://globex-media/in.mp4"))
            )
        )
        assert answer.metadata["dimension"] == "READ"
        rules = {found.rule for found in (await world.acme.explain(cover())).objects}

    assert rules == {"grants.yaml#grants[0]", "grants.yaml#grants[1]"}


async def test_a_deny_of_the_platform_wins_in_every_tenant(make_world, tmp_path):
    """Whatever a tenant's file allows."""
    put_platform(tmp_path, grants=[grant("role/editor", read=["oss://*/embargo/*"], effect="deny")])
    async with make_world() as world:
        for name, client in world.clients.items():
            request = job_service_pb2.SubmitJobRequest(job=cover(f"oss://{name}-media/embargo/a"))
            answer = await refused(client.jobs.SubmitJob(request))
            assert answer.code is grpc.StatusCode.PERMISSION_DENIED
            assert answer.metadata["dimension"] == "DENY"
            assert "grants.yaml#grants[0]" in answer.message


async def test_a_tenant_s_file_takes_no_role_of_the_platform_apart(make_world, tmp_path):
    """With what a role includes, a deny would go."""
    deny = grant("role/bound", read=["oss://*/embargo/*"], effect="deny")
    put_platform(tmp_path, roles={"editor": ["bound"]}, grants=[deny])
    async with make_world(acme={"roles": {"editor": ["other"], "other": []}}) as world:
        decision = await world.acme.explain(cover("oss://acme-media/embargo/a"))

    assert decision.failed_dimension == decision_pb2.Decision.DIMENSION_DENY


async def test_a_guest_acts_for_another_tenant_as_far_as_its_grants_go(make_world):
    """It is known there by its full name, and is shown no rules but its own."""
    guest = grant(
        GUEST,
        actions=["submit", "get"],
        read=["oss://acme-media/shared/*"],
        write=["oss://acme-media/out/*"],
    )
    own = grant("role/editor", read=["oss://acme-media/*"], write=["oss://acme-media/*"])
    async with make_world(acme={"grants": [own, guest]}) as world:
        job = await world.globex.submit(cover("oss://acme-media/shared/a"), parent="tenants/acme")
        assert job.name.startswith("tenants/acme/jobs/")
        assert job.principal == GUEST
        assert (await world.globex.get(job.name)).name == job.name

        private = cover("oss://acme-media/in.mp4")
        decision = await world.globex.explain(private, parent="tenants/acme")
        assert [near.rule for near in decision.objects[0].nearest_grants] == ["acme.yaml#grants[1]"]
        found = await world.globex.list_algorithms(parent="tenants/acme")
        assert [rule.subject for rule in found.rules] == [GUEST]

        cancel = job_service_pb2.CancelJobRequest(name=job.name)
        assert (await refused(world.globex.jobs.CancelJob(cancel))).metadata[
            "dimension"
        ] == "ACTION"
        stranger = job_service_pb2.SubmitJobRequest(job=cover(), parent="tenants/globex")
        assert (await refused(world.acme.jobs.SubmitJob(stranger))).metadata["dimension"] == (
            "SUBJECT"
        )


async def test_the_algorithms_are_listed_with_what_the_caller_may_do(make_world):
    """All fifteen, and each rule once; prices where there are any."""
    grants = [
        grant(
            "role/editor",
            actions=["submit"],
            read=["oss://acme-media/*"],
            write=["oss://acme-media/out/*"],
            algorithms=["cover", "video_*"],
            ceilings={"priority": [3, 6], "templates": ["-"]},
        ),
        grant("principal/robot", read=["*"], algorithms=["video_h2v"], effect="deny"),
        grant("role/others", read=["*"], write=["*"]),
    ]
    prices = {"currency": "CNY", "prices": [{"algorithm": "*", "micros": 7}]}
    async with make_world(acme={"grants": grants}, prices=prices) as world:
        found = await world.acme.access.ListAlgorithms(access_pb.ListAlgorithmsRequest())

    [price] = found.algorithms[0].prices
    assert (price.model, price.currency, price.flat_micros) == ("", "CNY", 7)
    assert len(found.algorithms) == 15
    by_name = {one.algorithm: one for one in found.algorithms}
    assert (by_name["cover"].allowed, by_name["cover"].function_name) == (True, "Cover")
    assert (by_name["video_h2v"].allowed, [*by_name["video_h2v"].rules]) == (
        False,
        ["acme.yaml#grants[0]", "acme.yaml#grants[1]"],
    )
    assert not by_name["speech_denoise"].allowed
    allow, deny = found.rules
    assert (allow.subject, [*allow.read], [*allow.write]) == (
        "role/editor",
        ["oss://acme-media/*"],
        ["oss://acme-media/out/*"],
    )
    assert (allow.min_priority, allow.max_priority, [*allow.templates]) == (3, 6, ["-"])
    assert deny.effect == access_pb.ListAlgorithmsResponse.Rule.EFFECT_DENY


async def test_the_algorithms_are_listed_with_the_platform_s_prices(make_world, tmp_path):
    """The one for every model first, then those of single models."""
    prices = [
        {"algorithm": "*", "micros": 5},
        {"algorithm": "video_detext", "micros": 100_000, "micros_per_minute": 20_000},
        {"algorithm": "video_detext", "model": "algo-video-detext-new", "micros": 300_000},
    ]
    (tmp_path / "prices.yaml").write_text(
        yaml.safe_dump({"currency": "CNY", "prices": prices}), encoding="utf-8"
    )
    async with make_world() as world:
        found = await world.acme.list_algorithms()

    by_name = {one.algorithm: one.prices for one in found.algorithms}
    assert [
        (p.model, p.currency, p.flat_micros, p.micros_per_minute) for p in by_name["cover"]
    ] == [("", "CNY", 5, 0)]
    assert [(p.model, p.flat_micros, p.micros_per_minute) for p in by_name["video_detext"]] == [
        ("", 100_000, 20_000),
        ("algo-video-detext-new", 300_000, 0),
    ]


async def test_another_tenant_s_algorithms_are_nobody_s_business(world):
    """Whether the tenant exists or not."""
    for parent in ("tenants/globex", "tenants/nobody"):
        request = access_pb.ListAlgorithmsRequest(parent=parent)
        answer = await refused(world.acme.access.ListAlgorithms(request))
        assert answer.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_policy_on_trial_is_recorded_and_counted_and_changes_nothing(make_world):
    """Single submits, items of a stream, and what follows; only where it differs."""
    on_trial = [
        grant(
            "role/editor", actions=["submit", "list"], read=["oss://acme-media/new/*"], write=["*"]
        )
    ]
    async with make_world(acme={"shadow_grants": on_trial}) as world:
        job = await world.acme.submit(cover())
        await world.acme.submit(cover("oss://acme-media/new/in.mp4"))
        results = [found async for found in world.acme.submit_many([cover()])]
        await world.acme.get(job.name)
        assert [found async for found in world.acme.list()]
        records = [record for record in world.records if "policy" in record]
        counted = shadow_differences(world, "denies")

    assert len(results) == 1
    shadows = [record["policy"].get("shadow") for record in records]
    submit_denied = {"allowed": False, "dimension": "READ", "rule": ""}
    assert shadows == [
        submit_denied,
        None,
        submit_denied,
        {"allowed": False, "dimension": "ACTION", "rule": ""},
        None,
    ]
    assert all(record["policy"]["allowed"] for record in records)
    assert counted == 3


async def test_a_platform_s_policy_on_trial_is_asked_in_every_tenant(make_world, tmp_path):
    """It takes the place of the platform's grants, beside the tenant's own."""
    put_platform(
        tmp_path,
        shadow_grants=[grant("role/editor", actions=["submit"], read=["*"], effect="deny")],
    )
    async with make_world() as world:
        for name, client in world.clients.items():
            await client.submit(cover(f"oss://{name}-media/in.mp4"))
        shadows = [record["policy"]["shadow"] for record in world.records]

    assert [shadow["rule"] for shadow in shadows] == ["grants.yaml#shadow_grants[0]"] * 2


@pytest.mark.parametrize("name", ["acme", "globex"])
async def test_a_record_holds_all_that_the_policy_was_asked(world, name):
    """And nothing of the caller's own data."""
    secret = "what the caller keeps to itself"
    await world.clients[name].submit(
        cover(f"oss://{name}-media/in.mp4", priority=7, user_data=secret, template_id="t-1")
    )
    policy = world.records[-1]["policy"]

    assert {key: policy[key] for key in ("subject", "action", "algorithm", "priority")} == {
        "subject": "principal/robot",
        "action": "submit",
        "algorithm": "cover",
        "priority": 7,
    }
    assert (policy["model"], policy["pipeline"], policy["template"]) == ("", "", "t-1")
    assert [found["access"] for found in policy["objects"]] == ["read", "write"]
    assert secret not in str(world.records)


async def test_what_is_on_record_can_be_asked_anew_of_a_changed_policy(world, tmp_path):
    """`imsgw policy diff` needs nothing but the log and the files."""
    await world.acme.submit(cover())
    await refused(
        world.acme.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(job=cover("oss://other/a")))
    )
    await refused(world.acme.jobs.SubmitJob(job_service_pb2.SubmitJobRequest()))
    lines = [json.dumps(record) for record in world.records]
    before = load(tmp_path).directory
    file = tmp_path / "tenants" / "acme.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["grants"][0]["read"] = ["oss://other/*"]
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    found = replay(lines, before, load(tmp_path).directory)

    assert (found.asked, found.without_question, found.unreadable) == (2, 1, 0)
    assert sorted(group.after.allowed for group in found.changes) == [False, True]
