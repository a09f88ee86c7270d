"""What an instrument shows, and which labels it may have."""

import pytest
from google.rpc import code_pb2
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from ims_gateway.identity.principal import Principal
from ims_gateway.telemetry import instruments
from ims_gateway.telemetry.instruments import INSTRUMENTS
from ims_gateway.telemetry.labels import NOBODY, OTHER, TenantLabels
from ims_gateway.telemetry.metering import Metering
from imsgateway.v1 import job_service_pb2
from tests.calls import SUBMIT, a_call

SERVICES = tuple(
    service.full_name for service in job_service_pb2.DESCRIPTOR.services_by_name.values()
)


def samples(metering, name):
    """Return the samples of a name."""
    return [
        sample
        for family in metering.registry.collect()
        for sample in family.samples
        if sample.name == name
    ]


@pytest.fixture
def metering():
    """Return the instruments of a gateway with three tenants that are told apart."""
    return Metering(SERVICES, 3)


def test_the_list_has_every_instrument_once():
    """One that is declared and not listed would be shown by no table and held by no test."""
    declared = {
        value for value in vars(instruments).values() if isinstance(value, instruments.Instrument)
    }
    assert set(INSTRUMENTS) == declared
    assert len({each.name for each in INSTRUMENTS}) == len(INSTRUMENTS)


def test_first_tenants_keep_their_names():
    """Also when others have come meanwhile, and nobody's calls take no place."""
    labels = TenantLabels(2)
    names = ("", "b", "a", "c", "b", "d", "a")
    assert [labels.of(name) for name in names] == [NOBODY, "b", "a", OTHER, "b", OTHER, "a"]
    assert labels.own == ("b", "a")


def test_calls_of_100_000_tenants_make_four_series(metering):
    """Three of their own, and one for the rest."""
    for number in range(100_000):
        metering.calls.ended(a_call(tenant=f"t{number}", index=0))
    shown = samples(metering, "imsgateway_decisions_total")
    assert {sample.labels["imsgateway_tenant"]: sample.value for sample in shown} == {
        "t0": 1,
        "t1": 1,
        "t2": 1,
        OTHER: 99_997,
    }


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        (SUBMIT, SUBMIT),
        ("imsgateway.v1.JobService/Nope", "_OTHER"),
        ("x" * 10_000, "_OTHER"),
        ("", "_OTHER"),
    ],
)
def test_only_methods_that_there_are_become_labels(metering, method, shown):
    """A caller chooses the name of a method."""
    metering.calls.ended(a_call(method=method))
    (sample,) = samples(metering, "rpc_server_call_duration_seconds_count")
    assert sample.labels["rpc_method"] == shown


@pytest.mark.parametrize(
    ("members", "tenant", "reason"),
    [
        ({}, NOBODY, "NONE"),
        ({"principal": Principal("principal/p", "acme")}, "acme", "NONE"),
        ({"principal": Principal("principal/p", "acme"), "tenant": "globex"}, "globex", "NONE"),
        ({"principal": Principal("principal/op", "", operator=True)}, NOBODY, "NONE"),
        ({"code": code_pb2.PERMISSION_DENIED, "reason": "POLICY_DENIED"}, NOBODY, "POLICY_DENIED"),
        ({"code": code_pb2.CANCELLED}, NOBODY, "CANCELLED"),
        ({"code": code_pb2.DEADLINE_EXCEEDED}, NOBODY, "DEADLINE_EXCEEDED"),
    ],
)
def test_decision_counts_for_whom_the_caller_acts(metering, members, tenant, reason):
    """And one that nobody waited for any more did not go well."""
    metering.calls.ended(a_call(**members))
    (sample,) = samples(metering, "imsgateway_decisions_total")
    assert sample.labels == {"imsgateway_tenant": tenant, "imsgateway_reason": reason}


def test_item_of_a_stream_is_a_decision_and_no_rpc(metering):
    """Its stream is counted once, however many items it has."""
    metering.calls.ended(a_call(index=3))
    assert len(samples(metering, "imsgateway_decisions_total")) == 1
    assert samples(metering, "rpc_server_call_duration_seconds_count") == []


@pytest.mark.parametrize(("sampler", "shown"), [(ALWAYS_ON, 1), (ALWAYS_OFF, 0)])
def test_only_a_sampled_call_is_an_exemplar(metering, sampler, shown):
    """Its bucket names trace and span; one scrape shows it, the next has newer ones."""
    span = TracerProvider(sampler=sampler).get_tracer("test").start_span("call")
    call = a_call(span=span, context=trace.set_span_in_context(span), duration_us=3_000)
    metering.calls.ended(call)
    for expected in (shown, 0):
        buckets = samples(metering, "rpc_server_call_duration_seconds_bucket")
        found = [bucket for bucket in buckets if bucket.exemplar]
        assert len(found) == expected
        for bucket in found:
            assert bucket.labels["le"] == "0.005"
            assert bucket.exemplar.value == 0.003
            assert int(bucket.exemplar.labels["trace_id"], 16) == span.get_span_context().trace_id


def test_buckets_count_what_is_below_them(metering):
    """As Prometheus has it, and the last one counts all."""
    for duration_us in (500, 3_000, 3_000, 120_000_000):
        metering.calls.ended(a_call(duration_us=duration_us))
    shown = samples(metering, "rpc_server_call_duration_seconds_bucket")
    counts = {sample.labels["le"]: sample.value for sample in shown}
    assert (counts["0.001"], counts["0.0025"], counts["0.005"]) == (1, 1, 3)
    assert (counts["60.0"], counts["+Inf"]) == (3, 4)


def test_more_series_than_the_sdk_takes_by_itself_are_all_shown():
    """It would lump together what is beyond 2,000, under a label of its own."""
    metering = Metering(SERVICES, 5_000)
    for number in range(2_500):
        metering.calls.ended(a_call(tenant=f"t{number}", index=0))
    assert len(samples(metering, "imsgateway_decisions_total")) == 2_500
