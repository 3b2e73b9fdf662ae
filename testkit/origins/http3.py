"""An HTTP/3 origin (aioquic) on a loopback UDP port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, ProtocolNegotiated

from .background import BackgroundServer
from .certs import certs
from .messages import App, Reply, SeenRequest, default_app

if TYPE_CHECKING:
    from aioquic.quic.events import QuicEvent

RESET = Reply(status=0)


class Http3Origin(BackgroundServer):
    """An origin as a context manager. If its app returns RESET, it resets the stream."""

    def __init__(self, app: App = default_app, *, trusted: bool = True) -> None:
        super().__init__()
        self.app = app
        self.requests: list[SeenRequest] = []
        self.handshakes = 0
        self.resumed = 0
        certificate, key = certs().files(trusted=trusted)
        self._configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
        self._configuration.load_cert_chain(certificate, key)
        self._tickets: dict[bytes, Any] = {}

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def run(self) -> None:
        server: Any = await serve(
            "127.0.0.1",
            0,
            configuration=self._configuration,
            create_protocol=lambda *args, **kwargs: _Connection(self, *args, **kwargs),
            session_ticket_fetcher=self._tickets.get,
            session_ticket_handler=lambda ticket: self._tickets.update({ticket.ticket: ticket}),
        )
        self.port = server._transport.get_extra_info("sockname")[1]
        self.ready.set()
        await self.stop.wait()
        server.close()


class _Connection(QuicConnectionProtocol):
    def __init__(self, origin: Http3Origin, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._origin = origin
        self._http: H3Connection | None = None
        self._uploads: dict[int, tuple[list[tuple[bytes, bytes]], bytearray]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        elif isinstance(event, HandshakeCompleted):
            self._origin.handshakes += 1
            self._origin.resumed += event.session_resumed
        if self._http is None:
            return
        for heard in self._http.handle_event(event):
            if isinstance(heard, HeadersReceived):
                self._uploads[heard.stream_id] = (heard.headers, bytearray())
            if isinstance(heard, DataReceived):
                self._uploads[heard.stream_id][1].extend(heard.data)
            if isinstance(heard, (HeadersReceived, DataReceived)) and heard.stream_ended:
                self._answer(heard.stream_id, *self._uploads.pop(heard.stream_id))

    def _answer(self, stream: int, headers: list[tuple[bytes, bytes]], body: bytearray) -> None:
        assert self._http is not None
        pseudo = {name: value.decode("latin-1") for name, value in headers}
        request = SeenRequest(
            pseudo[b":method"], pseudo[b":path"], tuple(headers), bytes(body), id(self), "3"
        )
        self._origin.requests.append(request)
        reply = self._origin.app(request)
        if reply is RESET:
            self._quic.reset_stream(stream, ErrorCode.H3_INTERNAL_ERROR)
        else:
            has_body = reply.may_have_body and request.method != "HEAD" and bool(reply.body)
            fields = [(b":status", b"%d" % reply.status)]
            fields += [(name.lower(), value) for name, value in reply.headers]
            self._http.send_headers(stream, fields, end_stream=not has_body)
            if has_body:
                self._http.send_data(stream, reply.body, end_stream=True)
        self.transmit()
