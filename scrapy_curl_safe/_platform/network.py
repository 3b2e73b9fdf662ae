"""The limits that a system sets to its connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkLimits:
    """The limits as far as they are known. Each is None if it is unknown, or the system has no such
    limit.

    Attributes:
        ports: lowest and highest local port of outgoing connections.
        tw_reuse: net.ipv4.tcp_tw_reuse of Linux.
        fin_timeout: net.ipv4.tcp_fin_timeout of Linux, in seconds.
        time_wait: TcpTimedWaitDelay of Windows, in seconds.
        conntrack: entries in the firewall's connection table, and its capacity.
    """

    ports: tuple[int, int] | None = None
    tw_reuse: int | None = None
    fin_timeout: int | None = None
    time_wait: int | None = None
    conntrack: tuple[int, int] | None = None
