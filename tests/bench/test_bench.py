"""The bench's own arithmetic, its stand-in for the service, and its watch over processes."""

import asyncio
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.bench.children import BenchError, child
from tests.bench.contestants import Turn
from tests.bench.figures import compare
from tests.bench.load import Order, Outcome, closed_loop, closed_loop_in_threads, percentile
from tests.bench.upstream import Connection, Submits

SUBMIT = b"POST /?Name=x HTTP/1.1\r\nHost: a\r\nx-acs-action: SubmitIProductionJob\r\n"


def turn(contestant, rate, alone_ms=1.0, idle_mb=80.0):
    """Return a turn of one second."""
    outcome = Outcome(rate, 0, "", 1.0, p50_ms=10.0, p99_ms=20.0)
    alone = replace(outcome, p50_ms=alone_ms)
    return Turn(contestant, outcome, 1e6 / rate, {"others": 0.0}, alone, idle_mb)


def results(*gateways):
    """Return the comparisons by name; each baseline is the same in all rounds."""
    others = [turn("floor", 1000), turn("sdk sync", 500), turn("sdk async", 20)]
    return {entry.name: entry for entry in compare([*gateways, *others])}


def test_percentiles_are_values_that_occurred():
    """Nearest rank: of 100 values the 99th percentile is the 99th."""
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50.0, 99.0)
    assert (percentile([7.0], 0.99), percentile([], 0.5)) == (7.0, 0.0)


def test_comparison_takes_the_median_of_the_rounds():
    """One slow and one fast round decide nothing."""
    found = results(turn("gateway", 600), turn("gateway", 1), turn("gateway", 9000))
    entry = found["throughput vs floor"]
    assert (entry.gateway, entry.baseline, entry.ratio, entry.met) == (600, 1000, 0.6, True)


@pytest.mark.parametrize(
    ("gateway", "missed"),
    [
        (turn("gateway", 600, alone_ms=4.0, idle_mb=120.0), set()),
        (turn("gateway", 599), {"throughput vs floor"}),
        (turn("gateway", 499), {"throughput vs floor", "throughput vs SDK sync 16 threads"}),
        (turn("gateway", 600, alone_ms=4.1), {"median latency added, ms"}),
        (turn("gateway", 600, idle_mb=120.1), {"idle worker RSS MB"}),
    ],
)
def test_goal_is_met_up_to_its_bound(gateway, missed):
    """Throughput is a ratio, latency a difference, memory the gateway's own."""
    assert {entry.name for entry in results(gateway).values() if entry.met is False} == missed


async def test_closed_loop_keeps_its_calls_in_flight_and_counts_failures():
    """As many calls run at once as were ordered; each is good or failed."""
    running, seen, made = 0, [], 0

    async def call():
        nonlocal running, made
        running += 1
        seen.append(running)
        await asyncio.sleep(0)
        running -= 1
        made += 1
        if made % 2:
            raise ValueError("odd")

    outcome = await closed_loop(call, Order(in_flight=4, seconds=0.02))
    assert max(seen) == 4
    assert (outcome.jobs + outcome.failed, outcome.first_failure) == (made, "ValueError: odd")


def test_closed_loop_in_threads_counts_failures():
    """A call that raises ends neither its thread nor the loop."""

    def call():
        raise ConnectionError("gone")

    outcome = closed_loop_in_threads(call, Order(in_flight=2, seconds=0.02))
    assert (outcome.jobs, outcome.first_failure) == (0, "ConnectionError: gone")
    assert outcome.failed > 1


@asynccontextmanager
async def connection(submits):
    """Serve one connection of the upstream, without TLS."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(submits), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()
        await writer.wait_closed()


async def test_upstream_answers_requests_however_they_are_cut():
    """A head in pieces, a body that comes late, and two requests at once are three submits."""
    submits = Submits()
    async with connection(submits) as (reader, writer):
        for piece in (SUBMIT[:30], SUBMIT[30:] + b"content-length: 3\r\n\r\na", b"bc"):
            assert submits.count == 0
            writer.write(piece)
            await writer.drain()
        first = await reader.readuntil(b"}")
        writer.write((SUBMIT + b"\r\n") * 2)
        second, third = await reader.readuntil(b"}"), await reader.readuntil(b"}")
    assert submits.count == 3
    assert b"JobId" in first
    assert len({first, second, third}) == 3


async def test_upstream_takes_no_other_action():
    """What is no submit is neither counted nor answered as one."""
    submits = Submits()
    async with connection(submits) as (reader, writer):
        writer.write(SUBMIT.replace(b"Submit", b"Query") + b"\r\n")
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert submits.count == 0


async def test_child_that_ends_early_is_a_failure_with_its_last_words():
    """The message says what the process printed."""
    with pytest.raises(BenchError, match="has ended early\nno such thing"):
        async with child("part", sys.executable, "-c", "print('no such thing')") as process:
            await process.hear("port")


async def test_child_that_ends_badly_is_a_failure():
    """An exit code is not overlooked even though the child did what it was asked."""
    program = "import sys; print('{\"port\": 1}', flush=True); sys.stdin.read(); sys.exit(3)"
    with pytest.raises(BenchError, match="part: has ended with 3"):
        async with child("part", sys.executable, "-c", program) as process:
            assert (await process.hear("port"))["port"] == 1
