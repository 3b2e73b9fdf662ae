"""An HTTP/2 origin that answers with exactly the frames that a test specifies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from testkit.waiting import until

from .hello import H2_PREFACE
from .loop import reset_on_close
from .messages import App, default_app
from .streams import PlainStream
from .tls import TlsOrigin

if TYPE_CHECKING:
    from .streams import TlsStream

CLOSE = "close"
RESET = "reset"
CUT = "cut"  # close the connection without TLS's close_notify

#: A frame or bytes to send, seconds to wait, a condition to wait for, CLOSE, RESET or CUT.
Piece = Frame | bytes | float | str | Callable[[], object]
#: Makes an answer from the stream's number and the number of requests so far.
Script = Callable[[int, int], Iterable[Piece]]

FRAME_HEADER = 9


def headers(
    stream: int, *fields: tuple[bytes, bytes], end: bool = False, status: int = 200
) -> Frame:
    # Never indexed, so that no frame depends on earlier ones.
    listed = [NeverIndexedHeaderTuple(*field) for field in ((b":status", b"%d" % status), *fields)]
    frame = HeadersFrame(stream, Encoder().encode(listed), flags=["END_HEADERS"])
    if end:
        frame.flags.add("END_STREAM")
    return frame


def data(stream: int, body: bytes, *, end: bool = False) -> Frame:
    return DataFrame(stream, body, flags=["END_STREAM"] if end else [])


class ScriptedHttp2(TlsOrigin):
    """Sends what `script` returns for each request, ignoring flow control; CLOSE, RESET and CUT end
    the connection. A client that does not offer HTTP/2 gets its answers from `app`, over HTTP/1.1.
    """

    def __init__(self, script: Script, app: App = default_app) -> None:
        super().__init__(app, alpn=("h2",))
        self.script = script
        self.seen = 0
        self.resets = 0
        self.answering = 0
        self.most_at_once = 0
        self.most_on_a_connection = 0

    async def serve_h2(self, stream: TlsStream, number: int) -> None:
        connection = _Connection(self, stream, number)
        reading = asyncio.ensure_future(connection.read())
        ends: set[asyncio.Future[Any]] = {reading, connection.ended}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, *connection.answers.values()):
            task.cancel()
        await asyncio.gather(reading, *connection.answers.values(), return_exceptions=True)
        if not reading.cancelled():
            reading.result()
        how = connection.ended.result() if connection.ended.done() else CLOSE
        if how == RESET:
            reset_on_close(stream.sock)
        elif how == CUT:
            await PlainStream.close(stream)
        else:
            await stream.close()


class _Connection:
    def __init__(self, origin: ScriptedHttp2, stream: TlsStream, number: int) -> None:
        self._origin = origin
        self._stream = stream
        self._number = number
        self.answers: dict[int, asyncio.Task[None]] = {}
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read(self) -> None:
        stream = self._stream
        settings = SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: 250})
        stream.write(settings.serialize())
        await stream.flush()
        buffer = b""
        while more := await stream.read():
            buffer += more
            buffer = buffer.removeprefix(H2_PREFACE)
            while len(buffer) >= FRAME_HEADER:
                frame, length = Frame.parse_frame_header(memoryview(buffer)[:FRAME_HEADER])
                if len(buffer) < FRAME_HEADER + length:
                    break
                frame.parse_body(memoryview(buffer)[FRAME_HEADER : FRAME_HEADER + length])
                buffer = buffer[FRAME_HEADER + length :]
                await self._on_frame(frame)

    async def _on_frame(self, frame: Frame) -> None:
        stream, origin = self._stream, self._origin
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            stream.write(SettingsFrame(0, flags=["ACK"]).serialize())
            await stream.flush()
        elif isinstance(frame, DataFrame) and frame.data:
            for window in (0, frame.stream_id):
                update = WindowUpdateFrame(window, window_increment=len(frame.data))
                stream.write(update.serialize())
            await stream.flush()
        elif isinstance(frame, RstStreamFrame):
            origin.resets += 1
            if frame.stream_id in self.answers:
                self.answers[frame.stream_id].cancel()
        if isinstance(frame, (HeadersFrame, DataFrame)) and "END_STREAM" in frame.flags:
            origin.seen += 1
            answer = self._answer(frame.stream_id, origin.seen)
            self.answers[frame.stream_id] = asyncio.ensure_future(answer)
            under_way = sum(not answer.done() for answer in self.answers.values())
            origin.most_on_a_connection = max(origin.most_on_a_connection, under_way)

    async def _answer(self, stream_id: int, request: int) -> None:
        self._origin.answering += 1
        self._origin.most_at_once = max(self._origin.most_at_once, self._origin.answering)
        try:
            for piece in self._origin.script(stream_id, request):
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                elif isinstance(piece, str):
                    if not self.ended.done():
                        self.ended.set_result(piece)
                    return
                elif isinstance(piece, bytes | Frame):
                    self._stream.write(piece if isinstance(piece, bytes) else piece.serialize())
                    await self._stream.flush()
                else:
                    await until(piece)
        except OSError:
            pass  # the client is gone
        finally:
            self._origin.answering -= 1
