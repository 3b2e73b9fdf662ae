"""The number of a crawl's workers, and the limits beyond which one is replaced."""

from __future__ import annotations

from dataclasses import dataclass

# Descriptors of a worker besides those of its requests in flight: connections to peers that never
# close theirs may add up to this.
_SPARE_DESCRIPTORS = 4096
# Two connections, and the two of c-ares (libcurl 8.23) while it looks up a host's HTTPS record.
_DESCRIPTORS_PER_REQUEST = 4
_SHARE_OF_DESCRIPTORS = 0.8


@dataclass(frozen=True)
class WorkerLimits:
    """The limits of the workers.

    Attributes:
        count: number of workers, without those in quarantine.
        hang_timeout_seconds: time without a message after which a worker is killed.
        max_requests: the most requests that a worker serves; 0 for no bound.
        max_memory_mb: the most resident memory of a worker; 0 for no bound.
        requests_at_once: the most requests that a worker may have in flight.
        prewarm: whether the first one starts before there is a request.
    """

    count: int
    hang_timeout_seconds: float
    max_requests: int
    max_memory_mb: int
    requests_at_once: int
    prewarm: bool = True

    def max_descriptors(self, allowed: int) -> int:
        """Return how many descriptors a worker may have open without being replaced.

        Args:
            allowed: how many the system allows.
        """
        usual = _SPARE_DESCRIPTORS + _DESCRIPTORS_PER_REQUEST * self.requests_at_once
        return min(usual, int(_SHARE_OF_DESCRIPTORS * allowed))
