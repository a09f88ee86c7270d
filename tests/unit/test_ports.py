"""A port that processes share is theirs alone."""

import asyncio
import socket
from contextlib import closing

import grpc
import pytest

from ims_gateway.ports import PortTaken, reserve


async def test_a_reserved_port_is_held_against_everybody_who_begins_anew():
    """Another gateway with workers, and one without; until it is given up."""
    reserved = await reserve("IMSGW_LISTEN", "127.0.0.1:0")
    with pytest.raises(PortTaken, match=rf"^IMSGW_LISTEN: {reserved.address} is in use"):
        await reserve("IMSGW_LISTEN", reserved.address)
    with pytest.raises(PortTaken):
        await reserve("IMSGW_LISTEN", f"0.0.0.0:{port_of(reserved)}")
    alone = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    with pytest.raises(RuntimeError):
        alone.add_insecure_port(reserved.address)

    reserved.close()

    (await reserve("IMSGW_LISTEN", reserved.address)).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::]"])
async def test_workers_listen_on_a_reserved_port(host):
    """Several of them, and connections come to them, not to whoever holds the port."""
    reserved = await reserve("IMSGW_LISTEN", f"{host}:0")
    with closing(reserved):
        servers = [grpc.aio.server(options=[("grpc.so_reuseport", 1)]) for _ in range(2)]
        for server in servers:
            assert server.add_insecure_port(reserved.address) == port_of(reserved)
            await server.start()
        with closing(socket.create_connection(("127.0.0.1", port_of(reserved)), 10)) as connection:
            connection.settimeout(10)
            # The server's settings: somebody has taken the connection.
            assert connection.recv(9)[3] == 4
        with pytest.raises(PortTaken):
            await reserve("IMSGW_LISTEN", reserved.address)
        for server in servers:
            await server.stop(0)


async def test_a_port_that_somebody_listens_on_is_taken():
    """Whether or not they would share it."""
    for shared in (0, 1):
        with closing(socket.socket()) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with pytest.raises(PortTaken):
                await reserve("IMSGW_LISTEN", f"127.0.0.1:{listener.getsockname()[1]}")


async def test_leftovers_of_a_gateway_that_ended_are_waited_for():
    """The kernel keeps its connections for a minute; nobody has the port any more."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reserve("IMSGW_LISTEN", f"127.0.0.1:{leftover()}")


@pytest.mark.parametrize("address", ["192.0.2.1:0", "no-such-host.invalid:1"])
async def test_an_address_of_somewhere_else_cannot_be_listened_on(address):
    """The message names the setting."""
    with pytest.raises(PortTaken, match=r"^IMSGW_ADMIN_LISTEN: "):
        await reserve("IMSGW_ADMIN_LISTEN", address)


def port_of(reservation) -> int:
    """Return the number of a reserved port."""
    return int(reservation.address.rpartition(":")[2])


def leftover() -> int:
    """Return a port of which only a connection is left that its server has closed."""
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        with closing(socket.create_connection(address)) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
    return address[1]
