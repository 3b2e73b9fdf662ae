"""A worker that lies once: `python -m tests.liar KIND MARK ARGUMENTS OF AN INTERPRETER...`

It answers the Hello as a worker does, and the first Fetch with a lie. The file MARK shows that a
worker has lied already; the next one is honest.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scrapy_curl_safe._ipc.framing import encode_frame, to_worker_decoder
from scrapy_curl_safe._ipc.messages import (
    Cancel,
    Cancelled,
    Chunk,
    Completed,
    Fetch,
    Hello,
    Ready,
    ResponseHead,
    SharedSlice,
    TransferStats,
)

READY = encode_frame(Ready(curl="a liar", max_descriptors=1000))


def head(id: int) -> ResponseHead:
    return ResponseHead(id=id, status=200, protocol="HTTP/1.1", headers=[], ip="127.0.0.1")


def completed(id: int, *, has_head: bool = True, shared: SharedSlice | None = None) -> bytes:
    message = Completed(
        id=id, stats=TransferStats(), head=head(id) if has_head else None, shared=shared
    )
    return encode_frame(message)


#: What a lie says of the request with an id.
LIES: dict[str, Callable[[int], bytes]] = {
    "cut short": lambda id: completed(id)[:-3],
    "oversized": lambda id: b"\xff\xff\xff\xff\0\0\0\0",
    "no message": lambda id: b"\0\0\0\1\0\0\0\0\xc1",
    "of the crawler": lambda id: encode_frame(Cancel(id)),
    "of wrong types": lambda id: b"\0\0\0\4\0\0\0\0\x93\4\xa1x",
    "not there": lambda id: completed(id + 1000),
    "twice": lambda id: completed(id) + completed(id),
    "no head": lambda id: completed(id, has_head=False),
    "a chunk ahead of the head": lambda id: encode_frame(Chunk(id), 2) + b"ok",
    "a head that nobody hears": lambda id: encode_frame(head(id)),
    "cancelled by nobody": lambda id: encode_frame(Cancelled(id)),
    "a slice beyond the memory": lambda id: completed(id, shared=SharedSlice(0, 2**40)),
    "a slice before the memory": lambda id: completed(id, shared=SharedSlice(-8, 8)),
    "silent": lambda id: b"",
    "ready again": lambda id: READY,
}
#: After these the worker exits by itself.
ENDS = ("cut short",)


def main() -> None:
    kind, mark, *arguments = sys.argv[1:]
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        os.execv(sys.executable, [sys.executable, *arguments])
    sock = socket.socket(fileno=int(arguments[-2]))
    decoder = to_worker_decoder()
    while True:
        for message, _ in decoder.feed(sock.recv(65536)):
            if isinstance(message, Hello):
                sock.sendall(READY)
            elif isinstance(message, Fetch):
                Path(mark).write_text(str(message.id))
                sock.sendall(LIES[kind](message.id))
                if kind in ENDS:
                    return
                time.sleep(600)


if __name__ == "__main__":
    main()
