"""Tells whether a log record would be written anywhere."""

from __future__ import annotations

import logging


def is_written(logger: logging.Logger, level: int) -> bool:
    """Tell whether any handler takes the records of a logger at a level.

    Scrapy sets LOG_LEVEL only on its handlers, so `Logger.isEnabledFor` is always true, and a
    record that no handler takes costs as much as a small callback.
    """
    if not logger.isEnabledFor(level):
        return False
    source: logging.Logger | None = logger
    while source is not None:
        if any(handler.level <= level for handler in source.handlers):
            return True
        source = source.parent if source.propagate else None
    return False
