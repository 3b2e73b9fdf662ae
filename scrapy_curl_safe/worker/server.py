"""The worker's loop: messages from the crawler in, downloads, messages out."""

from __future__ import annotations

import gc
import os
import signal
import socket

import curl_cffi

from ..link import Link
from ..wire import (
    Cancel,
    Failed,
    Fetch,
    FromWorker,
    Hello,
    Pulse,
    Ready,
    Refused,
    Taken,
    ToWorker,
    Transfer,
    WireError,
    decode_profile,
    to_worker_decoder,
)
from . import sandbox, system
from .browser import ProfileError, make_handle
from .download import Download
from .loop import Loop, Timer
from .session import ExhaustedError, Sessions
from .streams import streams

# Seconds until a worker to which nothing is said takes it that its crawl never began.
_LONGEST_SILENCE = 5.0

_OUT_OF_MEMORY = 27  # CURLE_OUT_OF_MEMORY


def serve(sock: int, memory: int | None = None) -> None:
    """Work for the crawler at the other end of this socket until it is gone.

    Args:
        sock: number of the socket's descriptor.
        memory: likewise of what an arena is in, if there is one.
    """
    # Ctrl-C reaches a whole terminal; when its workers end is for the crawler to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    system.end_with_the_crawler()
    system.forbid_core_dumps()
    system.give_way()
    max_descriptors = system.raise_descriptor_limit()
    sandbox.enter()
    # What is loaded by now stays; the collector need not look at it again.
    gc.freeze()
    if memory is not None:
        streams.share(memory)
    loop = Loop()
    _Server(loop, socket.socket(fileno=sock), max_descriptors)
    try:
        loop.run()
    finally:
        # Nothing was prepared for what got here, no memory above all. Whoever waits for a download
        # would wait for ever; of a dead worker the crawler hears, and has its requests done by
        # another. Nothing is logged: that takes memory, too.
        os._exit(70)  # EX_SOFTWARE of sysexits.h


class _Server:
    def __init__(self, loop: Loop, sock: socket.socket, max_descriptors: int) -> None:
        self._loop = loop
        self._max_descriptors = max_descriptors
        self._resolver_state = system.resolver_state()
        self._downloads: dict[int, Download] = {}
        self._paused: list[Download] = []
        self._link: Link[ToWorker] = Link(
            loop,
            sock,
            to_worker_decoder(),
            self._on_message,
            self._on_lost,
            self._on_drained,
        )
        self._silence = Timer(loop, lambda: self._on_lost(None))
        self._silence.set(_LONGEST_SILENCE)

    def _on_lost(self, reason: WireError | OSError | None) -> None:
        # The crawler is gone, or what it says makes no sense. Either way nobody is left to
        # wait for an orderly end of transfers, threads and sessions.
        os._exit(1 if isinstance(reason, WireError) else 0)

    def _on_message(self, message: ToWorker, body: bytes) -> None:
        if isinstance(message, Fetch):
            self._fetch(message, body)
        elif isinstance(message, Cancel):
            download = self._downloads.get(message.id)
            if download is not None:
                download.cancel()
        elif isinstance(message, Taken):
            streams.get_back()
        else:
            self._greet(message)

    def _greet(self, hello: Hello) -> None:
        self._silence.set(None)
        self._sessions = Sessions(self._loop, hello.max_sessions, hello.max_connections)
        problem = _problem(hello.profiles)
        if problem is None:
            self._sessions.get(hello.profiles[0][1])
        version = curl_cffi.Curl().version().decode()
        self._link.send(Ready(os.getpid(), version, self._max_descriptors, problem))
        self._next_pulse = Timer(self._loop, lambda: self._pulse(hello))
        self._pulse(hello)

    def _pulse(self, hello: Hello) -> None:
        memory = system.resident_megabytes()
        if hello.max_memory and memory > hello.max_memory:
            system.trim_memory()
            memory = system.resident_megabytes()
        self._link.send(
            Pulse(
                memory,
                system.open_descriptors(),
                len(self._downloads),
                system.resolver_state() != self._resolver_state,
            )
        )
        self._next_pulse.set(hello.pulse_interval)

    def _fetch(self, fetch: Fetch, body: bytes) -> None:
        try:
            session = self._sessions.get(fetch.profile)
        except (ProfileError, WireError) as error:
            self._link.send(Refused(fetch.id, str(error)))
            return
        except ExhaustedError as error:
            self._link.send(Failed(fetch.id, Transfer(), _OUT_OF_MEMORY, str(error)))
            return
        download = Download(session, fetch, body, self._send, self._on_end, self._must_pause)
        self._downloads[fetch.id] = download
        download.start()

    def _send(self, message: FromWorker, body: bytes) -> None:
        self._link.send(message, body)

    def _must_pause(self, download: Download) -> bool:
        if not self._link.is_behind:
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
