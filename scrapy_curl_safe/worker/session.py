"""curl sessions: one for each profile, so that nothing crosses from one to another.

A session is a libcurl multi handle with its own connections and its own cache of TLS
tickets. Tickets that cross proxies would tell a site that the visitors are one
(curl_cffi 0.16.3 and 0.17.0 offer them across proxies inside one session).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from curl_cffi import AsyncCurl, Curl, CurlMOpt, ffi, lib

from ..wire import Profile, decode_profile
from .browser import browser_headers, make_handle
from .certificates import Certificates

# Idle handles kept for reuse. One costs about 20 kB, making one about 0.1 ms.
_SPARE_HANDLES = 64


class ExhaustedError(Exception):
    """This machine has no descriptor or memory left for a session."""


class Session:
    """Connections, tickets and prepared handles of one profile.

    Args:
        profile: of all requests of the session.
        max_connections: idle ones that are kept, the oldest closed first; with those in use
            and those that are being closed there are at most twice as many.

    Raises:
        ExhaustedError: no session can be made now.
        ProfileError: see `make_handle`.
    """

    def __init__(self, profile: Profile, max_connections: int) -> None:
        self.profile = profile
        self.browser_headers = browser_headers(profile)
        self.certificates = Certificates()
        self.in_flight = 0
        self._spare: list[Curl] = [make_handle(profile)]
        self._curls = AsyncCurl()
        if self._curls._curlm == ffi.NULL:
            raise ExhaustedError("no descriptor or memory is left for a session")
        self._set_option(CurlMOpt.MAXCONNECTS, max_connections)
        # Those that wait for a close_notify count, too: where one does not come, libcurl 8.21
        # would wait for good.
        self._set_option(CurlMOpt.MAX_TOTAL_CONNECTIONS, 2 * max_connections)

    def _set_option(self, option: CurlMOpt, number: int) -> None:
        # AsyncCurl.setopt hands libcurl the address of a number where it takes the number
        # (curl_cffi 0.15 and 0.16.3), which libcurl ignores.
        lib.curl_multi_setopt(self._curls._curlm, option, ffi.cast("void *", number))

    def start(self, curl: Curl) -> asyncio.Future[None]:
        self.in_flight += 1
        future: asyncio.Future[None] = self._curls.add_handle(curl)
        return future

    def cancel(self, curl: Curl) -> None:
        """Stop a started transfer; its future is cancelled."""
        self._curls.remove_handle(curl)

    def take(self) -> Curl:
        return self._spare.pop() if self._spare else make_handle(self.profile)

    def give_back(self, curl: Curl, *, started: bool) -> None:
        self.in_flight -= started
        # Also drops the callbacks, and with them all that they hold.
        curl.clean_handles_and_buffers()
        if len(self._spare) < _SPARE_HANDLES:
            self._spare.append(curl)
        else:
            curl.close()

    async def close(self) -> None:
        for curl in self._spare:
            curl.close()
        self._spare.clear()
        await self._curls.close()  # type: ignore[no-untyped-call]


class Sessions:
    """The sessions of a worker, by encoded profile, the least used closed first.

    Args:
        limit: how many to keep. An idle one costs 23 kB and ten wake-ups a second.
        max_connections: of each of them.
    """

    def __init__(self, limit: int, max_connections: int) -> None:
        self._limit = limit
        self._max_connections = max_connections
        self._by_profile: OrderedDict[bytes, Session] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, profile: bytes) -> Session:
        """
        Raises:
            ExhaustedError: no session can be made now.
            ProfileError: see `make_handle`.
            WireError: it is not a profile.
        """
        session = self._by_profile.get(profile)
        if session is not None:
            self._by_profile.move_to_end(profile)
            return session
        session = Session(decode_profile(profile), self._max_connections)
        self._by_profile[profile] = session
        self._close_surplus()
        return session

    def _close_surplus(self) -> None:
        surplus = len(self._by_profile) - self._limit
        if surplus <= 0:
            return
        newest = next(reversed(self._by_profile))
        idle = [k for k, s in self._by_profile.items() if not s.in_flight and k != newest]
        for key in idle[:surplus]:
            task = asyncio.ensure_future(self._by_profile.pop(key).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
