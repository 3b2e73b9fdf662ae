"""Holds each HTTP/1.1 request for some seconds, and counts how many it holds at once.

It prints its port as a line of JSON. When stdin ends it prints its counts as another, and exits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\nok"
)


class _Held(asyncio.Protocol):
    def __init__(self, counts: dict[str, int], seconds: float) -> None:
        self._counts = counts
        self._seconds = seconds
        self._holds = False
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._holds or not self._head.endswith(b"\r\n\r\n"):
            return
        self._holds = True
        self._counts["requests"] += 1
        self._counts["now"] += 1
        self._counts["most"] = max(self._counts["most"], self._counts["now"])
        asyncio.get_running_loop().call_later(self._seconds, self._answer)

    def _answer(self) -> None:
        self._counts["now"] -= 1
        self._transport.write(ANSWER)
        self._transport.close()


async def _run(seconds: float) -> None:
    counts = {"requests": 0, "now": 0, "most": 0}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Held(counts, seconds), "127.0.0.1", 0, backlog=16384)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while await stdin.readline():
        # A line asks for the counts so far, and resets them.
        print(json.dumps(counts), flush=True)
        counts.update(requests=0, most=counts["now"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_run(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
