import asyncio
import gzip
import tracemalloc
from urllib.parse import parse_qsl

import pytest

from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import UpstreamClient
from ims_gateway.upstream.credentials import Credentials, CredentialsUnavailable
from ims_gateway.upstream.errors import (
    AccountRefused,
    NotSent,
    OutcomeUnknown,
    Refused,
    Throttled,
    UpstreamError,
)
from ims_gateway.upstream.signature import canonical_query, sign
from ims_gateway.upstream.transport import MAX_REPLY_BYTES

JOB = {
    "FunctionName": "Cover",
    "Input": '{"Type":"OSS","Media":"oss://bucket/视频 1.mp4"}',
    "Output": '{"Type":"OSS","Media":"oss://bucket/{source}-{sequenceId}.png"}',
    "UserData": "a+b&c=d%20*~",
}


async def accept(exchange):
    """Answer every call with a job of its own number."""
    while True:
        await exchange.head()
        await exchange.answer({"JobId": f"j{len(exchange.wire.heads)}", "RequestId": "r1"})


def once(act):
    """Read one request, then act."""

    async def behave(exchange):
        await exchange.head()
        await act(exchange)

    return behave


def answering(body, status=200, headers=""):
    """Read one request and answer it."""
    return once(lambda exchange: exchange.answer(body, status, headers))


def writing(data):
    """Read one request, write bytes, and close."""
    return once(lambda exchange: exchange.write(data))


async def reset_after_request(exchange):
    """Read the request, then reset."""
    await exchange.head()
    exchange.reset()


async def reset_at_once(exchange):
    """Reset before anything is read."""
    exchange.reset()


async def close_after_request(exchange):
    """Read the request, then close cleanly."""
    await exchange.head()


async def reset_in_the_answer(exchange):
    """Answer half, then reset."""
    await exchange.head()
    await exchange.write(b'HTTP/1.1 200 x\r\nContent-Length: 99\r\n\r\n{"JobId":"j1"')
    exchange.reset()


HTML = b"<html><h1>502 Bad Gateway</h1></html>"
BOMB = gzip.compress(bytes(100_000_000))
CHUNKED = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
MISBEHAVIOUR = {
    "reset at once": (reset_at_once, OutcomeUnknown),
    "reset after the request": (reset_after_request, OutcomeUnknown),
    "close after the request": (close_after_request, OutcomeUnknown),
    "half a status line": (writing(b"HTTP/1.1 2"), OutcomeUnknown),
    "half a head": (writing(b"HTTP/1.1 200 x\r\nContent-Le"), OutcomeUnknown),
    "half an answer": (
        writing(b'HTTP/1.1 200 x\r\nContent-Length: 99\r\n\r\n{"JobId":"j1"}'),
        OutcomeUnknown,
    ),
    "reset in the answer": (reset_in_the_answer, OutcomeUnknown),
    "half a chunk": (writing(CHUNKED + b'ff\r\n{"JobId":"j1"}'), OutcomeUnknown),
    "bad chunk": (writing(CHUNKED + b'zz\r\n{"JobId":"j1"}\r\n0\r\n\r\n'), OutcomeUnknown),
    "not HTTP": (writing(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), OutcomeUnknown),
    "bad compression": (
        answering(b"no gzip", headers="Content-Encoding: gzip\r\n"),
        OutcomeUnknown,
    ),
    "compressed zeros": (answering(BOMB, headers="Content-Encoding: gzip\r\n"), OutcomeUnknown),
    "twice compressed zeros": (
        answering(gzip.compress(BOMB), headers="Content-Encoding: gzip, gzip\r\n"),
        OutcomeUnknown,
    ),
    "half a compression": (
        answering(gzip.compress(b'{"JobId":"j1"}')[:-9], headers="Content-Encoding: gzip\r\n"),
        OutcomeUnknown,
    ),
    "oversized header": (
        writing(b"HTTP/1.1 200 x\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"),
        OutcomeUnknown,
    ),
    "HTML 502": (answering(HTML, 502), OutcomeUnknown),
    "HTML 200": (answering(HTML), OutcomeUnknown),
    "empty 200": (answering(b""), OutcomeUnknown),
    "200 without a job": (answering({"RequestId": "r1"}), OutcomeUnknown),
    "redirect": (answering(b"", 307, "Location: /elsewhere\r\n"), OutcomeUnknown),
    "bad redirect": (answering(b"", 302, "Location: http://[\r\n"), OutcomeUnknown),
    "401": (answering(b"", 401, "WWW-Authenticate: Basic\r\n"), OutcomeUnknown),
    "408": (answering(b"", 408), OutcomeUnknown),
    "429": (answering(b"", 429, "Retry-After: 1\r\n"), OutcomeUnknown),
    "internal error": (answering({"Code": "InternalError"}, 500), OutcomeUnknown),
    "unavailable": (answering({"Code": "ServiceUnavailable"}, 503), OutcomeUnknown),
    "nonce used": (answering({"Code": "SignatureNonceUsed"}, 400), OutcomeUnknown),
    "new code": (answering({"Code": "Brandnew"}, 400), OutcomeUnknown),
    "throttled": (answering({"Code": "Throttling.User"}, 400), Throttled),
    "refused": (answering({"Code": "InvalidParameter.Input"}, 400), Refused),
    "account refused": (answering({"Code": "Forbidden.RAM"}, 403), AccountRefused),
}


@pytest.mark.parametrize(("behaviour", "kind"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
async def test_a_bad_answer_has_its_kind_and_the_call_is_made_once(wire, client, behaviour, kind):
    """Each way to misbehave says one thing about the job, and none makes the client try again."""
    async with wire(behaviour) as server, client(server) as upstream:
        with pytest.raises(UpstreamError) as raised:
            await upstream.submit(JOB)
    assert type(raised.value) is kind
    assert server.connections == 1
    assert len(server.heads) <= 1


@pytest.mark.parametrize(
    "behaviour", [reset_after_request, close_after_request], ids=["reset", "close"]
)
async def test_a_submit_on_a_reused_connection_is_sent_once(wire, client, behaviour):
    """The connection that worked and then broke is where HTTP clients like to send again."""

    async def break_the_second(exchange):
        await exchange.head()
        await exchange.answer({"JobId": "j1"})
        await behaviour(exchange)

    async with wire(break_the_second) as server, client(server) as upstream:
        await upstream.submit(JOB)
        with pytest.raises(OutcomeUnknown):
            await upstream.submit(JOB)
    assert (server.connections, len(server.heads)) == (1, 2)


async def test_an_accepted_job_is_returned(wire, client):
    """The reply holds the facts that a span needs."""
    async with wire(accept) as server, client(server) as upstream:
        reply = await upstream.submit(JOB)
    assert (reply.job_id, reply.request_id, reply.http_status) == ("j1", "r1", 200)


async def test_query_and_cancel_name_their_job(wire, client):
    """Each is its own action with one parameter."""
    answer = {"Status": "Success", "Message": "cancelled", "RequestId": "r1"}

    async def tell(exchange):
        while True:
            await exchange.head()
            await exchange.answer(answer)

    async with wire(tell) as server, client(server) as upstream:
        assert await upstream.query("j/1") == answer
        assert (await upstream.cancel("j/1")).message == "cancelled"
    first, second = server.heads
    assert first.startswith("POST /?JobId=j%2F1 HTTP/1.1\r\n")
    assert "x-acs-action: QueryIProductionJob\r\n" in first
    assert "x-acs-action: CancelIProductionJob\r\n" in second


async def test_what_was_signed_is_what_is_sent(wire, client, credentials):
    """The request line carries the canonical query byte for byte, under the signed headers."""
    credentials.current = Credentials("STS.id", "secret", "token+/=")
    async with wire(accept) as server, client(server) as upstream:
        await upstream.submit(JOB)
    line, *lines = server.heads[0].rstrip().split("\r\n")
    assert line == f"POST /?{canonical_query(JOB)} HTTP/1.1"
    assert dict(parse_qsl(line.split()[1][2:], strict_parsing=True)) == JOB
    headers = dict(header.split(": ", 1) for header in lines)
    signed = sign(
        method="POST",
        host=server.endpoint,
        path="/",
        query=canonical_query(JOB),
        action="SubmitIProductionJob",
        version="2020-11-09",
        credentials=credentials.current,
        date=headers["x-acs-date"],
        nonce=headers["x-acs-signature-nonce"],
    )
    assert signed.items() <= headers.items()
    assert headers.keys() - signed.keys() == {
        "accept",
        "accept-encoding",
        "user-agent",
        "Content-Length",
    }


async def test_date_and_nonce_come_from_outside(wire, credentials):
    """The clock and the source of nonces are the caller's."""
    nonces = iter(["first", "second"])
    async with wire(accept) as server:
        account = Account("a", "cn-shanghai", credentials, endpoint=server.endpoint, scheme="http")
        client = UpstreamClient(account, clock=lambda: 1698315752.0, nonces=lambda: next(nonces))
        async with client:
            await client.submit(JOB)
            await client.submit(JOB)
    assert all("x-acs-date: 2023-10-26T10:22:32Z\r\n" in head for head in server.heads)
    assert "x-acs-signature-nonce: first\r\n" in server.heads[0]
    assert "x-acs-signature-nonce: second\r\n" in server.heads[1]


async def test_no_nonce_is_used_twice(wire, client):
    """The default source never repeats itself."""
    async with wire(accept) as server, client(server) as upstream:
        await asyncio.gather(*[upstream.submit(JOB) for _ in range(50)])
    nonces = [
        line
        for head in server.heads
        for line in head.split("\r\n")
        if line.startswith("x-acs-signature-nonce")
    ]
    assert len(nonces) == len(set(nonces)) == 50


async def test_a_rotated_key_signs_the_next_call(wire, client, credentials):
    """Every call takes the provider's newest snapshot."""
    async with wire(accept) as server, client(server) as upstream:
        await upstream.submit(JOB)
        credentials.current = Credentials("NewKeyId", "NewSecret")
        await upstream.submit(JOB)
    assert "Credential=AccessKeyId," in server.heads[0]
    assert "Credential=NewKeyId," in server.heads[1]


async def test_without_credentials_nothing_is_sent(wire, client, credentials):
    """A provider that has no key fails the call before it begins."""

    def fail():
        raise CredentialsUnavailable("the key has expired")

    credentials.snapshot = fail
    async with wire(accept) as server, client(server) as upstream:
        with pytest.raises(NotSent, match="the key has expired"):
            await upstream.submit(JOB)
    assert server.connections == 0


async def test_a_closed_port_is_not_sent(wire, client):
    """A refused connection carried nothing."""
    async with wire(accept) as server:
        pass
    async with client(server) as upstream:
        with pytest.raises(NotSent, match="ConnectError"):
            await upstream.submit(JOB)


async def test_an_unknown_host_is_not_sent(wire, client):
    """Neither did a name that does not resolve."""
    async with wire(accept) as server, client(server, endpoint="no-such-host.invalid") as upstream:
        with pytest.raises(NotSent):
            await upstream.submit(JOB)


async def test_a_trusted_certificate_is_accepted(wire, client, certificate):
    """The account's own authority is enough."""
    async with (
        wire(accept, tls=certificate.server) as server,
        client(server, scheme="https", ca_file=certificate.file) as upstream,
    ):
        assert (await upstream.submit(JOB)).job_id == "j1"


async def test_a_certificate_of_nobody_we_trust_is_not_sent(wire, client, certificate):
    """The request stays here when the far end cannot prove who it is."""
    async with (
        wire(accept, tls=certificate.server) as server,
        client(server, scheme="https") as upstream,
    ):
        with pytest.raises(NotSent, match="ClientConnectorCertificateError"):
            await upstream.submit(JOB)
    assert server.heads == []


async def test_a_certificate_of_another_host_is_not_sent(wire, client, certificate):
    """A good signature for the wrong name is no proof."""
    async with wire(accept, tls=certificate.server) as server:
        endpoint = server.endpoint.replace("127.0.0.1", "localhost")
        settings = {"scheme": "https", "ca_file": certificate.file, "endpoint": endpoint}
        async with client(server, **settings) as upstream:
            with pytest.raises(NotSent, match="ClientConnectorCertificateError"):
                await upstream.submit(JOB)
    assert server.heads == []


async def test_a_port_that_speaks_no_tls_is_not_sent(wire, client):
    """A failed handshake carried no request."""

    async def no_tls(exchange):
        await exchange.write(b"HTTP/1.1 400 x\r\n\r\n")

    async with wire(no_tls) as server, client(server, scheme="https") as upstream:
        with pytest.raises(NotSent):
            await upstream.submit(JOB)


async def test_a_handshake_that_is_reset_is_not_sent(wire, client):
    """A reset before TLS stands is a connection that never was."""
    async with wire(reset_at_once) as server, client(server, scheme="https") as upstream:
        with pytest.raises(NotSent):
            await upstream.submit(JOB)


async def test_a_handshake_without_end_is_not_sent(wire, client):
    """The connect timeout covers TLS."""

    async def hang(exchange):
        await exchange.hang()

    settings = {"scheme": "https", "connect_timeout_seconds": 0.05}
    async with wire(hang) as server, client(server, **settings) as upstream:
        with pytest.raises(NotSent, match="ConnectTimeout"):
            await upstream.submit(JOB)


async def test_a_full_pool_is_not_sent(wire, client):
    """A call that got no connection in time has not left."""

    async def hang(exchange):
        await exchange.head()
        await exchange.hang()

    settings = {"max_in_flight": 1, "connect_timeout_seconds": 0.05}
    async with wire(hang) as server, client(server, **settings) as upstream:
        first = asyncio.create_task(upstream.submit(JOB))
        await server.hanging.wait()
        with pytest.raises(NotSent, match="ConnectTimeout"):
            await upstream.submit(JOB)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert len(server.heads) == 1


async def test_no_answer_within_the_read_timeout_is_unknown(wire, client):
    """The request is out there, and may be worked on."""

    async def hang(exchange):
        await exchange.head()
        await exchange.hang()

    async with wire(hang) as server, client(server, read_timeout_seconds=0.05) as upstream:
        with pytest.raises(OutcomeUnknown, match="ReadTimeout"):
            await upstream.submit(JOB)
    assert len(server.heads) == 1


async def test_an_answer_that_drips_ends_with_the_call_s_time(wire, client):
    """Bytes that keep coming do not prolong the call."""

    async def drip(exchange):
        await exchange.head()
        await exchange.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await exchange.write(b" ")
            await asyncio.sleep(0.005)

    async with wire(drip) as server, client(server) as upstream:
        with pytest.raises(OutcomeUnknown, match=r"no answer in 0\.1 s"):
            await upstream.submit(JOB, timeout_seconds=0.1)


async def test_a_connection_too_late_for_the_call_s_time_is_not_sent(wire, client):
    """A short call spends half of its time on connecting, and never ends unknown for that."""

    async def hang(exchange):
        await exchange.hang()

    async with wire(hang) as server, client(server, scheme="https") as upstream:
        with pytest.raises(NotSent, match="ConnectTimeout"):
            await upstream.submit(JOB, timeout_seconds=0.1)


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_call_without_time_is_not_sent(wire, client, seconds):
    """Nothing is sent that could not be answered in time."""
    async with wire(accept) as server, client(server) as upstream:
        with pytest.raises(NotSent, match="no time"):
            await upstream.submit(JOB, timeout_seconds=seconds)
    assert server.connections == 0


async def test_cancellation_is_not_swallowed_and_frees_its_connection(wire, client):
    """A cancelled call ends as cancelled, and its connection is not used for another."""

    async def hang_first(exchange):
        await exchange.head()
        if exchange.wire.connections == 1:
            await exchange.hang()
        await exchange.answer({"JobId": "j2"})

    async with wire(hang_first) as server, client(server, max_in_flight=1) as upstream:
        call = asyncio.create_task(upstream.submit(JOB))
        await server.hanging.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await upstream.submit(JOB)).job_id == "j2"
    assert server.connections == 2


async def test_a_closed_client_sends_nothing(wire, client):
    """Before it is entered and after it is left, a call is not sent."""
    async with wire(accept) as server:
        upstream = client(server)
        with pytest.raises(NotSent, match="closed"):
            await upstream.submit(JOB)
        async with upstream:
            await upstream.submit(JOB)
        with pytest.raises(NotSent, match="closed"):
            await upstream.submit(JOB)
    assert len(server.heads) == 1


async def test_closing_the_client_leaves_a_call_in_flight_unknown(wire, client):
    """What was sent stays sent."""

    async def hang(exchange):
        await exchange.head()
        await exchange.hang()

    async with wire(hang) as server:
        async with client(server) as upstream:
            call = asyncio.create_task(upstream.submit(JOB))
            await server.hanging.wait()
        with pytest.raises(OutcomeUnknown):
            await call


async def test_calls_share_connections(wire, client):
    """A hundred calls one after the other need one connection, twenty at once need no more."""
    async with wire(accept) as server, client(server, max_in_flight=20) as upstream:
        for _ in range(100):
            await upstream.cancel("j1")
        assert server.connections == 1
        await asyncio.gather(*[upstream.cancel("j1") for _ in range(200)])
        assert server.connections <= 20


async def test_no_cookie_is_kept(wire, client):
    """What the far end sets for one tenant's call does not come along with another's."""

    async def set_cookie(exchange):
        while True:
            await exchange.head()
            await exchange.answer({"JobId": "j1"}, headers="Set-Cookie: tenant=a; Path=/\r\n")

    async with wire(set_cookie) as server:
        # By name: aiohttp's own jar keeps no cookies of a bare address.
        endpoint = server.endpoint.replace("127.0.0.1", "localhost")
        async with client(server, endpoint=endpoint) as upstream:
            await upstream.submit(JOB)
            await upstream.submit(JOB)
    assert "cookie" not in server.heads[1].lower()


async def test_proxies_and_netrc_of_the_environment_are_ignored(
    wire, client, monkeypatch, tmp_path
):
    """The signed call goes to the endpoint and nowhere else, with no other credentials."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with wire(accept) as server, client(server) as upstream:
        assert (await upstream.submit(JOB)).job_id == "j1"
    assert "authorization: ACS3-HMAC-SHA256" in server.heads[0]


async def test_authorities_of_the_environment_are_ignored(wire, client, certificate, monkeypatch):
    """Whom to trust is a setting of the account, not of the process."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    async with (
        wire(accept, tls=certificate.server) as server,
        client(server, scheme="https") as upstream,
    ):
        with pytest.raises(NotSent):
            await upstream.submit(JOB)


async def test_a_compressed_answer_is_read(wire, client):
    """A far end that compresses against our wish is still understood."""
    packed = gzip.compress(b'{"JobId":"j1"}')
    behaviour = answering(packed, headers="Content-Encoding: gzip\r\n")
    async with wire(behaviour) as server, client(server) as upstream:
        assert (await upstream.submit(JOB)).job_id == "j1"


async def test_a_compressed_answer_is_unpacked_no_further_than_an_answer_may_be(wire, client):
    """Half a kilobyte can hold hundreds of megabytes, and would take the process along."""
    behaviour = answering(BOMB, headers="Content-Encoding: gzip\r\n")
    async with wire(behaviour) as server, client(server) as upstream:
        tracemalloc.start()
        with pytest.raises(OutcomeUnknown):
            await upstream.submit(JOB)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * MAX_REPLY_BYTES
