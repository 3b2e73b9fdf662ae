"""curl sessions: one for each profile, so that nothing crosses from one to another.

A session is a libcurl multi handle with its own connections and its own cache of TLS
tickets. Tickets that cross proxies would tell a site that the visitors are one
(curl_cffi 0.16.3 and 0.17.0 offer them across proxies inside one session).
"""

from __future__ import annotations

from collections import OrderedDict

from curl_cffi import CurlMOpt

from .._ipc.messages import Profile, decode_profile
from .browser import make_handle
from .certificates import Certificates
from .easy import EasyHandle
from .header_lists import HeaderLists
from .loop import Loop
from .multi import Multi

# Idle handles kept for reuse. One costs about 30 kB, making one about 0.1 ms.
_SPARE_HANDLES = 64
# HTTP/2 streams on a connection: what every origin should allow (RFC 9113, section 6.5.2) and
# libcurl assumes until it is told. curl_cffi 0.17.0 assumes more: where an origin allows fewer,
# the surplus of a burst waited in the connection until others had ended.
_STREAMS = 100


class ExhaustedError(Exception):
    """This machine has no descriptor or memory left for a session."""


class Session:
    """Connections, tickets and prepared handles of one profile.

    Args:
        loop: of the worker.
        profile: of all requests of the session.
        max_connections: idle ones that are kept, the oldest closed first; with those in use
            and those that are being closed there are at most twice as many.

    Raises:
        ExhaustedError: no session can be made now.
        ProfileError: see `make_handle`.
    """

    def __init__(self, loop: Loop, profile: Profile, max_connections: int) -> None:
        self.profile = profile
        self.header_lists = HeaderLists(profile)
        self.in_flight = 0
        self._spare: list[EasyHandle] = [make_handle(profile)]
        self.transfers = Multi(loop)
        if not self.transfers.is_usable:
            raise ExhaustedError("no descriptor or memory is left for a session")
        self.certificates = Certificates(self.transfers.running)
        self.transfers.set_number(CurlMOpt.MAXCONNECTS, max_connections)
        # Those that wait for a close_notify count, too: where one does not come, libcurl 8.21
        # would wait for good.
        self.transfers.set_number(CurlMOpt.MAX_TOTAL_CONNECTIONS, 2 * max_connections)
        self.transfers.set_number(CurlMOpt.MAX_CONCURRENT_STREAMS, _STREAMS)

    def take(self) -> EasyHandle:
        self.in_flight += 1
        return self._spare.pop() if self._spare else make_handle(self.profile)

    def give_back(self, handle: EasyHandle) -> None:
        self.in_flight -= 1
        if len(self._spare) < _SPARE_HANDLES:
            handle.forget()
            self._spare.append(handle)
        else:
            handle.close()

    def close(self) -> None:
        """There must be none in flight."""
        for handle in self._spare:
            handle.close()
        self._spare.clear()
        self.transfers.close()


class Sessions:
    """The sessions of a worker, by encoded profile, the least used closed first.

    Args:
        loop: of the worker.
        limit: how many to keep. An idle one costs 23 kB and ten wake-ups a second.
        max_connections: of each of them.
    """

    def __init__(self, loop: Loop, limit: int, max_connections: int) -> None:
        self._loop = loop
        self._limit = limit
        self._max_connections = max_connections
        self._by_profile: OrderedDict[bytes, Session] = OrderedDict()

    def get(self, profile: bytes) -> Session:
        """
        Raises:
            ExhaustedError: no session can be made now.
            ProfileError: see `make_handle`.
            ProtocolError: the bytes are no profile.
        """
        session = self._by_profile.get(profile)
        if session is not None:
            self._by_profile.move_to_end(profile)
            return session
        session = Session(self._loop, decode_profile(profile), self._max_connections)
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
            self._by_profile.pop(key).close()
