"""Limits how many new TLS connections to an origin may be under way at once. Pure: the clock comes
as an argument.

The limit follows additive increase, multiplicative decrease, with three additions:

- A failed handshake lowers the limit by a tenth, but not below the number that were under way when
  it began; a successful one raises the limit by one if the limit is in use. So when an origin has a
  fixed limit and handshakes fail together, the limit falls to that of the origin. Random loss of up
  to a third hardly lowers it at all, whereas a limit that halves would sink to 5.
- The first handshake at a raised limit is a probe. An origin with a fixed limit fails most probes.
  From the third failed probe on, each doubles the number of handshakes that must succeed before the
  next probe, so that the origin is not constantly asked for too many.
- The place of a failed handshake stays empty until another one succeeds: an overloaded origin
  refuses at once, so it would refuse many handshakes in the time it needs to complete one.
"""

from __future__ import annotations

from dataclasses import dataclass

_DECREASE = 0.9
# Random loss also fails probes: at 30 %, three in a row have a chance of one in 37.
_PROBES_LOST_BY_CHANCE = 2
_MOST_BETWEEN_PROBES = 64
# How long the place of a failed handshake stays empty if no other handshake succeeds.
_LOST_PLACE_SECONDS = 1.0


@dataclass(eq=False)
class Handshake:
    """A handshake that the limit allows.

    Attributes:
        rank: how many were under way when it began, including itself.
    """

    rank: int


class AimdLimit:
    """Limits the handshakes under way with one origin.

    Args:
        most: the initial limit, and the highest one.
        floor: the lowest limit.
    """

    def __init__(self, most: int, floor: int) -> None:
        self._most = float(most)
        self._floor = float(min(floor, most))
        self._limit = self._most
        self._successes_since_raise = 0
        self._is_untested = False
        self._probe: Handshake | None = None
        self._failed_probes = 0
        self._failures_since_success = 0
        self._last_failure = 0.0
        #: Handshakes that are or may be under way.
        self.in_use = 0

    def __repr__(self) -> str:
        return f"<AimdLimit {self.in_use} of {self.value} in use>"

    @property
    def value(self) -> int:
        return int(self._limit)

    @property
    def floor(self) -> float:
        return self._floor

    @property
    def is_lowered(self) -> bool:
        return self._limit < self._most

    def has_place(self, now: float) -> bool:
        """Tell whether one more handshake may begin."""
        return not self.in_use or self.in_use + self._lost_places(now) < self.value

    def next_place_in(self, now: float) -> float | None:
        """Return the seconds until a lost place comes back; None if none is lost."""
        if not self._lost_places(now):
            return None
        return self._last_failure + _LOST_PLACE_SECONDS - now

    def _lost_places(self, now: float) -> int:
        """Count the places of failed handshakes: whatever took these places is still there."""
        if now < self._last_failure + _LOST_PLACE_SECONDS:
            return self._failures_since_success
        return 0

    def acquire(self) -> Handshake:
        self.in_use += 1
        handshake = Handshake(self.in_use)
        if self._is_untested and self._probe is None and handshake.rank == self.value:
            self._is_untested = False
            self._probe = handshake
        return handshake

    def release(self, handshake: Handshake) -> None:
        """End a handshake, after its `success` or `failure` if it had one."""
        self.in_use -= 1
        if handshake is self._probe:
            self._probe = None

    def success(self, handshake: Handshake | None) -> None:
        """Count a handshake that succeeded.

        Args:
            handshake: None if the limit did not have to allow it, since none was expected.
        """
        self._failures_since_success = 0
        if handshake is not None and handshake is self._probe:
            self._failed_probes = max(0, self._failed_probes - 2)
        if 2 * self.in_use >= self._limit:
            self._successes_since_raise += 1
            if self._may_raise():
                self._raise()

    def _may_raise(self) -> bool:
        if self._failed_probes and (self._is_untested or self._probe is not None):
            return False  # it is worth waiting for the result of the probe
        excess = max(0, self._failed_probes - _PROBES_LOST_BY_CHANCE)
        return self._successes_since_raise >= min(_MOST_BETWEEN_PROBES, 1 << excess)

    def _raise(self) -> None:
        self._successes_since_raise = 0
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1.0)
            self._is_untested = True

    def failure(self, handshake: Handshake | None, now: float) -> None:
        """Count a handshake that failed.

        Args:
            handshake: None if the limit did not have to allow it, since none was expected.
        """
        if handshake is not None:
            self._failed_probes += handshake is self._probe
            # The failure does not show that fewer handshakes would have been too many.
            lowered = max(_DECREASE * self._limit, handshake.rank - 1.0)
            self._limit = max(self._floor, min(self._limit, lowered))
        self._successes_since_raise = 0
        self._failures_since_success += 1
        self._last_failure = now

    def reset_to_floor(self) -> None:
        """Start again from the lowest limit, after the origin was unavailable."""
        self._failures_since_success = 0
        self._limit = self._floor
