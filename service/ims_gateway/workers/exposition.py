"""The Prometheus port of several workers: what each of them counts, told apart by a label.

Nothing is added up: a rate of the sum is the sum of the rates, and a worker that starts anew would
look like a reset of all. One that does not answer in time is left out of a scrape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from ims_gateway.telemetry import prometheus
from ims_gateway.telemetry.conventions import WORKER
from ims_gateway.telemetry.instruments import WORKER_RESTARTS


class Workers(Protocol):
    """Where metrics come from."""

    @property
    def restarts(self) -> Mapping[int, int]:
        """How often each worker had a successor."""

    async def scrape(self) -> Mapping[str, str]:
        """Return each worker's metrics, in the OpenMetrics format."""


@contextmanager
def serving_metrics(address: str, workers: Workers) -> Iterator[None]:
    """Keep the port open, on "host:port". Raises PortTaken."""
    registry = CollectorRegistry()
    registry.register(_Merged(workers, asyncio.get_running_loop()))
    with prometheus.shown(registry, address):
        yield


class _Merged(Collector):
    """Collects in a thread of the port's; workers are asked in the event loop."""

    def __init__(self, workers: Workers, loop: asyncio.AbstractEventLoop) -> None:
        self._workers = workers
        self._loop = loop

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: nobody is to be asked for that."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield what all workers count."""
        texts = asyncio.run_coroutine_threadsafe(self._workers.scrape(), self._loop).result()
        yield from merged(texts)
        name = WORKER_RESTARTS.name.replace(".", "_")
        restarts = CounterMetricFamily(name, WORKER_RESTARTS.description, labels=[WORKER])
        for number, count in self._workers.restarts.items():
            restarts.add_metric([str(number)], count)
        yield restarts


def merged(texts: Mapping[str, str]) -> list[Metric]:
    """Return the families of all texts, each once, with every sample labelled by its worker."""
    families: dict[str, Metric] = {}
    for worker, text in texts.items():
        for found in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            family = families.setdefault(
                found.name, Metric(found.name, found.documentation, found.type, found.unit)
            )
            family.samples += [
                sample._replace(labels={**sample.labels, WORKER: worker})
                for sample in found.samples
            ]
    return list(families.values())
