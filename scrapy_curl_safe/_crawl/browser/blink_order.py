"""The order of the headers that scripts and the renderer set in Chromium.

Blink keeps them in a hash table (`HTTPHeaderMap`, a `WTF::HashMap` with names folded to lower case)
and sends them in the order of its buckets. That order looks arbitrary, but follows from the names,
their number and, where names collide, the order in which they were set. The table works like this:

- It has 8 buckets, doubled once half are taken. The names then move over in the table's order.
- A name goes to bucket `hash mod capacity`. The n-th collision moves it on by n buckets.
- The hash is that of the name as UTF-16: rapidhash (Nicolas De Carli, 2024) since Chromium 130 at
  the latest, SuperFastHash (Paul Hsieh, 2004) until 124 at the earliest. Only its lower 24 bits
  count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

_FIRST_WITH_RAPIDHASH = 130

_CAPACITY = 8
_LOW_24 = 0xFFFFFF
_NEVER_ZERO = 0x800000

Hash = Callable[[str], int]


def blink_order(names: Iterable[str], major: int) -> list[str]:
    """Order header names as Chromium's renderer sends them.

    Args:
        names: in lower case, each once, in the order in which they are set.
        major: version of Chromium.
    """
    hashed = _rapidhash if major >= _FIRST_WITH_RAPIDHASH else _super_fast_hash
    table: list[str | None] = [None] * _CAPACITY
    for count, name in enumerate(names, 1):
        _insert(table, name, hashed)
        if 2 * count >= len(table):
            moved = [kept for kept in table if kept is not None]
            table = [None] * (2 * len(table))
            for kept in moved:
                _insert(table, kept, hashed)
    return [name for name in table if name is not None]


def _insert(table: list[str | None], name: str, hashed: Hash) -> None:
    mask = len(table) - 1
    bucket = hashed(name) & mask
    collisions = 0
    while table[bucket] is not None:
        collisions += 1
        bucket = (bucket + collisions) & mask
    table[bucket] = name


# rapidhash, version 1

_LOW_64 = (1 << 64) - 1
_SEED = 0xBDD89AA982704029
_SECRET = (0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3)


@lru_cache(1024)
def _rapidhash(name: str) -> int:
    data = name.encode("utf-16-le")
    size = len(data)
    seed = _SEED ^ _mixed(_SEED ^ _SECRET[0], _SECRET[1]) ^ size
    if size > 16:
        first, last, seed = _absorb(data, seed)
    elif size >= 4:
        step = (size & 24) >> (size >> 3)
        first = _number(data, 0, 4) << 32 | _number(data, size - 4, 4)
        last = _number(data, step, 4) << 32 | _number(data, size - 4 - step, 4)
    elif size:
        first = data[0] << 56 | data[size >> 1] << 32 | data[-1]
        last = 0
    else:
        first = last = 0
    product = (first ^ _SECRET[1]) * (last ^ seed)
    low, high = product & _LOW_64, product >> 64
    return (_mixed(low ^ _SECRET[0] ^ size, high ^ _SECRET[1]) & _LOW_24) or _NEVER_ZERO


def _absorb(data: bytes, seed: int) -> tuple[int, int, int]:
    """Absorb all but the last 16 bytes; return these as two numbers, and the new seed."""
    at, left = 0, len(data)
    if left > 48:
        lanes = [seed, seed, seed]
        while left >= 48:
            for lane, secret in enumerate(_SECRET):
                one, other = _number(data, at, 8), _number(data, at + 8, 8)
                lanes[lane] = _mixed(one ^ secret, other ^ lanes[lane])
                at += 16
            left -= 48
        seed = lanes[0] ^ lanes[1] ^ lanes[2]
    if left > 16:
        one, other = _number(data, at, 8), _number(data, at + 8, 8)
        seed = _mixed(one ^ _SECRET[2], other ^ seed ^ _SECRET[1])
    if left > 32:
        one, other = _number(data, at + 16, 8), _number(data, at + 24, 8)
        seed = _mixed(one ^ _SECRET[2], other ^ seed)
    return _number(data, len(data) - 16, 8), _number(data, len(data) - 8, 8), seed


def _mixed(one: int, other: int) -> int:
    product = one * other
    return (product & _LOW_64) ^ (product >> 64)


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


# SuperFastHash, on pairs of UTF-16 units

_LOW_32 = 0xFFFFFFFF
_START = 0x9E3779B9


@lru_cache(1024)
def _super_fast_hash(name: str) -> int:
    units = [ord(letter) for letter in name]
    value = _START
    for one, other in zip(units[::2], units[1::2], strict=False):
        value = (value + one) & _LOW_32
        value = ((value << 16) ^ (other << 11) ^ value) & _LOW_32
        value = (value + (value >> 11)) & _LOW_32
    if len(units) % 2:
        value = (value + units[-1]) & _LOW_32
        value = (value ^ (value << 11)) & _LOW_32
        value = (value + (value >> 17)) & _LOW_32
    value = (value ^ (value << 3)) & _LOW_32
    value = (value + (value >> 5)) & _LOW_32
    value = (value ^ (value << 2)) & _LOW_32
    value = (value + (value >> 15)) & _LOW_32
    value = (value ^ (value << 10)) & _LOW_32
    return (value & _LOW_24) or _NEVER_ZERO
