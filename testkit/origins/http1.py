from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from .messages import Reply, SeenRequest

if TYPE_CHECKING:
    from .streams import PlainStream

Headers = tuple[tuple[bytes, bytes], ...]
Answer = Callable[[SeenRequest], Awaitable[Reply]]


class Http1Connection:
    def __init__(
        self, stream: PlainStream, number: int, answer: Answer, limit: int | None = None
    ) -> None:
        self._stream = stream
        self._number = number
        self._answer = answer
        self._limit = limit
        self._buffer = b""

    async def serve(self) -> None:
        served = 0
        try:
            while (request := await self._request()) is not None:
                served += 1
                reply = await self._answer(request)
                last = served == self._limit or _wants_close(request)
                self._stream.write(_encode(reply, request.method, close=last))
                await self._stream.flush()
                if last:
                    break
        except EOFError:
            pass
        await self._stream.close()

    async def _request(self) -> SeenRequest | None:
        if not self._buffer:
            self._buffer = await self._stream.read()
            if not self._buffer:
                return None
        head = await self._until(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, path, _ = first.decode("latin-1").split(" ")
        headers = tuple(_field(line) for line in lines)
        return SeenRequest(method, path, headers, await self._body(headers), self._number, "1.1")

    async def _body(self, headers: Headers) -> bytes:
        found = {name.lower(): value.lower() for name, value in headers}
        length = int(found.get(b"content-length", b"0"))
        chunked = found.get(b"transfer-encoding") == b"chunked"
        if (length or chunked) and found.get(b"expect") == b"100-continue":
            self._stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._stream.flush()
        if not chunked:
            return await self._exactly(length)
        body = b""
        while size := int((await self._until(b"\r\n")).split(b";")[0], 16):
            body += await self._exactly(size)
            await self._until(b"\r\n")
        while await self._until(b"\r\n"):
            pass
        return body

    async def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            await self._more()
        taken, self._buffer = self._buffer.split(end, 1)
        return taken

    async def _exactly(self, size: int) -> bytes:
        pieces, missing = [self._buffer], size - len(self._buffer)
        while missing > 0:
            pieces.append(await self._stream.read())
            missing -= len(pieces[-1])
            if not pieces[-1]:
                raise EOFError
        everything = b"".join(pieces)
        self._buffer = everything[size:]
        return everything[:size]

    async def _more(self) -> None:
        data = await self._stream.read()
        if not data:
            raise EOFError
        self._buffer += data


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip()


def _wants_close(request: SeenRequest) -> bool:
    return (request.header("Connection") or b"").lower() == b"close"


def _encode(reply: Reply, method: str, *, close: bool) -> bytes:
    phrases = {status.value: status.phrase for status in HTTPStatus}
    lines = [f"HTTP/1.1 {reply.status} {phrases.get(reply.status, '')}".encode()]
    lines += [name + b": " + value for name, value in reply.headers]
    if reply.may_have_body:
        lines.append(b"Content-Length: %d" % len(reply.body))
    if close:
        lines.append(b"Connection: close")
    body = reply.body if reply.may_have_body and method != "HEAD" else b""
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
