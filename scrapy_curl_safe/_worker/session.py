"""Curl sessions: one for each profile, so that nothing crosses from one profile to another.

A session is a libcurl multi handle with its own connections and its own cache of TLS tickets. A
ticket that crossed proxies would show a site that two visitors are the same (curl_cffi 0.16.3 and
0.17.0 offer tickets across proxies inside one session).
"""

from __future__ import annotations

from collections import OrderedDict

from curl_cffi import CurlMOpt

from .._ipc.messages import Profile, decode_profile
from .browser import create_easy_handle
from .browser_heads import BrowserHeads
from .certificates import certificates_of
from .easy import EasyHandle
from .easy_substitutes import CAN_REUSE_HANDLES
from .header_lists import HeaderLists
from .lookups import Lookups
from .loop import Loop
from .multi import Multi
from .redirected_multi import RedirectedMulti
from .targets import resolve_browser

# An idle handle takes about 30 kB.
_MAX_IDLE_HANDLES = 64 if CAN_REUSE_HANDLES else 0
# HTTP/2 streams of a connection: the number that every origin should allow (RFC 9113, section
# 6.5.2) and that libcurl assumes until the origin's settings arrive. curl_cffi 0.17.0 assumes more:
# if an origin allows fewer, the surplus of a burst waits in the connection until other streams end.
_MAX_CONCURRENT_STREAMS = 100
# A session that verifies certificates takes 1 MB, since each multi handle keeps the authorities.
# Any other takes 0.1 MB.
_MOST_WITH_AUTHORITIES = 64


class OutOfResourcesError(Exception):
    """Says that this process has no descriptor or memory left for a request."""


class Session:
    """Connections, TLS tickets and prepared easy handles of one profile.

    Args:
        loop: of the worker.
        profile: of all requests of the session.
        max_in_flight: the most requests at once.
        lookups: looks up names; None to leave that to libcurl.

    Attributes:
        multi: runs the session's transfers.
        header_lists: of the session's requests.
        http3_header_lists: of those that use HTTP/3; None if they have the same headers.
        browser_heads: of those that have a browser's head.
        certificates: those that the session has seen.
        in_flight: the number of handles in use.

    Raises:
        HttpSyntaxError: see `HeaderLists`.
        OutOfResourcesError: no session can be made now.
        ProfileError: see `create_easy_handle`.
    """

    def __init__(
        self, loop: Loop, profile: Profile, max_in_flight: int, lookups: Lookups | None
    ) -> None:
        self.profile = profile
        self._max_in_flight = max_in_flight
        self._max_idle = 0
        self.header_lists = HeaderLists(profile)
        self.http3_header_lists = (
            HeaderLists(profile, for_http3=True) if _differs(profile) else None
        )
        self.in_flight = 0
        self.browser_heads = BrowserHeads(profile, self.header_lists)
        # By whether they have sent a browser's head: what it sets, including values of the target,
        # cannot be undone for another request.
        self._idle_handles: dict[bool, list[EasyHandle]] = {True: [], False: []}
        self._idle_handles[not profile.default_headers].append(create_easy_handle(profile))
        if lookups is None:
            self.multi = Multi(loop)
        else:
            self.multi = RedirectedMulti(loop, lookups, profile.proxy)
        if not self.multi.is_usable:
            raise OutOfResourcesError("no descriptor or memory is left for a session")
        self.certificates = certificates_of(self.multi.transfers)
        self.multi.set_number(CurlMOpt.MAX_CONCURRENT_STREAMS, _MAX_CONCURRENT_STREAMS)

    def __repr__(self) -> str:
        browser = self.profile.impersonate or "no browser"
        idle = sum(map(len, self._idle_handles.values()))
        return f"<Session {browser}, {self.in_flight} in flight, {idle} idle handles>"

    def keep_idle(self, most: int) -> None:
        """Keep so many idle connections; the oldest is closed first."""
        if most != self._max_idle:
            self._max_idle = most
            self.multi.set_number(CurlMOpt.MAXCONNECTS, most)
            # Connections that wait for a close_notify count, too. If none comes, libcurl 8.21 would
            # wait for ever.
            most += self._max_in_flight
            self.multi.set_number(CurlMOpt.MAX_TOTAL_CONNECTIONS, most)

    def acquire(self, *, for_browser_head: bool) -> EasyHandle:
        """Return an easy handle for one request."""
        self.in_flight += 1
        idle = self._idle_handles[for_browser_head]
        return idle.pop() if idle else create_easy_handle(self.profile)

    def release(self, easy: EasyHandle, *, for_browser_head: bool) -> None:
        """Take back a handle whose transfer is over.

        Args:
            for_browser_head: as when it was acquired.
        """
        idle = self._idle_handles[for_browser_head]
        if len(idle) < _MAX_IDLE_HANDLES:
            self.in_flight -= 1
            easy.reuse()
            idle.append(easy)
        else:
            self.discard(easy)

    def discard(self, easy: EasyHandle) -> None:
        """Close an acquired handle whose transfer is over."""
        self.in_flight -= 1
        easy.close()

    def close(self) -> None:
        """Close all connections. No request may be in flight."""
        for idle in self._idle_handles.values():
            for easy in idle:
                easy.close()
            idle.clear()
        self.multi.close()


def _differs(profile: Profile) -> bool:
    """Tell whether requests may use HTTP/3, and the fingerprint has other headers for that."""
    may_be_http3 = (profile.http_version or "").startswith("v3")
    return may_be_http3 and bool((profile.fingerprint or {}).get("http3_headers"))


class SessionCache:
    """The sessions of a worker, by encoded profile. The least recently used one is closed first.

    Args:
        loop: of the worker.
        max_sessions: how many to keep, and no more than 64 of those that verify certificates.
        max_in_flight: the most requests at once.
        max_idle: the most idle connections of a session.
        max_idle_in_all: the most idle connections of all sessions together.
        lookups: as a `Session` takes them.
    """

    def __init__(
        self,
        loop: Loop,
        max_sessions: int,
        max_in_flight: int,
        max_idle: int,
        max_idle_in_all: int,
        lookups: Lookups | None,
    ) -> None:
        self._loop = loop
        self._lookups = lookups
        self._max_sessions = max_sessions
        self._max_in_flight = max_in_flight
        self._max_idle = max_idle
        self._max_idle_in_all = max_idle_in_all
        self._verifying = 0
        self._share = 0
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._latest: tuple[bytes, Session] | None = None

    def get(self, profile: bytes) -> Session:
        """Return the session of a profile; make it if there is none.

        Raises:
            HttpSyntaxError, OutOfResourcesError, ProfileError: see `Session`.
            ProtocolError: the bytes are not a profile.
        """
        # A profile is quicker to compare than to hash, and most requests have the one before's.
        if self._latest is not None and self._latest[0] == profile:
            return self._latest[1]
        session = self._sessions.get(profile) or self._add(profile)
        self._sessions.move_to_end(profile)
        session.keep_idle(self._share)
        self._latest = profile, session
        return session

    def _add(self, profile: bytes) -> Session:
        decoded = resolve_browser(decode_profile(profile))
        session = Session(self._loop, decoded, self._max_in_flight, self._lookups)
        self._sessions[profile] = session
        self._verifying += decoded.verify
        while len(self._sessions) > self._max_sessions and self._close_one(verifying=False):
            pass
        while self._verifying > _MOST_WITH_AUTHORITIES and self._close_one(verifying=True):
            pass
        self._share = min(self._max_idle, self._max_idle_in_all // len(self._sessions))
        return session

    def _close_one(self, *, verifying: bool) -> bool:
        """Close the session that was not used for longest, but not the newest one.

        Args:
            verifying: whether it must be one that verifies certificates.

        Returns:
            False if all are in use.
        """
        newest = next(reversed(self._sessions))
        for key, session in self._sessions.items():
            if not session.in_flight and key != newest and session.profile.verify >= verifying:
                del self._sessions[key]
                self._verifying -= session.profile.verify
                session.close()
                return True
        return False
