"""Receives a request in place of its site: a SOCKS proxy and the server behind it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from dataclasses import dataclass
from types import TracebackType

from ..doctor.local_origin import HOST, make_tls_context
from .client_hello import client_hello_size
from .http2 import FRAME_HEADER_BYTES, PREFACE, Http2Client

# RFC 1928. A name is preceded by its length.
_ADDRESS_BYTES = {1: 4, 4: 16}
_PORT_BYTES = 2
_GREETING, _CONNECTED = b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6)
_CHUNK = 65536
_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS_ACK = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"
# The first stream of a client is 1, or 3 in Firefox. 0x88 is ":status: 200" in HPACK.
_HTTP2_ANSWER = b"\x00\x00\x01\x01\x05%s\x88"
_HTTP1_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SECONDS = 30.0


@dataclass(frozen=True)
class Arrival:
    """A request as the site would have received it.

    Attributes:
        fields: of the request, in order; with HTTP/2 they include the pseudo-headers.
        http2: how HTTP/2 was opened; None for HTTP/1.1.
        hello: the ClientHello; empty over plain http.
    """

    fields: list[tuple[str, str]]
    http2: Http2Client | None
    hello: bytes


class LocalSite:
    """A site that has every name and port for clients of its proxy. A context manager.

    Attributes:
        proxy: URL of the proxy.
        arrival: the first request, once it has arrived.
    """

    proxy: str
    arrival: Arrival | None

    def __init__(self) -> None:
        self.arrival = None
        self._hello = b""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> LocalSite:
        self._thread.start()
        if not self._ready.wait(_SECONDS):
            raise OSError(f"nothing can listen on {HOST}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_SECONDS)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        context = make_tls_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        servers = [
            await asyncio.start_server(serve, HOST, 0, ssl=tls)
            for serve, tls in (
                (self._take, context),
                (self._take, None),
                (self._connect, None),
            )
        ]
        self._secure, self._plain, port = (each.sockets[0].getsockname()[1] for each in servers)
        self.proxy = f"socks5h://{HOST}:{port}"
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # The proxy

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            writer.write(_GREETING)
            *_, kind = await reader.readexactly(4)
            size = _ADDRESS_BYTES.get(kind) or (await reader.readexactly(1))[0]
            await reader.readexactly(size + _PORT_BYTES)
            writer.write(_CONNECTED)
            first = await reader.read(_CHUNK)
            is_tls = first[:1] == b"\x16"
            while is_tls and client_hello_size(first) is None:
                data = await reader.read(_CHUNK)
                if not data:
                    break
                first += data
            self._hello = first if is_tls else b""
            port = self._secure if is_tls else self._plain
            back, forth = await asyncio.open_connection(HOST, port)
            forth.write(first)
            await asyncio.gather(_copy(reader, forth), _copy(back, writer))

    # The site

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
            if tls is not None and tls.selected_alpn_protocol() == "h2":
                await self._take_http2(reader, writer)
            else:
                await self._take_http1(reader, writer)
        writer.close()

    async def _take_http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.partition(":") for line in head.split("\r\n")[1:-2]]
        fields = [(name, value.strip()) for name, _, value in lines]
        self._keep(Arrival(fields, None, self._hello))
        writer.write(_HTTP1_ANSWER)
        await writer.drain()

    async def _take_http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Http2Client()
        await reader.readexactly(len(PREFACE))
        writer.write(_EMPTY_SETTINGS + _SETTINGS_ACK)
        while not client.fields:
            header = await reader.readexactly(FRAME_HEADER_BYTES)
            payload = await reader.readexactly(int.from_bytes(header[:3], "big"))
            client.on_frame(header, payload)
        self._keep(Arrival(client.fields, client, self._hello))
        writer.write(_HTTP2_ANSWER % header[5:])
        await writer.drain()
        await reader.read()

    def _keep(self, arrival: Arrival) -> None:
        if self.arrival is None:
            self.arrival = arrival


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
