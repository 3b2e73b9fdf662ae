"""Takes messages from the crawler, starts downloads, and sends messages back."""

from __future__ import annotations

import gc
import os
import signal
import socket

import curl_cffi

from .._ipc.channel import Channel
from .._ipc.failures import FailureKind
from .._ipc.framing import to_worker_decoder
from .._ipc.messages import (
    Cancel,
    Failed,
    Fetch,
    FromWorker,
    Heartbeat,
    Hello,
    InvalidRequest,
    ProtocolError,
    Ready,
    SliceReleased,
    ToWorker,
    TransferStats,
    decode_profile,
)
from .._platform.landlock import enter_sandbox
from .._platform.limits import forbid_core_dumps, open_descriptors, raise_descriptor_limit
from .._platform.memory import resident_megabytes, trim_memory
from .._platform.process import die_with_parent, use_batch_scheduling
from .._platform.resolver import resolver_state
from .browser import ProfileError, make_handle
from .download import Download
from .loop import Loop, LoopTimer
from .session import ExhaustedError, Sessions
from .stream_pool import streams

# How long a worker waits for its Hello before it takes it that its crawl never began.
_HELLO_TIMEOUT_SECONDS = 5.0

_EX_SOFTWARE = 70  # of sysexits.h


def serve(sock: int, memory: int | None = None) -> None:
    """Work for the crawler at the other end of a socket until it is gone.

    Args:
        sock: the socket's descriptor.
        memory: the descriptor of the shared memory, if there is any.
    """
    # Ctrl-C reaches a whole terminal; the crawler decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    forbid_core_dumps()
    use_batch_scheduling()
    max_descriptors = raise_descriptor_limit()
    enter_sandbox()
    # What is loaded by now stays; the collector need not look at it again.
    gc.freeze()
    if memory is not None:
        streams.share(memory)
    loop = Loop()
    _Server(loop, socket.socket(fileno=sock), max_descriptors)
    try:
        loop.run()
    finally:
        # Nothing is prepared for what gets here, a lack of memory above all. Whoever waits for a
        # download would wait for ever; of a dead worker the crawler hears, and another one does its
        # requests. Nothing is logged: that takes memory, too.
        os._exit(_EX_SOFTWARE)


class _Server:
    def __init__(self, loop: Loop, sock: socket.socket, max_descriptors: int) -> None:
        self._loop = loop
        self._max_descriptors = max_descriptors
        self._resolver_state = resolver_state()
        self._downloads: dict[int, Download] = {}
        self._paused: list[Download] = []
        self._channel: Channel[ToWorker] = Channel(
            loop,
            sock,
            to_worker_decoder(),
            self._on_message,
            self._on_connection_lost,
            self._on_drained,
        )
        self._hello_timer = LoopTimer(loop, lambda: self._on_connection_lost(None))
        self._hello_timer.set(_HELLO_TIMEOUT_SECONDS)

    def _on_connection_lost(self, reason: ProtocolError | OSError | None) -> None:
        # The crawler is gone, or what it sends makes no sense. Either way nobody waits for an
        # orderly end of transfers, threads and sessions.
        os._exit(1 if isinstance(reason, ProtocolError) else 0)

    def _on_message(self, message: ToWorker, body: bytes) -> None:
        if isinstance(message, Fetch):
            self._fetch(message, body)
        elif isinstance(message, Cancel):
            download = self._downloads.get(message.id)
            if download is not None:
                download.cancel()
        elif isinstance(message, SliceReleased):
            streams.reclaim()
        else:
            self._on_hello(message)

    def _on_hello(self, hello: Hello) -> None:
        self._hello_timer.set(None)
        self._sessions = Sessions(self._loop, hello.max_sessions, hello.max_connections)
        problem = _problem(hello.profiles)
        if problem is None:
            self._sessions.get(hello.profiles[0][1])
        version = curl_cffi.Curl().version().decode()
        self._channel.send(
            Ready(curl=version, max_descriptors=self._max_descriptors, problem=problem)
        )
        self._next_heartbeat = LoopTimer(self._loop, lambda: self._beat(hello))
        self._beat(hello)

    def _beat(self, hello: Hello) -> None:
        memory_mb = resident_megabytes()
        if 0 < hello.max_memory_mb < memory_mb:
            trim_memory()
            memory_mb = resident_megabytes()
        self._channel.send(
            Heartbeat(
                memory_mb=memory_mb,
                descriptors=open_descriptors(),
                resolver_changed=resolver_state() != self._resolver_state,
            )
        )
        self._next_heartbeat.set(hello.heartbeat_interval_seconds)

    def _fetch(self, fetch: Fetch, body: bytes) -> None:
        try:
            session = self._sessions.get(fetch.profile)
        except (ProfileError, ProtocolError) as error:
            self._channel.send(InvalidRequest(id=fetch.id, detail=str(error)))
            return
        except ExhaustedError as error:
            self._channel.send(
                Failed(
                    id=fetch.id, stats=TransferStats(), kind=FailureKind.LOCAL, detail=str(error)
                )
            )
            return
        download = Download(session, fetch, body, self._send, self._on_end, self._must_pause)
        self._downloads[fetch.id] = download
        download.start()

    def _send(self, message: FromWorker, body: bytes) -> None:
        self._channel.send(message, body)

    def _must_pause(self, download: Download) -> bool:
        if not self._channel.is_behind:
            return False
        self._paused.append(download)
        return True

    def _on_drained(self) -> None:
        paused, self._paused = self._paused, []
        for download in paused:
            download.resume()

    def _on_end(self, download: int) -> None:
        del self._downloads[download]


def _problem(profiles: list[tuple[str, bytes]]) -> str | None:
    for setting, profile in profiles:
        try:
            make_handle(decode_profile(profile)).close()
        except ProfileError as error:
            return f"{setting}: {error}"
    return None
