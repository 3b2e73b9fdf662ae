"""Logs once which facilities a crawl goes on without."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .._platform.refusals import Facility, describe_refusal, noted_refusals

logger = logging.getLogger(__name__)


def all_refusals(of_worker: Mapping[str, int]) -> dict[Facility, int]:
    """Return what the system refused to the crawler or to a worker.

    Args:
        of_worker: the refusals in the worker's Ready.
    """
    known = {facility.value: facility for facility in Facility}
    refusals = {known[name]: reason for name, reason in of_worker.items() if name in known}
    return {**noted_refusals(), **refusals}


class RefusalLog:
    """Logs each refusal, and each name that curl_cffi lacks, when it is first seen."""

    def __init__(self) -> None:
        self._logged: set[Facility] = set()
        self._missing: set[str] = set()

    def note_missing(self, of_worker: Mapping[str, str]) -> None:
        """Log what curl_cffi lacks, as a worker that has just come up reports it.

        Args:
            of_worker: as its Ready has it.
        """
        new = [name for name in of_worker if name not in self._missing]
        if new:
            self._missing.update(new)
            logger.warning(
                "The installed curl_cffi lacks names that workers use, and the crawl goes on "
                "without: %s. Upgrade scrapy-curl-safe, or install an older curl_cffi",
                ", ".join(f"{name} ({of_worker[name]})" for name in new),
            )

    def note(self, of_worker: Mapping[str, int]) -> None:
        """Log what the system refused to a worker that has just come up."""
        refusals = all_refusals(of_worker)
        new = [facility for facility in refusals if facility not in self._logged]
        if new:
            self._logged.update(new)
            logger.info(
                "The system refuses optional facilities, and the crawl goes on without them: %s",
                ", ".join(describe_refusal(facility, refusals[facility]) for facility in new),
            )
