"""A worker that lies once: `python -m tests.liar KIND MARK ARGUMENTS OF AN INTERPRETER...`

It answers the Hello as a worker does, and the first Fetch with a lie. The file MARK says that
one lied already; then it is an honest worker.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

from scrapy_curl_safe import wire

HEAD = wire.Head(0, 200, "HTTP/1.1", [], "127.0.0.1")


def done(id: int, head: wire.Head | None = HEAD) -> bytes:
    return wire.encode(wire.Done(id, wire.Transfer(), head, False))


LIES = {
    "cut short": lambda id: done(id)[:-3],
    "oversized": lambda id: b"\xff\xff\xff\xff\0\0\0\0",
    "no message": lambda id: b"\0\0\0\1\0\0\0\0\xc1",
    "of the crawler": lambda id: wire.encode(wire.Cancel(id)),
    "of wrong types": lambda id: b"\0\0\0\4\0\0\0\0\x93\4\xa1x",
    "not there": lambda id: done(id + 1000),
    "twice": lambda id: done(id) + done(id),
    "no head": lambda id: done(id, None),
    "a piece ahead of the head": lambda id: wire.encode(wire.Chunk(id), 2) + b"ok",
    "a head that nobody hears": lambda id: wire.encode(HEAD),
    "cancelled by nobody": lambda id: wire.encode(wire.Cancelled(id)),
    "a place that is not there": lambda id: wire.encode(
        wire.Done(id, wire.Transfer(), HEAD, False, wire.Place(0, 2**40))
    ),
    "a negative place": lambda id: wire.encode(
        wire.Done(id, wire.Transfer(), HEAD, False, wire.Place(-8, 8))
    ),
    "silent": lambda id: b"",
    "ready again": lambda id: wire.encode(wire.Ready(1, "", 1000, None)),
}
#: After these it is gone by itself.
ENDS = ("cut short",)


def main() -> None:
    kind, mark, *arguments = sys.argv[1:]
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        os.execv(sys.executable, [sys.executable, *arguments])
    sock = socket.socket(fileno=int(arguments[-2]))
    decoder = wire.to_worker_decoder()
    while True:
        for message, _ in decoder.feed(sock.recv(65536)):
            if isinstance(message, wire.Hello):
                sock.sendall(wire.encode(wire.Ready(os.getpid(), "a liar", 1000, None)))
            elif isinstance(message, wire.Fetch):
                Path(mark).write_text(str(message.id))
                sock.sendall(LIES[kind](message.id))
                if kind in ENDS:
                    return
                time.sleep(600)


if __name__ == "__main__":
    main()
