"""Names of content encodings, and the libraries that decode them.

A worker loads all that are installed at once, since its sandbox forbids it later.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any


def load_library(*names: str) -> Any:
    """Load the first of these modules that is installed; return None if none is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


brotli = load_library("brotli", "brotlicffi")
zstd = load_library("compression.zstd", "backports.zstd")


def encoding_names(values: Iterable[bytes]) -> list[bytes]:
    """Return the encodings of a body in the order in which they were applied, in lower case.

    Args:
        values: of its Content-Encoding headers.
    """
    return [name.strip().lower() for value in values for name in value.split(b",")]
