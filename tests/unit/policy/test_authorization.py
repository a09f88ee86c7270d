"""Who acts for which tenant, and what a denied caller is told."""

import pytest

from ims_gateway.errors import NotAuthenticated, PolicyDenied
from ims_gateway.identity.principal import Principal
from ims_gateway.policy.authorization import Authorization, denial
from ims_gateway.policy.decision import Dimension
from ims_gateway.policy.grant import Grant
from imsgateway.v1 import job_pb2
from tests.calls import a_call
from tests.tenants import a_tenant, directory_of

CALLER = Principal("principal/farm", "acme", ("editor",))
GRANTS = (
    Grant(
        "acme.yaml#grants[0]",
        "role/editor",
        ("submit", "get"),
        algorithms=("video_green_screen_matting",),
        read=("oss://acme-in/*", "media:*"),
        write=("oss://acme-out/*",),
        priority=(1, 5),
    ),
    Grant(
        "acme.yaml#grants[1]",
        "role/editor",
        ("submit",),
        read=("oss://acme-in/secret/*",),
        effect="deny",
    ),
)


def tenant(name="acme", grants=GRANTS):
    """Return a tenant with one caller."""
    return a_tenant(name, roles={"principal/farm": ("role/editor",)}, grants=grants)


@pytest.fixture
def authorization():
    """Return what decides for two tenants."""
    directory = directory_of(tenant(name) for name in ("acme", "globex"))
    return Authorization(lambda: directory)


def matting(read="oss://acme-in/a.mp4", background="oss://acme-in/b.png", **members):
    """Return a job that reads two objects and writes one."""
    return job_pb2.Job(
        video_green_screen_matting={
            "input": {"oss_uri": read},
            "output": {"uri": "oss://acme-out/c.mp4"},
            "background_image_uri": background,
        },
        **members,
    )


@pytest.mark.parametrize("parent", ["", "tenants/acme"])
def test_a_caller_acts_for_its_own_tenant(authorization, parent):
    """Whether it names the tenant or not."""
    call = a_call(principal=CALLER)
    assert authorization.tenant(call, parent).name == "acme"
    assert call.tenant == "acme"


@pytest.mark.parametrize(
    "parent", ["tenants/globex", "tenants/nobody", "acme", "tenants/acme/", "TENANTS/ACME", " "]
)
def test_every_other_tenant_is_refused_alike(authorization, parent):
    """Whether it exists is not told, and what the caller sent is not repeated."""
    with pytest.raises(PolicyDenied) as raised:
        authorization.tenant(a_call(principal=CALLER), parent)

    assert raised.value.message == "principal/farm may not act for another tenant"
    assert raised.value.metadata == {"dimension": "SUBJECT"}


def test_a_caller_of_a_tenant_that_is_gone_is_nobody(authorization):
    """A principal outlives its tenant's file by nothing."""
    gone = Principal("principal/farm", "gone")
    with pytest.raises(NotAuthenticated):
        authorization.tenant(a_call(principal=gone), "tenants/gone")


def test_every_object_of_a_job_is_asked_about(authorization):
    """Input, parameters and output, each with what is done to it."""
    decision = authorization.submit(CALLER, tenant(), matting())

    assert decision.allowed
    assert sorted((each.access, each.object) for each in decision.objects) == [
        ("read", "oss://acme-in/a.mp4"),
        ("read", "oss://acme-in/b.png"),
        ("write", "oss://acme-out/c.mp4"),
    ]


@pytest.mark.parametrize(
    ("job", "dimension", "message"),
    [
        (
            matting(read="oss://other/a.mp4"),
            Dimension.READ,
            "principal/farm may not read oss://other/a.mp4",
        ),
        (
            matting(background="http://other.oss-cn-shanghai.aliyuncs.com/b.png"),
            Dimension.READ,
            "principal/farm may not read oss://other/b.png",
        ),
        (matting(priority=6), Dimension.CEILING, "principal/farm has no grant that fits: ceiling"),
        (
            matting(read="oss://acme-in/secret/a.mp4"),
            Dimension.DENY,
            "principal/farm is denied by acme.yaml#grants[1]",
        ),
        (
            job_pb2.Job(
                video_h2v={
                    "input": {"oss_uri": "oss://acme-in/a.mp4"},
                    "output": {"uri": "oss://acme-out/b.mp4"},
                }
            ),
            Dimension.ALGORITHM,
            "principal/farm has no grant that fits: algorithm",
        ),
    ],
)
def test_a_denied_caller_is_told_what_did_not_fit(authorization, job, dimension, message):
    """In words, and as the dimension in the error's metadata."""
    decision = authorization.submit(CALLER, tenant(), job)
    refusal = denial(CALLER, decision)

    assert decision.failed is dimension
    assert refusal.message == message
    assert refusal.metadata == {"dimension": dimension.name}


def test_an_output_that_may_not_be_written_is_named(authorization):
    """Reading and writing are granted apart."""
    job = matting()
    job.video_green_screen_matting.output.uri = "oss://acme-in/c.mp4"
    refusal = denial(CALLER, authorization.submit(CALLER, tenant(), job))

    assert refusal.message == "principal/farm may not write oss://acme-in/c.mp4"


@pytest.mark.parametrize(
    ("action", "algorithm", "dimension"),
    [
        ("get", "video_green_screen_matting", None),
        ("get", "cover", Dimension.ALGORITHM),
        ("cancel", "video_green_screen_matting", Dimension.ACTION),
    ],
)
def test_calls_after_the_submit_need_a_grant_for_the_action(
    authorization, action, algorithm, dimension
):
    """They touch no object, so no pattern for objects stands in their way."""
    decision = authorization.follow(CALLER, tenant(), action, algorithm)

    assert decision.failed is dimension
    assert decision.allowed == (dimension is None)


def test_a_tenant_s_policy_does_not_reach_into_another():
    """The same principal's name in two tenants is two principals."""
    other = tenant("globex", grants=(Grant("r", "principal/nobody", ("get",)),))
    directory = directory_of([tenant(), other])
    stranger = Principal("principal/farm", "globex", ("editor",))
    decision = Authorization(lambda: directory).submit(stranger, other, matting())

    assert decision.failed is Dimension.SUBJECT
