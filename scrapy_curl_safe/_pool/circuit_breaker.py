"""Stops all TLS handshakes with an origin for a while. Pure: the clock comes as an argument.

    closed --- handshakes keep failing ---> open --- the time is over ---> half-open
      ^                                        ^                                |
      |                                        +---- the trial request fails ---+
      +--------------------------- a handshake succeeds ------------------------+

While the breaker is open, no request goes to the origin. It stays open twice as long each time, up
to a minute. Then one trial request goes out, and its handshake decides. If a slow answer delays the
decision, another trial request follows after twice the time.

Requests that come meanwhile are queued, unless the origin may be dead: if it has never completed a
handshake, or none for a minute, they are rejected.
"""

from __future__ import annotations

import enum

# Consecutive failures that a lower limit would not have prevented. With 30 % random loss, ten in a
# row have a chance of one in 170,000.
_FAILURES_TO_OPEN = 10
# A failure may arrive sooner than a success: this is the time to wait for a success from the
# handshakes under way.
_SECONDS_TO_OPEN = 0.25
_FIRST_OPEN_SECONDS = 1.0
_LONGEST_OPEN_SECONDS = 60.0
# A time that is over: the breaker is open, and its next trial is due.
_PAST = 0.0
# Once it opens for so long, 15 s have passed: an origin that was only starting would have answered.
_DEAD_OPEN_SECONDS = 16.0


class Admission(enum.Enum):
    """The decision about a request that needs a TLS handshake."""

    PERMITTED = enum.auto()
    #: Until a handshake ends or a wait is over.
    QUEUED = enum.auto()
    #: The origin is unavailable and may be dead.
    REJECTED = enum.auto()


class CircuitBreaker:
    """Opens when the handshakes with an origin keep failing."""

    def __init__(self) -> None:
        self._failures = 0
        self._first_failure = 0.0
        self._open_seconds = 0.0
        self._open_until: float | None = None
        self._trial: object | None = None
        #: Whether a handshake ever succeeded.
        self.has_succeeded = False

    def __repr__(self) -> str:
        state = "closed" if self._open_until is None else "half-open" if self._trial else "open"
        return f"<CircuitBreaker {state}, {self._failures} failures in a row>"

    @property
    def is_open(self) -> bool:
        """True while it is open or half-open."""
        return self._open_until is not None

    @property
    def seems_dead(self) -> bool:
        """True once the trials of an origin that never completed a handshake have kept failing."""
        return not self.has_succeeded and self._open_seconds >= _DEAD_OPEN_SECONDS

    def open_for(self, now: float) -> float:
        """Return the seconds until a trial request may go out; 0.0 if the breaker is closed."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def admission(self, now: float) -> Admission:
        if self._open_until is None or now >= self._open_until:
            return Admission.PERMITTED
        may_recover = self.has_succeeded and self._open_seconds < _LONGEST_OPEN_SECONDS
        return Admission.QUEUED if may_recover else Admission.REJECTED

    def begin(self, attempt: object, now: float) -> None:
        """Note that a handshake begins; if the breaker is open, this is the trial.

        Args:
            attempt: what identifies the handshake.
        """
        if self._open_until is not None:
            self._trial = attempt
            self._open(now)

    def end(self, attempt: object) -> None:
        """Note that a handshake is over. A trial that neither succeeded nor failed decides nothing,
        so the next request tries at once."""
        if attempt is self._trial:
            self._trial, self._open_until = None, _PAST

    def success(self) -> bool:
        """Count a handshake that succeeded.

        Returns:
            Whether this closed the breaker.
        """
        self.has_succeeded = True
        self._failures = 0
        if self._open_until is None:
            return False
        self._trial, self._open_until, self._open_seconds = None, None, 0.0
        return True

    def failure(self, attempt: object | None, now: float, *, counts: bool) -> bool:
        """Count a handshake that failed.

        Args:
            attempt: what identifies the handshake; None if it was not expected.
            counts: whether the failure says something about the origin's health, not only about the
                number of simultaneous handshakes.

        Returns:
            Whether this opened the breaker, or left it open.
        """
        if self._open_until is not None:
            if attempt is None or attempt is not self._trial:
                return False
            self._trial = None
            return True
        if not counts:
            return False
        if not self._failures:
            self._first_failure = now
        self._failures += 1
        if self._failures < _FAILURES_TO_OPEN or now - self._first_failure < _SECONDS_TO_OPEN:
            return False
        self._open(now)
        return True

    def _open(self, now: float) -> None:
        self._open_seconds = min(
            _LONGEST_OPEN_SECONDS, 2 * self._open_seconds or _FIRST_OPEN_SECONDS
        )
        self._open_until = now + self._open_seconds
