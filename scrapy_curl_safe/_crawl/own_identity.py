"""Requests for which a user has set what a session would."""

from __future__ import annotations

import logging
from typing import Any

from .meta import BOUND
from .session_pools import shown_proxy

logger = logging.getLogger(__name__)

# Requests after which it is said that none of them could get a session.
_ENOUGH_REQUESTS = 20


def is_users_own(meta: dict[str, Any]) -> bool:
    """Tell whether a user has set what a session would: such a request has none."""
    bound = meta.get(BOUND) or {}
    return (
        bool(meta.get("dont_merge_cookies"))
        or has_own_cookiejar(meta, bound)
        or has_own_proxy(meta, bound)
    )


def has_own_cookiejar(meta: dict[str, Any], bound: dict[str, Any]) -> bool:
    key = meta.get("cookiejar")
    return key is not None and key != bound.get("cookiejar")


def has_own_proxy(meta: dict[str, Any], bound: dict[str, Any]) -> bool:
    """Tell whether a user has set the proxy, which may be None; one of the environment is neither
    the user's nor the session's."""
    return (
        "proxy" in meta
        and not meta.get("_scheme_proxy")
        and ("proxy" not in bound or shown_proxy(meta["proxy"]) != bound["proxy"])
    )


class OwnProxiesWarning:
    """Says once that CURL_SAFE_SESSIONS is of no use, if all requests have a proxy of their own."""

    def __init__(self) -> None:
        self._requests = 0
        self._is_over = False

    def note(self, has_own: bool) -> None:
        """Note a request, and whether it has no session for its own proxy."""
        if self._is_over:
            return
        if not has_own:
            self._is_over = True
            return
        self._requests += 1
        if self._requests == _ENOUGH_REQUESTS:
            self._warn(f"All {self._requests} requests so far had a proxy of their own")

    def close(self) -> None:
        """Note that there are no more requests."""
        if self._is_over or not self._requests:
            return
        if self._requests == 1:
            self._warn("The only request had a proxy of its own")
        else:
            self._warn(f"All {self._requests} requests had a proxy of their own")

    def _warn(self, what: str) -> None:
        self._is_over = True
        logger.warning(
            '%s (meta["proxy"]), so none got a session: remove the middleware that sets it, or '
            "CURL_SAFE_SESSIONS",
            what,
        )
