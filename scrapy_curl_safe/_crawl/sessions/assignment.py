"""Computes which browser and proxy a name gets, the same on each machine. Pure."""

from __future__ import annotations

import hashlib
import re

_NUMBERED = re.compile(r"(.*?)(\d{1,15})", re.DOTALL)


def seed_of(bot: str, spider: str) -> bytes:
    """Return the seed of all crawls of a spider, wherever they run."""
    return _digest(b"", f"{bot}\n{spider}")


def choice(seed: bytes, key: str, count: int) -> int:
    """Return a number below `count` that depends on seed and key alone."""
    return int.from_bytes(_digest(seed, key), "big") % count


def turn(seed: bytes, name: str, count: int) -> int:
    """Return a number below `count`; names that end in consecutive numbers take turns."""
    numbered = _NUMBERED.fullmatch(name)
    stem, number = (numbered[1], int(numbered[2])) if numbered else (name, 0)
    return (choice(seed, stem, count) + number) % count


def _digest(seed: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), key=seed, digest_size=16).digest()
