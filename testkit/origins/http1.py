from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from .messages import Reply, SeenRequest

if TYPE_CHECKING:
    from .streams import PlainStream

Headers = tuple[tuple[bytes, bytes], ...]
Answer = Callable[[SeenRequest], Awaitable[Reply]]

MOST_HEADER_BYTES = 1_000_000
PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class Http1Connection:
    """Answers the requests of one connection, one after another.

    Args:
        limit: the number of answers after which it closes; None for no limit.
    """

    def __init__(
        self, stream: PlainStream, number: int, answer: Answer, limit: int | None = None
    ) -> None:
        self._stream = stream
        self._number = number
        self._answer = answer
        self._limit = limit
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADER_BYTES)

    async def serve(self) -> None:
        """Serve until the client leaves, asks to close the connection or reaches the limit.

        Raises:
            h11.RemoteProtocolError: the client does not speak HTTP/1.1.
        """
        served = 0
        while (request := await self._request()) is not None:
            served += 1
            reply = await self._answer(request)
            await self._send(reply, request.method, close=reply.last or served == self._limit)
            if self._http.our_state is not h11.DONE:
                break
            self._http.start_next_cycle()
        await self._stream.close()

    async def _request(self) -> SeenRequest | None:
        """Return the next request; None if the client has left."""
        head = await self._event()
        if head is None:
            return None
        assert isinstance(head, h11.Request)
        body = bytearray()
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if event is None:
                return None
            assert isinstance(event, h11.Data)
            body += event.data
        return SeenRequest(
            method=head.method.decode("latin-1"),
            path=head.target.decode("latin-1"),
            headers=tuple(head.headers.raw_items()),
            body=bytes(body),
            connection=self._number,
            http_version=head.http_version.decode(),
        )

    async def _event(self) -> h11.Event | None:
        """Return the client's next event; None at the end of the stream."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
                await self._stream.flush()
            data = await self._stream.read()
            if not data:
                return None
            self._http.receive_data(data)
        assert not isinstance(event, type)
        return event

    async def _send(self, reply: Reply, method: str, *, close: bool) -> None:
        headers = list(reply.headers)
        if reply.may_have_body:
            headers.append((b"Content-Length", b"%d" % len(reply.body)))
        if close:
            headers.append((b"Connection", b"close"))
        reason = PHRASES.get(reply.status, b"")
        self._write(h11.Response(status_code=reply.status, headers=headers, reason=reason))
        if reply.may_have_body and method != "HEAD":
            self._write(h11.Data(data=reply.body))
        self._write(h11.EndOfMessage())
        await self._stream.flush()

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        assert data is not None
        self._stream.write(data)
