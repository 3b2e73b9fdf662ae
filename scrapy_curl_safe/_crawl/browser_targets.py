"""Learns from a worker what each impersonated browser contributes to its requests' headers.

Only curl_cffi knows that, and the crawler does not load it. So before the first request with a
target goes out, a worker reports what it would send with the target's own headers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from .._ipc.messages import (
    Chunk,
    Completed,
    Fetch,
    InvalidRequest,
    Profile,
    ResponseHead,
    SizeWarning,
    encode_profile,
)
from .._pool.errors import PoolError, WorkerLostError, WorkersExhaustedError
from .._pool.event_loop import EventLoop, Future
from .._pool.origins import Origin, Route
from .._pool.request import PoolRequest, Result
from .browser.target import Target, learn_target
from .profile import EncodedProfile

logger = logging.getLogger(__name__)

# No connection is made.
_URL = "http://127.0.0.1/"
_TIMEOUT_SECONDS = 10.0
# A worker can die of another cause meanwhile.
_MOST_TRIES = 3
# Profiles include proxy credentials, of which there may be any number.
_MOST_PROFILES = 4096


def encoded_browser(profile: Profile) -> bytes:
    """Return what a worker has to know of a profile's browser."""
    return encode_profile(
        Profile(
            impersonate=profile.impersonate,
            substitute=profile.substitute,
            fingerprint=profile.fingerprint,
            extra_fp=profile.extra_fp,
            # With any other version, libcurl offers an upgrade over plain http.
            http_version="v2tls",
        )
    )


def request_of_head(browser: bytes) -> Fetch:
    """Return the request for the head that a browser would send.

    Args:
        browser: as `encoded_browser` returned it.
    """
    return Fetch(url=_URL, profile=browser, timeout_seconds=_TIMEOUT_SECONDS, echo=True)


def read_head(body: bytes) -> Target | None:
    """Return the target whose head a worker has made; None if that is no browser's."""
    lines = body.decode("latin-1").split("\r\n")[1:]
    pairs = [line.partition(":") for line in lines]
    headers = [(name, value.strip()) for name, _, value in pairs]
    has_agent = any(name.lower() == "user-agent" for name, _ in headers)
    return learn_target(headers) if has_agent else None


class _NoListener:
    """Ignores the messages of a download."""

    def on_sent(self) -> None:
        """Do nothing."""

    def on_message(self, message: ResponseHead | Chunk | SizeWarning, body: bytes) -> bool:
        """Let the download go on."""
        return True


class BrowserTargets:
    """The targets of a crawl. If one cannot be learned, it is None, and its fixed headers are sent.

    Args:
        loop: the crawl's event loop.
        fetch: sends a request to a worker.
    """

    def __init__(self, loop: EventLoop, fetch: Callable[[PoolRequest], Awaitable[Result]]) -> None:
        self._loop = loop
        self._fetch = fetch
        self._by_browser: dict[bytes, Target | None] = {}
        self._by_profile: dict[bytes, Target | None] = {}
        self._waiting: dict[bytes, list[Future[None]]] = {}

    def is_known(self, profile: EncodedProfile) -> bool:
        """Tell whether a profile's target needs no learning any more."""
        return profile.encoded in self._by_profile

    def get(self, profile: EncodedProfile) -> Target | None:
        """Return the target of a profile; None if there is none."""
        return self._by_profile.get(profile.encoded)

    async def learn(self, profile: EncodedProfile) -> None:
        """Learn the target of a profile, once for all profiles with its browser."""
        browser = encoded_browser(profile.profile)
        while browser not in self._by_browser:
            if browser in self._waiting:
                turn = self._loop.create_future()
                self._waiting[browser].append(turn)
                await turn
                continue
            self._waiting[browser] = []
            try:
                if not await self._learn(browser):
                    return
            finally:
                for turn in self._waiting.pop(browser):
                    if not turn.done():
                        turn.set_result(None)
        self._note(profile, self._by_browser[browser])

    def leave(self, profile: EncodedProfile) -> None:
        """Count the target of a profile as known, since none is needed."""
        self._note(profile, None)

    def _note(self, profile: EncodedProfile, target: Target | None) -> None:
        if len(self._by_profile) >= _MOST_PROFILES:
            self._by_profile.clear()
        self._by_profile[profile.encoded] = target

    async def _learn(self, browser: bytes) -> bool:
        """Learn a browser; return False if the workers are exhausted, and nothing can be sent."""
        reason: Exception | None = None
        for _ in range(_MOST_TRIES):
            try:
                self._by_browser[browser] = await self._ask(browser)
                return True
            except WorkersExhaustedError:
                return False
            except WorkerLostError as error:
                reason = error
            except (PoolError, _NotMadeError) as error:
                reason = error
                break
        logger.warning(
            "The headers of %s could not be learned from a worker: %s. Its requests go out with "
            "its fixed headers, as with CURL_SAFE_BROWSER_HEADERS = 'static'",
            msgspec.msgpack.decode(browser, type=Profile).impersonate or "a fingerprint",
            reason,
        )
        self._by_browser[browser] = None
        return True

    async def _ask(self, browser: bytes) -> Target | None:
        request = PoolRequest(
            request_of_head(browser),
            b"",
            key=(_URL, browser),
            listener=_NoListener(),
            origin=Origin(Route(_URL, None), 1, 1),
            needs_tls=False,
        )
        result = await self._fetch(request)
        if isinstance(result.outcome, InvalidRequest):
            # curl_cffi does not know the browser. The request itself will fail for that reason.
            return None
        if not isinstance(result.outcome, Completed):
            raise _NotMadeError(f"{result.outcome}")
        return read_head(result.body)


class _NotMadeError(Exception):
    """Says why a worker made no head."""
