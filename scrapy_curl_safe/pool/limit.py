"""How many new TLS connections an origin is asked for at once, and when it is left alone.

Pure policy: the clock comes as an argument. Two rules, one above the other:

- Additive increase, multiplicative decrease. A failed handshake takes a tenth off the limit,
  one that is done adds one to a limit that is in use. With failures that have nothing to do
  with the load the two are even at p · L / 10 = 1 - p, so that a loss of 30 % leaves 23,
  where a limit that halves would leave 5.
- A circuit breaker. An origin whose handshakes fail on and on is left alone for a time that
  doubles; then one request tries, and its end decides for all.
"""

from __future__ import annotations

import enum

_DECREASE = 0.9
# Failures in a row, none done between them, of an origin that is already at its floor or never
# had one done. At a loss of 30 % that is one in 170,000.
_HOPELESS = 10
_FIRST_REST = 1.0
_LONGEST_REST = 60.0


class Answer(enum.Enum):
    GO = enum.auto()
    #: Until one that is under way has ended.
    WAIT = enum.auto()
    #: The origin is left alone for now.
    REST = enum.auto()


class Limit:
    """
    Args:
        most: as many as there can ever be at once: the limit that an origin starts with.
        floor: it never goes below this.
    """

    def __init__(self, most: int, floor: int) -> None:
        self._most = float(most)
        self._floor = float(min(floor, most))
        self._limit = self._most
        self._failures_in_a_row = 0
        self._was_done = False
        self._rest = 0.0
        self._rests_until: float | None = None
        self._tries = False
        #: Handshakes that are, or may be, under way.
        self.under_way = 0
        self.done = 0

    @property
    def value(self) -> int:
        return int(self._limit)

    @property
    def is_lowered(self) -> bool:
        return self._limit < self._most

    @property
    def is_open(self) -> bool:
        """Whether the breaker is: the origin rests, or is being tried."""
        return self._rests_until is not None

    def rests_for(self, now: float) -> float:
        """Seconds until it may be tried again; 0.0 where it does not rest."""
        return 0.0 if self._rests_until is None else max(0.0, self._rests_until - now)

    def ask(self, now: float) -> Answer:
        """Whether one more handshake may begin."""
        if self._rests_until is not None:
            return Answer.REST if self._tries or now < self._rests_until else Answer.GO
        return Answer.GO if self.under_way < self.value else Answer.WAIT

    def begin(self) -> None:
        self.under_way += 1
        self._tries = self._rests_until is not None

    def end(self) -> None:
        """One that began is over, whatever came of it: say `succeed` or `fail` before."""
        self.under_way -= 1
        self._tries = False

    def succeed(self) -> None:
        self.done += 1
        self._was_done = True
        self._failures_in_a_row = 0
        if self._rests_until is not None:
            self._rests_until, self._rest = None, 0.0
            self._limit = self._floor
        elif 2 * self.under_way >= self._limit:
            self._limit = min(self._most, self._limit + 1.0)

    def fail(self, now: float) -> bool:
        """Whether this one opened the breaker."""
        self._failures_in_a_row += 1
        # Those that fail together began under one limit: it goes to what is under way.
        lowered = _DECREASE * max(self._limit, self.under_way)
        self._limit = max(self._floor, min(self._limit, lowered))
        if self._rests_until is not None and not self._tries:
            return False  # it began before the breaker opened
        at_its_end = self._limit <= self._floor or not self._was_done
        # A failure may come sooner than a success: those that began with it are waited for.
        enough = max(_HOPELESS, 2 * self.under_way)
        if self._failures_in_a_row < enough or not at_its_end:
            return False
        self._rest = min(_LONGEST_REST, 2 * self._rest or _FIRST_REST)
        self._rests_until = now + self._rest
        return True
