"""Shows a crawl in the terminal while it runs."""

from __future__ import annotations

import atexit
import logging
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.table import Table
from rich.text import Text
from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured
from scrapy.settings import BaseSettings, get_settings_priority
from scrapy.utils.asyncio import create_looping_call

from ._crawl.context import origins_of
from ._crawl.health import named_limits
from ._crawl.progress import ProgressWindow
from ._crawl.report.collect import sample_of
from .settings import Settings

_REFRESH_SECONDS = 0.5


class ProgressView:
    """An extension that shows pages, handshakes and limits below the log, if stderr is a terminal
    (CURL_SAFE_PROGRESS).

    Raises:
        ValueError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        settings = Settings.load(crawler.settings)
        if not settings.progress or _is_shell(crawler.settings) or not _can_show():
            raise NotConfigured
        self._crawler = crawler
        self._origins = origins_of(crawler, settings)
        self._window = ProgressWindow(crawler.spidercls.name)
        self._view = View()
        self._began = time.monotonic()
        self._task: Any = None
        crawler.signals.connect(self._spider_opened, signals.spider_opened)
        crawler.signals.connect(self._spider_closed, signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> ProgressView:
        return cls(crawler)

    def _spider_opened(self) -> None:
        # Another crawl of this process may be shown already.
        if not _can_show():
            return
        self._began = time.monotonic()
        self._view.start()
        self._task = create_looping_call(self._refresh)
        self._task.start(_REFRESH_SECONDS)

    def _refresh(self) -> None:
        at = time.monotonic() - self._began
        self._window.add(sample_of(self._crawler, self._origins, at))
        self._view.show(self._window.rows(named_limits(self._origins.limited())))

    def _spider_closed(self) -> None:
        if self._task is not None and self._task.running:
            self._task.stop()
        self._view.stop()


class View:
    """A few rows at the bottom of the terminal. What is written to it meanwhile stands above."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # Into a file or a pipe it goes as ever.
            redirect_stdout=_is_terminal(sys.stdout),
        )
        self._redirected: list[tuple[logging.StreamHandler[Any], Any]] = []

    def start(self) -> None:
        stream = sys.stderr
        self._live.start()
        for handler in logging.root.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                handler.setStream(_Above(self._console))
                self._redirected.append((handler, stream))
        # A second Ctrl-C ends the crawl without a signal of Scrapy's.
        atexit.register(self.stop)

    def show(self, rows: list[tuple[str, str]]) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(no_wrap=True, overflow="ellipsis")
        for name, value in rows:
            table.add_row(Text(name), Text(value))
        # The terminal may have been closed.
        with suppress(OSError):
            self._live.update(table, refresh=True)

    def stop(self) -> None:
        """Take the view away, unless that was done before."""
        atexit.unregister(self.stop)
        with suppress(OSError):
            self._live.stop()
        for handler, stream in self._redirected:
            handler.setStream(stream)
        self._redirected.clear()


class _Above:
    """A stream for log lines above the view. Unlike rich's own, it leaves long lines to the
    terminal, so that they can be copied in one piece."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        self._console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)

    def flush(self) -> None:
        pass


def _is_shell(settings: BaseSettings) -> bool:
    """Tell whether `scrapy shell` runs, in which the user types. Among Scrapy's commands this one
    alone turns Scrapy's own lines about the progress of a crawl off."""
    by_command = settings.getpriority("LOGSTATS_INTERVAL") == get_settings_priority("command")
    return by_command and not settings.getfloat("LOGSTATS_INTERVAL")


def _can_show() -> bool:
    """Tell whether stderr is a terminal that can move its cursor, and nothing is shown there yet.

    rich itself takes a pipe for a terminal if FORCE_COLOR is set.
    """
    return (
        _is_terminal(sys.stderr)
        and not isinstance(sys.stderr, FileProxy)
        and not Console(stderr=True).is_dumb_terminal
    )


def _is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream, which a program without a console lacks, is a terminal."""
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())
