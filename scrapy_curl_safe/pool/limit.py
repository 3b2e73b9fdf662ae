"""How many new TLS connections an origin is asked for at once, and when it is left alone.

Pure policy: the clock comes as an argument. Four rules, one above the other:

- Additive increase, multiplicative decrease. A failed handshake takes a tenth off the limit,
  but leaves as many as were under way when it began; one that is done adds one to a limit
  that is in use. So handshakes that fail together, at an origin that takes so many and no
  more, lower the limit to what it takes, and a loss at random, of up to a third, lowers it
  hardly at all, where a limit that halves would sink to 5.
- The first handshake above a limit that has grown is a probe. An origin that takes so many
  and no more fails most of them: from the third on twice as many have to be done before
  the next, so that it is not asked for too many all the time.
- The place of a handshake that failed stays empty until another one is done: an origin that
  has no place left refuses at once, and would refuse many while it completes one.
- A circuit breaker. An origin whose handshakes fail on and on is left alone for a time that
  doubles; then one request tries, and its end decides for all. It may take long to say, with a
  slow answer: after twice that time the next one tries. The others wait meanwhile; but they are
  told that it rests where it has never completed a handshake, or not for a minute: it may be dead.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

_DECREASE = 0.9
# Probes in a row that random loss fails, too: at 30 % three are one in 37.
_BY_CHANCE = 2
_MOST_BETWEEN_PROBES = 64
# Failures in a row, none done between them, of handshakes that no limit would have kept back.
# At a loss of 30 % that is one in 170,000.
_HOPELESS = 10
# A failure comes sooner than a success: seconds in which one of those under way may come.
_HOPELESS_AFTER = 0.25
# Seconds that a place stays empty whose handshake failed, where none is done before.
_LOST_FOR = 1.0
_FIRST_REST = 1.0
_LONGEST_REST = 60.0


class Answer(enum.Enum):
    GO = enum.auto()
    #: Until one that is under way has ended, or `Limit.turn_in` is over.
    WAIT = enum.auto()
    #: The origin is left alone for now, and may be dead.
    REST = enum.auto()


@dataclass(eq=False)
class Attempt:
    """A handshake that a limit has let through.

    Attributes:
        rank: how many were under way when it began, with itself.
    """

    rank: int


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
        self._done_since_raise = 0
        self._is_untested = False
        self._probe: Attempt | None = None
        self._failed_probes = 0
        self._failed_since_done = 0
        self._last_failure = 0.0
        self._failures_in_a_row = 0
        self._first_failure = 0.0
        self._rest = 0.0
        self._rests_until: float | None = None
        self._trial: Attempt | None = None
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

    def turn_in(self, now: float) -> float | None:
        """Seconds until one that waits should ask again though none has ended meanwhile."""
        if self._rests_until is not None:
            return self.rests_for(now)
        return self._last_failure + _LOST_FOR - now if self._places_lost(now) else None

    def ask(self, now: float) -> Answer:
        """Whether one more handshake may begin."""
        if self._rests_until is not None:
            if now >= self._rests_until:
                return Answer.GO
            return Answer.WAIT if self.done and self._rest < _LONGEST_REST else Answer.REST
        if not self.under_way or self.under_way + self._places_lost(now) < self.value:
            return Answer.GO
        return Answer.WAIT

    def _places_lost(self, now: float) -> int:
        """Those of handshakes that failed beside others: what took them is still there."""
        return self._failed_since_done if now < self._last_failure + _LOST_FOR else 0

    def begin(self, now: float) -> Attempt:
        self.under_way += 1
        attempt = Attempt(self.under_way)
        if self._is_untested and self._probe is None and attempt.rank == self.value:
            self._is_untested = False
            self._probe = attempt
        if self._rests_until is not None:
            self._trial = attempt
            self._leave_alone(now)
        return attempt

    def end(self, attempt: Attempt) -> None:
        """It is over, whatever came of it: say `succeed` or `fail` before."""
        self.under_way -= 1
        if attempt is self._trial:  # and has said nothing
            self._trial, self._rests_until = None, 0.0
        if attempt is self._probe:
            self._probe = None

    def succeed(self, attempt: Attempt | None) -> None:
        """
        Args:
            attempt: None for one that nobody had expected to need a handshake.
        """
        self.done += 1
        self._failed_since_done = self._failures_in_a_row = 0
        if attempt is not None and attempt is self._probe:
            self._failed_probes = max(0, self._failed_probes - 2)
        if self._rests_until is not None:
            self._trial, self._rests_until, self._rest = None, None, 0.0
            self._limit = self._floor
        elif 2 * self.under_way >= self._limit:
            self._done_since_raise += 1
            if self._may_raise():
                self._raise()

    def _may_raise(self) -> bool:
        if self._failed_probes and (self._is_untested or self._probe is not None):
            return False  # what comes of it is worth to wait for
        too_many = max(0, self._failed_probes - _BY_CHANCE)
        return self._done_since_raise >= min(_MOST_BETWEEN_PROBES, 1 << too_many)

    def _raise(self) -> None:
        self._done_since_raise = 0
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1.0)
            self._is_untested = True

    def fail(self, attempt: Attempt | None, now: float) -> bool:
        """Whether this one opened the breaker, or left it open."""
        if attempt is not None:
            self._failed_probes += attempt is self._probe
            # It says nothing against fewer than there were.
            lowered = max(_DECREASE * self._limit, attempt.rank - 1.0)
            self._limit = max(self._floor, min(self._limit, lowered))
        self._done_since_raise = 0
        self._failed_since_done += 1
        self._last_failure = now
        if self._rests_until is not None:
            if attempt is None or attempt is not self._trial:
                return False
            self._trial = None
            return True
        if attempt is None or (self.done and attempt.rank > self._floor):
            return False
        if not self._failures_in_a_row:
            self._first_failure = now
        self._failures_in_a_row += 1
        if self._failures_in_a_row < _HOPELESS or now - self._first_failure < _HOPELESS_AFTER:
            return False
        self._leave_alone(now)
        return True

    def _leave_alone(self, now: float) -> None:
        self._rest = min(_LONGEST_REST, 2 * self._rest or _FIRST_REST)
        self._rests_until = now + self._rest
