from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    PriorityUpdated,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError, StreamClosedError
from hyperframe.frame import GoAwayFrame

from .hello import h2_opening_size
from .messages import Reply, SeenRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .http1 import Answer, Headers
    from .streams import PlainStream

LAST_STREAM_ID = 2**31 - 1


@dataclass
class _Upload:
    headers: Headers
    priority: PriorityUpdated | None
    body: bytearray = field(default_factory=bytearray)


class Http2Connection:
    def __init__(
        self,
        stream: PlainStream,
        number: int,
        answer: Answer,
        limit: int | None = None,
        opened: Callable[[bytes], None] = lambda raw: None,
    ) -> None:
        self._stream = stream
        self._number = number
        self._answer = answer
        self._limit = limit
        self._opened = opened
        self._opening: bytes | None = b""
        # Normalizing would join cookies into one header.
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False, header_encoding=None, normalize_inbound_headers=False
            )
        )
        self._uploads: dict[int, _Upload] = {}
        self._taken = 0
        self._leaving = False
        self._told = False
        self._answers: dict[int, asyncio.Task[None]] = {}
        self._window = asyncio.Event()
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        self._h2.initiate_connection()
        await self._send()
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({reading, self._finished}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [reading, *self._answers.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not reading.cancelled():
            reading.result()
        if self._finished.done():
            self._finished.result()
            self._h2.close_connection()
            await self._send()
        await self._stream.close()

    async def _send(self) -> None:
        self._stream.write(self._h2.data_to_send())
        await self._stream.flush()

    async def _read(self) -> None:
        while data := await self._stream.read():
            self._keep_opening(data)
            try:
                events = self._h2.receive_data(data)
            except ProtocolError:
                await self._send()
                return
            for event in events:
                self._handle(event)
            # Any event may have widened a window for which an answer waits.
            self._window.set()
            if self._limit is not None and self._taken >= self._limit:
                self._leave()
            await self._send()

    def _leave(self) -> None:
        """Shut down gracefully (RFC 9113 section 6.8), so that no request is refused."""
        if self._leaving:
            return
        self._leaving = True
        # Bypasses h2, which would refuse to answer the open streams after a GOAWAY.
        self._stream.write(self._h2.data_to_send())
        self._stream.write(GoAwayFrame(0, last_stream_id=LAST_STREAM_ID).serialize())
        # Everything that the client sent before it saw the GOAWAY precedes its answer to this.
        self._h2.ping(b"leaving!")

    def _keep_opening(self, data: bytes) -> None:
        if self._opening is None:
            return
        self._opening += data
        size = h2_opening_size(self._opening)
        if size is not None:
            self._opened(self._opening[:size])
            self._opening = None

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._taken += 1
            self._uploads[event.stream_id] = _Upload(tuple(event.headers), event.priority_updated)
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self._uploads:
                self._uploads[event.stream_id].body += event.data
        elif isinstance(event, StreamEnded):
            if event.stream_id in self._uploads:
                self._start(event.stream_id, self._uploads.pop(event.stream_id))
        elif isinstance(event, StreamReset):
            self._uploads.pop(event.stream_id, None)
            answer = self._answers.get(event.stream_id)
            if answer is not None:
                answer.cancel()
            self._check_finished()
        elif isinstance(event, PingAckReceived):
            self._told = True
            self._check_finished()

    def _start(self, stream_id: int, upload: _Upload) -> None:
        pseudo, priority = dict(upload.headers), upload.priority
        request = SeenRequest(
            method=pseudo[b":method"].decode("latin-1"),
            path=pseudo[b":path"].decode("latin-1"),
            headers=upload.headers,
            body=bytes(upload.body),
            connection=self._number,
            http_version="2",
            weight=priority.weight if priority else None,
            exclusive=priority.exclusive if priority else None,
        )
        task = asyncio.ensure_future(self._reply(stream_id, request))
        self._answers[stream_id] = task
        task.add_done_callback(lambda done: self._answered(stream_id, done))

    def _answered(self, stream_id: int, task: asyncio.Task[None]) -> None:
        del self._answers[stream_id]
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._finished.done():
            self._finished.set_exception(error)
        self._check_finished()

    def _check_finished(self) -> None:
        idle = not self._answers and not self._uploads
        if self._told and idle and not self._finished.done():
            self._finished.set_result(None)

    async def _reply(self, stream_id: int, request: SeenRequest) -> None:
        reply = await self._answer(request)
        if reply.last:
            self._leave()
        body = reply.body if reply.may_have_body and request.method != "HEAD" else b""
        try:
            self._h2.send_headers(stream_id, _fields(reply), end_stream=not body)
            await self._send()
            at = 0
            while at < len(body):
                size = min(
                    self._h2.local_flow_control_window(stream_id),
                    self._h2.max_outbound_frame_size,
                )
                if size <= 0:
                    self._window.clear()
                    await self._window.wait()
                    continue
                part = body[at : at + size]
                at += len(part)
                self._h2.send_data(stream_id, part, end_stream=at == len(body))
                await self._send()
        except StreamClosedError:
            return
        except ProtocolError:
            # A client that has sent GOAWAY accepts no more answers.
            if self._h2.state_machine.state is not ConnectionState.CLOSED:
                raise


def _fields(reply: Reply) -> list[tuple[bytes, bytes]]:
    fields = [(b":status", b"%d" % reply.status)]
    fields += [(name.lower(), value) for name, value in reply.headers]
    if reply.may_have_body:
        fields.append((b"content-length", b"%d" % len(reply.body)))
    return fields
