"""Reads the header Retry-After (RFC 9110, section 10.2.3). Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

#: What an origin may ask for; more is not waited for.
LONGEST_SECONDS = 600.0


def retry_after(value: bytes | None, unix_time: float) -> float | None:
    """Return the seconds that a response asks to wait, bounded; None if it asks for nothing.

    Args:
        value: of the header.
        unix_time: now.
    """
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        # More digits than a float has are as good as the bound.
        seconds = float(text[:9])
    else:
        try:
            date = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
        seconds = date.timestamp() - unix_time
    return min(LONGEST_SECONDS, seconds) if seconds > 0 else None
