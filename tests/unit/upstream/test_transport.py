import asyncio
import traceback

import aiohttp
import httpx
import httpx_aiohttp
import httpx_aiohttp.transport
import pytest

from ims_gateway.upstream.errors import NotSent, OutcomeUnknown
from ims_gateway.upstream.transport import FROM_AIOHTTP, MAX_REPLY_BYTES, OUTCOMES, outcome_of

# Classes that only group others.
GROUPS = {
    httpx.HTTPError,
    httpx.RequestError,
    httpx.TransportError,
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.ProtocolError,
}
NEVER_RAISED = {httpx.CookieConflict}
# What cannot happen to a request with no body and no redirect.
AIOHTTP_REST = {aiohttp.ClientError, aiohttp.RedirectClientError, aiohttp.UploadAbortedError}


def subclasses(parent):
    """Every class below a class, and the class itself."""
    return {parent}.union(*(subclasses(child) for child in parent.__subclasses__()))


def row(table, exception):
    """Return the class of the first row that fits, as the code finds it."""
    return next((listed for listed, _ in table if issubclass(exception, listed)), None)


def test_every_exception_of_httpx_is_classified():
    """One that a new httpx brings fails here until somebody has thought about it."""
    exceptions = {
        member
        for name in httpx.__all__
        if isinstance(member := getattr(httpx, name), type) and issubclass(member, Exception)
    }
    assert len(exceptions) > 20
    thought_about = {exception for exception, _ in OUTCOMES} - {httpx.HTTPError}
    unclassified = {one for one in exceptions if row(OUTCOMES, one) not in thought_about}
    assert unclassified == GROUPS | NEVER_RAISED


@pytest.mark.parametrize(
    "group",
    sorted(GROUPS - {httpx.HTTPError}, key=lambda group: group.__name__),
    ids=lambda group: group.__name__,
)
def test_a_group_of_httpx_exceptions_is_unknown(group):
    """An exception that says no more than its group cannot promise that nothing was sent."""
    assert outcome_of(group("?")) is OutcomeUnknown


def test_every_exception_of_aiohttp_is_translated():
    """One that a new aiohttp brings fails here until somebody has thought about it."""
    exceptions = {one for one in subclasses(aiohttp.ClientError) if "aiohttp" in one.__module__}
    exceptions |= set(httpx_aiohttp.transport.AIOHTTP_EXC_MAP)
    assert len(exceptions) > 25
    rest = {one for one in exceptions if row(FROM_AIOHTTP, one) is aiohttp.ClientError}
    assert rest - {aiohttp.InvalidURL} == AIOHTTP_REST


def test_only_a_search_for_a_connection_counts_as_not_sent():
    """Whatever else aiohttp raises may have happened after the request was out."""
    harmless = {
        exception
        for exception, translation in FROM_AIOHTTP
        if issubclass(outcome_of(translation("?")), NotSent)
    }
    assert harmless == {
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
        aiohttp.NonHttpUrlClientError,
    }


async def test_stock_transport_takes_a_reset_for_a_connection_that_never_was(wire):
    """Why there is a transport of our own: this request was read in full by the server."""

    async def reset(exchange):
        await exchange.head()
        exchange.reset()

    async with wire(reset) as server, httpx_aiohttp.HttpxAiohttpClient() as stock:
        with pytest.raises(httpx.ConnectTimeout):
            await stock.post(f"http://{server.endpoint}/")
        assert len(server.heads) == 1


async def test_no_exception_shows_the_query(wire, client):
    """Neither the error nor anything that a traceback prints holds a parameter or a signature."""

    async def garbage(exchange):
        await exchange.head()
        await exchange.write(b"not http at all\r\n\r\n")

    parameters = {"UserData": "private-words"}
    async with wire(garbage) as server, client(server) as upstream:
        with pytest.raises(OutcomeUnknown) as raised:
            await upstream.submit(parameters)
    shown = "".join(traceback.format_exception(raised.value))
    assert "private-words" not in shown
    assert "Signature=" not in shown
    assert "private-words" in server.heads[0]


async def test_httpx_logs_no_query(wire, client, caplog):
    """The line that httpx logs for each call has the endpoint in it and no more."""

    async def accept(exchange):
        await exchange.head()
        await exchange.answer({"JobId": "j1"})

    caplog.set_level("DEBUG")
    async with wire(accept) as server, client(server) as upstream:
        await upstream.submit({"UserData": "private-words"})
    assert "private-words" not in caplog.text
    assert "Signature" not in caplog.text


async def test_an_endless_answer_is_cut_off(wire, client):
    """Memory stays bounded, and what was cut is no clear answer."""

    async def flood(exchange):
        await exchange.head()
        await exchange.write(b"HTTP/1.1 200 x\r\nContent-Length: 999999999\r\n\r\n")
        while True:
            await exchange.write(b"[" * 65536)

    async with wire(flood) as server, client(server) as upstream:
        with pytest.raises(OutcomeUnknown, match=str(MAX_REPLY_BYTES)):
            await upstream.submit({})


async def test_connection_that_spoke_unasked_is_not_used_again(wire, client):
    """A stray answer is never taken for the next call's: job ids stay with their own tenants."""
    first_is_answered, stray_is_out = asyncio.Event(), asyncio.Event()

    async def stray(exchange):
        while True:
            await exchange.head()
            number = len(exchange.wire.heads)
            await exchange.answer({"JobId": f"j{number}"})
            if number == 1:
                await first_is_answered.wait()
                await exchange.answer({"JobId": "stray"})
                stray_is_out.set()

    async with wire(stray) as server, client(server) as upstream, client(server) as other:
        assert (await upstream.submit({})).job_id == "j1"
        first_is_answered.set()
        await stray_is_out.wait()
        # A whole round trip later, the stray answer has arrived as well.
        assert (await other.submit({})).job_id == "j2"
        assert [(await upstream.submit({})).job_id for _ in range(3)] == ["j3", "j4", "j5"]
    assert server.connections == 3
