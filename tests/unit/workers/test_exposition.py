"""The metrics of several workers as one exposition."""

import asyncio
import urllib.request
from contextlib import closing

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ims_gateway.workers.exposition import merged, serving_metrics
from tests.ports import free_port


def text_of_a_worker(calls: int) -> str:
    """Return what a worker exposes, an exemplar and a label that needs care included."""
    registry = CollectorRegistry()
    labelled = Counter("calls", "Calls.", ["method"], registry=registry)
    labelled.labels('a "method"\n').inc(calls)
    Gauge("jobs", "Jobs.", registry=registry).set(7)
    histogram = Histogram("call_seconds", "Seconds.", buckets=(1, 2), registry=registry)
    histogram.observe(1.5, {"trace_id": f"trace{calls}"})
    return generate_latest(registry).decode()


def test_every_sample_says_whose_it_is():
    """Of each family there is one, and nothing is added up."""
    families = {
        family.name: family
        for family in merged({"0": text_of_a_worker(1), "1": text_of_a_worker(2)})
    }

    totals = [sample for sample in families["calls"].samples if sample.name == "calls_total"]
    assert [(sample.labels, sample.value) for sample in totals] == [
        ({"method": 'a "method"\n', "worker": "0"}, 1),
        ({"method": 'a "method"\n', "worker": "1"}, 2),
    ]
    assert [sample.value for sample in families["jobs"].samples] == [7, 7]
    assert families["call_seconds"].type == "histogram"


def test_exemplars_are_kept():
    """From there a dashboard gets to the trace."""
    samples = [
        sample
        for family in merged({"0": text_of_a_worker(1), "1": text_of_a_worker(2)})
        for sample in family.samples
        if sample.exemplar
    ]

    assert [sample.exemplar.labels["trace_id"] for sample in samples] == ["trace1", "trace2"]


class Workers:
    """Two workers, of which one does not answer."""

    def __init__(self):
        self.restarts = {0: 0, 1: 3}

    async def scrape(self):
        """Return the metrics of the other one."""
        return {"0": text_of_a_worker(1)}


async def test_the_port_shows_who_answers_and_how_often_workers_were_replaced():
    """In the old format and in the new one."""
    address = f"127.0.0.1:{free_port()}"
    with serving_metrics(address, Workers()):
        plain = await asyncio.to_thread(scraped, address, "text/plain")
        new = await asyncio.to_thread(scraped, address, "application/openmetrics-text")

    assert 'imsgateway_worker_restarts_total{worker="1"} 3.0' in plain.splitlines()
    assert 'jobs{worker="0"} 7.0' in plain.splitlines()
    assert 'trace_id="trace1"' in new
    assert [family.name for family in text_string_to_metric_families(new)][-1] == (
        "imsgateway_worker_restarts"
    )


def scraped(address: str, accept: str) -> str:
    """Return what the port says."""
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with closing(urllib.request.urlopen(request, timeout=30)) as answer:  # noqa: S310 - our own port
        return answer.read().decode()
