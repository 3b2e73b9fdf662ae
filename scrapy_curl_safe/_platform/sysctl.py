"""Reads parameters of the kernel, as sysctl(8) shows them."""

from __future__ import annotations

from pathlib import Path


def read_sysctl(name: str) -> tuple[int, ...] | None:
    """Read a parameter that consists of numbers.

    Args:
        name: such as `net.ipv4.tcp_fin_timeout`.

    Returns:
        None if the system has no such parameter, or does not reveal it.
    """
    try:
        text = Path("/proc/sys", *name.split(".")).read_text()
        return tuple(map(int, text.split()))
    except (OSError, ValueError):
        return None
