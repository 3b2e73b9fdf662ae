"""The health of a proxy, in all and at each origin. Pure."""

from __future__ import annotations

from collections import Counter

from ..backoff import backoff

# The first rest after a failure, in seconds; each further one is twice as long.
FIRST_REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 300.0
# Failures in a row of what has worked before: fewer may be chance.
_TOLERATED = 3
# Origins at which a proxy may have a bad name, of which the oldest is forgotten.
_MOST_ORIGINS = 1000


class Rest:
    """Decides whether something that fails is to be left alone.

    Attributes:
        until: no request is sent before, but for a trial.
        rests: in a row.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.rests = 0
        self._failures = 0
        self._is_tried = False

    def is_over(self, now: float) -> bool:
        return now >= self.until

    def failed(self, now: float, tolerated: int) -> None:
        """Count a failure, with which a rest may begin.

        Failures of requests that were sent before it began tell nothing new. That of a trial does.
        """
        if now < self.until and not self._is_tried:
            return
        self._failures += 1
        if self._failures < tolerated and not self.rests:
            return
        self.rests += 1
        # No two trials have to be kept apart, so the wait is not drawn.
        self.until = now + backoff(self.rests, FIRST_REST_SECONDS, LONGEST_REST_SECONDS, 1.0)
        self._is_tried = False

    def succeeded(self) -> None:
        self.until, self.rests, self._failures, self._is_tried = 0.0, 0, 0, False

    def begin_trial(self, now: float, seconds: float) -> None:
        """Send one request, and no other until its outcome is known.

        Args:
            seconds: after which it counts as lost.
        """
        if self.rests:
            self.until, self._is_tried = now + seconds, True


class Proxy:
    """A proxy, and what is known about it.

    Args:
        url: with the credentials.
        label: without them.

    Attributes:
        requests: that were sent through it.
        failures: by the cause.
        blocks: responses that said no.
        last_failure: why the last request failed by it, in words.
    """

    def __init__(self, url: str, label: str) -> None:
        self.url = url
        self.label = label
        self.requests = 0
        self.failures: Counter[str] = Counter()
        self.blocks = 0
        self.last_failure = ""
        self._rest = Rest()
        self._at: dict[str, Rest] = {}
        self._is_proven = False

    def is_resting(self, now: float) -> bool:
        return not self._rest.is_over(now)

    def available_at(self, origin: str) -> float:
        at = self._at.get(origin)
        return self._rest.until if at is None else max(self._rest.until, at.until)

    def begin(self, origin: str, now: float, trial_seconds: float) -> None:
        """Note a request; after a rest it is a trial."""
        self.requests += 1
        self._rest.begin_trial(now, trial_seconds)
        at = self._at.get(origin)
        if at is not None:
            at.begin_trial(now, trial_seconds)

    def succeeded(self, origin: str) -> None:
        self._is_proven = True
        self._rest.succeeded()
        self._at.pop(origin, None)

    def failed(self, origin: str, cause: str, now: float) -> int:
        """Note that no connection through it was made, or that a request timed out; return how
        often in a row it has had to rest for that, at this origin."""
        self.failures[cause] += 1
        tolerated = _TOLERATED if self._is_proven else 1
        at = self._at_origin(origin)
        at.failed(now, tolerated)
        self._rest.failed(now, tolerated)
        return at.rests

    def blocked(self, origin: str, now: float) -> None:
        """Note that an origin refused a request, which says nothing about others."""
        self.blocks += 1
        self._rest.succeeded()
        self._at_origin(origin).failed(now, _TOLERATED)

    def _at_origin(self, origin: str) -> Rest:
        at = self._at.get(origin)
        if at is None:
            if len(self._at) >= _MOST_ORIGINS:
                del self._at[next(iter(self._at))]
            at = self._at[origin] = Rest()
        return at
