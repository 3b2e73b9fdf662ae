"""The limit on what waits in a socket to be sent."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from scrapy_curl_safe._platform.system import system


def test_a_connection_is_not_writable_while_that_much_waits(client: socket.socket) -> None:
    system.limit_unsent(client.fileno(), 64 * 1024)
    taken = 0
    while taken < 64_000_000 and is_writable(client):
        taken += client.send(bytes(16 * 1024))
    # The socket would take far more.
    assert taken < client.send(bytes(64_000_000))


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """A connection to a server that reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        with connection, server.accept()[0]:
            connection.setblocking(False)
            yield connection


def is_writable(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLOUT)
    return bool(poll.poll(0))


def test_other_sockets_and_descriptors_are_left_alone() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        system.limit_unsent(datagrams.fileno(), 1024)
        assert datagrams.fileno() >= 0
    reader, writer = os.pipe()
    system.limit_unsent(reader, 1024)
    os.close(reader)
    os.close(writer)
    system.limit_unsent(-1, 1024)
