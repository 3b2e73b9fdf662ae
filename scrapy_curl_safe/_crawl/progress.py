"""Rows of the live view of a crawl. Pure."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from .report.points import NOTHING, Sample

# The pages a second are those of the time between the first and the last.
_MOST_SAMPLES = 11


class ProgressWindow:
    """The last samples of a crawl.

    Args:
        spider: its name.
    """

    def __init__(self, spider: str) -> None:
        self._spider = spider
        self._samples = deque([NOTHING], _MOST_SAMPLES)

    def __repr__(self) -> str:
        return f"<ProgressWindow of {len(self._samples)} samples>"

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)

    def rows(self, limits: str) -> list[tuple[str, str]]:
        """Return the rows of the view: a word, and what there is to say of it.

        Args:
            limits: of the origins whose limit is lowered; empty if there are none.
        """
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        rate = (last.pages - first.pages) / seconds if seconds else 0.0
        rows = [
            (self._spider, f"{timedelta(seconds=int(last.at))}"),
            ("pages", f"{last.pages:,}, {rate:,.1f} a second, {last.in_flight:,} in flight"),
            ("handshakes", f"{last.done:,} done{_failed(last.failed)}"),
        ]
        if last.retries:
            rows.append(("retries", f"{last.retries:,}"))
        if limits:
            rows.append(("limits", limits))
        return rows


def _failed(failed: dict[str, int]) -> str:
    if not failed:
        return ""
    by_kind = sorted(failed.items(), key=lambda item: -item[1])
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in by_kind)
    return f", {sum(failed.values()):,} failed ({kinds})"
