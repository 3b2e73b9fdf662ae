"""The files of reports."""

from __future__ import annotations

import os


def check_file(path: str) -> None:
    """Make the directory of a file.

    Args:
        path: an absolute one.

    Raises:
        OSError: the file cannot be written.
    """
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    if os.path.isdir(path):
        raise IsADirectoryError("it is a directory")
    if not os.access(directory, os.W_OK):
        raise PermissionError(f"nothing may be written to {directory}")


def write_file(path: str, content: bytes) -> None:
    """Write a file at once, so that nobody reads a half of it.

    Raises:
        OSError: it cannot be written.
    """
    part = f"{path}.part"
    with open(part, "wb") as file:
        file.write(content)
    os.replace(part, path)
