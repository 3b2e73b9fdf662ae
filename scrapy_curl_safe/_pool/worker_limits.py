"""How many workers a crawl has, and when one is replaced."""

from __future__ import annotations

from dataclasses import dataclass

# Descriptors of a worker beside those of its requests in flight: what connections to peers that
# never close theirs may add up to.
_SPARE_DESCRIPTORS = 4096
# Two connections, and c-ares (libcurl 8.23) has two while it looks up a host's HTTPS record.
_DESCRIPTORS_PER_REQUEST = 4
_SHARE_OF_DESCRIPTORS = 0.8


@dataclass(frozen=True)
class WorkerLimits:
    """The limits of the workers.

    Attributes:
        count: of workers, those in quarantine aside.
        hang_timeout_seconds: without a message, until a worker is killed.
        max_requests: that a worker serves; 0 for no bound.
        max_memory_mb: resident memory of a worker; 0 for no bound.
        requests_at_once: that a worker may have in flight.
    """

    count: int
    hang_timeout_seconds: float
    max_requests: int
    max_memory_mb: int
    requests_at_once: int

    def max_descriptors(self, allowed: int) -> int:
        """Return how many descriptors a worker may have open and stay.

        Args:
            allowed: by the system.
        """
        usual = _SPARE_DESCRIPTORS + _DESCRIPTORS_PER_REQUEST * self.requests_at_once
        return min(usual, int(_SHARE_OF_DESCRIPTORS * allowed))
