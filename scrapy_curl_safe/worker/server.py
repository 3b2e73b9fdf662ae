"""The worker's loop: messages from the crawler in, downloads, messages out."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket

import curl_cffi

from ..link import Link
from ..wire import (
    Cancel,
    Fetch,
    FromWorker,
    Hello,
    Pulse,
    Ready,
    Refused,
    ToWorker,
    WireError,
    decode_profile,
    to_worker_decoder,
)
from .browser import ProfileError, make_handle
from .download import Download
from .session import Sessions


def serve(fd: int) -> None:
    """Work for the crawler at the other end of this socket until it is gone."""
    # Ctrl-C reaches a whole terminal; when its workers end is for the crawler to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _raise_open_files_limit()
    # What is loaded by now stays; the collector need not look at it again.
    gc.freeze()
    asyncio.run(_Server(socket.socket(fileno=fd)).run())


def _raise_open_files_limit() -> None:
    """As far as an unprivileged process may: the soft limit is often 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _die(loop: asyncio.AbstractEventLoop, context: object) -> None:
    """End the worker at an exception that nothing was prepared for, no memory above all.

    Whoever waits for a download would wait for ever; of a dead worker the crawler hears,
    and has its requests done by another. Nothing is logged: that takes memory, too.
    """
    os._exit(70)  # EX_SOFTWARE of sysexits.h


class _Server:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._downloads: dict[int, Download] = {}
        self._paused: list[Download] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_die)
        self._loop = loop
        self._link: Link[ToWorker] = Link(
            loop,
            self._sock,
            to_worker_decoder(),
            self._on_message,
            self._on_lost,
            self._on_drained,
        )
        await asyncio.Event().wait()  # until _on_lost

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
        else:
            self._greet(message)

    def _greet(self, hello: Hello) -> None:
        self._sessions = Sessions(hello.max_sessions, hello.max_connections)
        problem = _problem(hello.profiles)
        if problem is None:
            self._sessions.get(hello.profiles[0][1])
        self._link.send(Ready(os.getpid(), curl_cffi.Curl().version().decode(), problem))
        self._pulse(hello.pulse_interval)

    def _pulse(self, interval: float) -> None:
        self._link.send(Pulse(_resident_megabytes(), len(self._downloads)))
        self._loop.call_later(interval, self._pulse, interval)

    def _fetch(self, fetch: Fetch, body: bytes) -> None:
        try:
            session = self._sessions.get(fetch.profile)
        except (ProfileError, WireError) as error:
            self._link.send(Refused(fetch.id, str(error)))
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


def _resident_megabytes() -> int:
    """0 where the system has no /proc."""
    try:
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
