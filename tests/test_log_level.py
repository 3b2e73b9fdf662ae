"""The check for whether a log record would be written, and the log lines that depend on it."""

from __future__ import annotations

import logging

import pytest

from scrapy_curl_safe._pool.log_level import is_written
from tests.fake_worker import FakePool, in_virtual_time, settle

DEBUG, INFO = logging.DEBUG, logging.INFO


class Recorder(logging.Handler):
    """A handler that keeps what it is given, without pytest's own handler beside it."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def tree() -> tuple[logging.Logger, logging.Logger]:
    """A logger and its child, apart from the root logger."""
    parent, child = logging.Logger("parent"), logging.Logger("parent.child")
    child.parent = parent
    return parent, child


@pytest.mark.parametrize(("level", "written"), [(DEBUG, True), (INFO, False)])
def test_a_handler_of_a_parent_decides(
    tree: tuple[logging.Logger, logging.Logger], level: int, written: bool
) -> None:
    parent, child = tree
    parent.addHandler(Recorder(level))
    assert is_written(child, DEBUG) is written
    assert is_written(child, INFO)


def test_without_handlers_nothing_is_written(tree: tuple[logging.Logger, logging.Logger]) -> None:
    assert not is_written(tree[1], logging.CRITICAL)


def test_the_level_of_the_logger_comes_first(tree: tuple[logging.Logger, logging.Logger]) -> None:
    parent, child = tree
    parent.addHandler(Recorder(DEBUG))
    child.setLevel(INFO)
    assert not is_written(child, DEBUG)


def test_what_does_not_propagate_is_not_written(
    tree: tuple[logging.Logger, logging.Logger],
) -> None:
    parent, child = tree
    parent.addHandler(Recorder(DEBUG))
    child.propagate = False
    assert not is_written(child, DEBUG)


@pytest.mark.parametrize(("level", "lines"), [(DEBUG, 1), (INFO, 0)])
@in_virtual_time
async def test_each_hand_out_is_logged_where_somebody_reads_it(
    monkeypatch: pytest.MonkeyPatch, level: int, lines: int
) -> None:
    pool_logger = logging.getLogger("scrapy_curl_safe._pool.pool")
    recorder = Recorder(level)
    # As in a crawl, where the handlers alone have levels; pytest's are not among them.
    monkeypatch.setattr(pool_logger, "handlers", [recorder])
    monkeypatch.setattr(pool_logger, "propagate", False)
    monkeypatch.setattr(pool_logger, "disabled", False)
    monkeypatch.setattr(pool_logger, "level", DEBUG)
    monkeypatch.setattr(pool_logger, "_cache", {})
    made: list[str] = []
    make_record = pool_logger.makeRecord

    def note(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make_record(*args, **kwargs)  # type: ignore[arg-type]
        made.append(record.getMessage())
        return record

    monkeypatch.setattr(pool_logger, "makeRecord", note)
    async with FakePool() as fake:
        fake.fetch("/a")
        await settle()
        fake.workers[0].complete_all()
        await settle()
    assert len(recorder.messages) == lines
    # A record that nobody takes is not even made.
    assert len(made) == lines
    if lines:
        assert "https://origin.example/a" in recorder.messages[0]
        assert "goes to <Worker 0 " in recorder.messages[0]
