"""Takes messages from the crawler, starts downloads, and sends messages back."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from collections import deque

from curl_cffi import Curl
from msgspec.structs import replace

from .._ipc.body_files import FileOrder
from .._ipc.channel import Channel
from .._ipc.failures import FailureKind
from .._ipc.framing import to_worker_decoder
from .._ipc.http_syntax import HttpSyntaxError
from .._ipc.messages import (
    Cancel,
    Failed,
    Fetch,
    Heartbeat,
    Hello,
    InvalidRequest,
    ProtocolError,
    Ready,
    ResolvedBrowser,
    SliceReleased,
    ToWorker,
    TransferStats,
    decode_profile,
    version_problem,
)
from .._platform.redirects import are_lookups_redirected, redirects_problem
from .._platform.refusals import Facility, note_refusal, noted_refusals
from .._platform.system import system
from .._version import __version__
from . import EX_SOFTWARE
from .body_file import BodyFile
from .browser import create_easy_handle
from .curl_api import missing_names
from .decoded_download import DecodedDownload
from .download import Download
from .easy_substitutes import lookups_problem
from .file_download import FileDownload
from .head_echo import new_head_echo
from .header_lists import HeaderLists
from .lookups import Lookups
from .loop import Loop, LoopTimer
from .session import OutOfResourcesError, SessionCache
from .stream_pool import streams
from .streamed_download import StreamedDownload
from .targets import CURL_CFFI_VERSION, ProfileError, resolve_browser, target_systems

# How long a worker waits for its Hello before it concludes that the crawl never began.
_HELLO_TIMEOUT_SECONDS = 30.0


def serve(sock: socket.socket, memory: int | None = None) -> None:
    """Work for the crawler at the other end of a socket until the crawler is gone.

    Args:
        sock: to the crawler.
        memory: the descriptor of the shared memory, if there is any.
    """
    system.tie_to_parent()
    max_descriptors = system.confine_worker()
    # What is loaded by now stays; the collector need not look at it again.
    gc.freeze()
    if memory is not None:
        try:
            streams.use_shared_memory(memory)
        except OSError as error:
            note_refusal(Facility.SHARED_MEMORY, error)
    loop = Loop()
    _Server(loop, sock, max_descriptors)
    try:
        loop.run()
    finally:
        # Nothing is prepared for an exception that gets here, a lack of memory above all. Without
        # this loop the requests in flight would wait for ever. The crawler notices a worker that
        # exits, and gives its requests to another one. Nothing is logged: that takes memory, too.
        os._exit(EX_SOFTWARE)


class _Server:
    """The worker's end of the channel to its crawler.

    Args:
        loop: of the worker.
        sock: to the crawler.
        max_descriptors: that this process may have open.
    """

    def __init__(self, loop: Loop, sock: socket.socket, max_descriptors: int) -> None:
        self._loop = loop
        self._max_descriptors = max_descriptors
        self._resolver_state = system.resolver_state()
        self._downloads: dict[int, Download] = {}
        self._paused: list[StreamedDownload] = []
        # Of files, each of which is the next Fetch's that wants one; None where it got lost.
        self._descriptors: deque[int | None] = deque()
        self._channel: Channel[ToWorker] = Channel(
            loop,
            sock,
            to_worker_decoder(),
            self._on_message,
            self._on_connection_lost,
            self._on_drained,
            on_descriptor=self._descriptors.append,
        )
        self._hello_timer = LoopTimer(loop, lambda: self._on_hello_timeout(sock))
        self._hello_timer.set(_HELLO_TIMEOUT_SECONDS)

    def _on_hello_timeout(self, sock: socket.socket) -> None:
        try:
            sock.recv(1, socket.MSG_PEEK)
        except OSError:
            self._on_connection_lost(None)
        else:
            # It came while this process had no CPU to read it.
            self._hello_timer.set(_HELLO_TIMEOUT_SECONDS)

    def _on_connection_lost(self, reason: Exception | None) -> None:
        # The crawler is gone, or what it sends makes no sense. Either way nobody waits for an
        # orderly end of transfers, threads and sessions.
        os._exit(1 if isinstance(reason, ProtocolError) else 0)

    def _on_message(self, message: ToWorker, body: bytes) -> None:
        if isinstance(message, Fetch):
            self._on_fetch(message, body)
        elif isinstance(message, Cancel):
            download = self._downloads.get(message.id)
            if download is not None:
                download.cancel()
        elif isinstance(message, SliceReleased):
            streams.release_shared()
        else:
            self._on_hello(message)

    def _on_hello(self, hello: Hello) -> None:
        self._hello_timer.set(None)
        self._encodings = frozenset(hello.encodings)
        lookups = Lookups(self._loop) if are_lookups_redirected() else None
        self._sessions = SessionCache(
            self._loop,
            hello.max_sessions,
            max_in_flight=hello.max_in_flight,
            max_idle=hello.max_idle,
            # The other descriptors are for connections in use, and for those that peers leave open.
            max_idle_in_all=min(2 * hello.max_idle, self._max_descriptors // 4),
            lookups=lookups,
        )
        problem = version_problem(worker=__version__, crawler=hello.version)
        problem = problem or redirects_problem()
        if lookups is not None:
            problem = problem or lookups_problem()
        problem = problem or _problem(hello.profiles)
        if problem is None:
            self._sessions.get(hello.profiles[0][1])
        version = Curl().version().decode()
        system.resident_megabytes()  # notes whether it is known
        self._channel.send(
            Ready(
                curl=version,
                max_descriptors=self._max_descriptors,
                refusals={facility.value: why for facility, why in noted_refusals().items()},
                missing=missing_names(),
                problem=problem,
                curl_cffi=CURL_CFFI_VERSION,
                targets=target_systems(),
                browsers=_browsers(hello.profiles),
            )
        )
        self._heartbeat_timer = LoopTimer(self._loop, lambda: self._send_heartbeat(hello))
        self._send_heartbeat(hello)

    def _send_heartbeat(self, hello: Hello) -> None:
        memory_mb = system.resident_megabytes()
        if 0 < hello.max_memory_mb < memory_mb:
            system.trim_memory()
            memory_mb = system.resident_megabytes()
        self._channel.send(
            Heartbeat(
                memory_mb=memory_mb,
                descriptors=system.open_descriptors(),
                resolver_changed=system.resolver_state() != self._resolver_state,
            )
        )
        self._heartbeat_timer.set(hello.heartbeat_interval_seconds)

    def _on_fetch(self, fetch: Fetch, body: bytes) -> None:
        send, on_end = self._channel.send, self._on_end
        try:
            file = None if fetch.file is None else self._body_file(fetch.file)
            session = self._sessions.get(fetch.profile)
        except (HttpSyntaxError, ProfileError, ProtocolError) as error:
            send(InvalidRequest(id=fetch.id, detail=str(error)))
            return
        except OutOfResourcesError as error:
            kind = FailureKind.LOCAL
            send(Failed(id=fetch.id, stats=TransferStats(), kind=kind, detail=str(error)))
            return
        download: Download
        if fetch.echo:
            download = new_head_echo(self._loop, session, fetch, send, on_end)
        elif file is not None:
            download = FileDownload(
                session, fetch, body, send, on_end, self._must_pause, file, self._loop.call_soon
            )
        elif fetch.stream:
            download = StreamedDownload(session, fetch, body, send, on_end, self._must_pause)
        elif self._encodings:
            download = DecodedDownload(
                session, fetch, body, send, on_end, self._loop, self._encodings
            )
        else:
            download = Download(session, fetch, body, send, on_end)
        self._downloads[fetch.id] = download
        download.start()

    def _body_file(self, order: FileOrder) -> BodyFile:
        """Take the file of a Fetch.

        Raises:
            OutOfResourcesError: the worker had no descriptor left for it.
        """
        handle = order.handle
        descriptor = system.open_copy(handle) if handle else self._descriptors.popleft()
        if descriptor is None:
            raise OutOfResourcesError("no descriptor is left for a file")
        return BodyFile(descriptor, order)

    def _on_end(self, request_id: int) -> None:
        del self._downloads[request_id]

    # Flow control of streamed downloads

    def _must_pause(self, download: StreamedDownload) -> bool:
        if not self._channel.is_behind:
            return False
        self._paused.append(download)
        return True

    def _on_drained(self) -> None:
        paused, self._paused = self._paused, []
        for download in paused:
            download.resume()


def _browsers(profiles: list[tuple[str, bytes]]) -> list[ResolvedBrowser]:
    found = []
    for _, encoded in profiles:
        profile = decode_profile(encoded)
        with contextlib.suppress(ProfileError):
            target = resolve_browser(profile).impersonate
            if profile.impersonate is not None and target is not None:
                found.append(ResolvedBrowser(profile.impersonate, target))
    return found


def _problem(profiles: list[tuple[str, bytes]]) -> str | None:
    """Try the profiles, and return why one of them cannot be used; None if all can."""
    for setting, encoded in profiles:
        try:
            profile = resolve_browser(decode_profile(encoded))
            create_easy_handle(profile).close()
            # A fingerprint's own headers are part of what is sent, too.
            HeaderLists(replace(profile, default_headers=True))
        except (HttpSyntaxError, ProfileError) as error:
            return f"{setting}: {error}"
    return None
