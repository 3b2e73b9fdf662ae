"""The directory of a media pipeline, and what it finds of others."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from scrapy_curl_safe._crawl.media_directory import MediaDirectory
from scrapy_curl_safe._platform.system import system


def abandoned(parent: Path) -> list[Path]:
    """Make what a killed crawl leaves, a body and a part; return its paths."""
    directory = MediaDirectory(str(parent))
    bodies = [Path(directory.new_path()), Path(directory.new_path() + ".part")]
    kept = {path.name: path for path in parent.iterdir()}
    lock, name = sorted(kept, key=len, reverse=True)
    directory.close()
    (parent / name).mkdir()
    for path in (*bodies, parent / lock):
        path.write_bytes(b"left")
    return [parent / name, parent / lock, *bodies]


def test_it_is_removed_with_its_bodies(tmp_path: Path) -> None:
    directory = MediaDirectory(str(tmp_path / "store"))
    for path in (directory.new_path(), directory.new_path() + ".part"):
        Path(path).write_bytes(b"body")
    directory.close()
    directory.close()
    assert os.listdir(tmp_path / "store") == []


def test_what_others_have_left_is_removed(tmp_path: Path) -> None:
    left = abandoned(tmp_path)
    directory = MediaDirectory(str(tmp_path))
    assert not any(path.exists() for path in left)
    directory.close()
    assert os.listdir(tmp_path) == []


def test_what_others_use_is_not(tmp_path: Path) -> None:
    used = MediaDirectory(str(tmp_path))
    body = Path(used.new_path())
    body.write_bytes(b"body")
    MediaDirectory(str(tmp_path)).close()
    assert body.read_bytes() == b"body"
    used.close()


def test_nor_is_what_may_be_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep it where there are no locks, on another host, and where nothing tells."""
    for case in ("no locks", "another host", "no lock file"):
        left = abandoned(tmp_path)
        with monkeypatch.context() as patch:
            if case == "no locks":
                patch.setattr(system, "create_locked_file", lambda path: os.open(path, os.O_CREAT))
            elif case == "another host":
                patch.setattr(socket, "gethostname", lambda: "another")
            else:
                left.pop(1).unlink()
            MediaDirectory(str(tmp_path)).close()
            assert all(path.exists() for path in left)
        MediaDirectory(str(tmp_path)).close()


def test_the_users_files_stay(tmp_path: Path) -> None:
    directory, _, *bodies = abandoned(tmp_path)
    mine = directory / "mine.txt"
    mine.write_bytes(b"mine")
    others = tmp_path / "others"
    others.mkdir()
    (others / bodies[0].name).write_bytes(b"mine")
    directory.with_name(directory.name[:-32] + "f" * 32).symlink_to(others)
    directory.with_name(directory.name[:-32] + "f" * 32 + ".lock").write_bytes(b"")
    MediaDirectory(str(tmp_path)).close()
    assert os.listdir(directory) == [mine.name]
    assert os.listdir(others) == [bodies[0].name]


def test_one_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    MediaDirectory(str(tmp_path / "file")).close()
    assert (tmp_path / "file").read_bytes() == b""
