"""Proxies through which connections failed, of requests that have no session. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .._pool.origins import Origin
from .words import by_count

# Failures of a proxy that has brought no response, from which on it is not chance.
_LEAST_FAILURES = 5


class ProxyTotals:
    """Totals of one proxy.

    Args:
        label: its URL without credentials.

    Attributes:
        responses: how many.
        failures: connections that were not made, by cause.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.responses = 0
        self.failures: Counter[str] = Counter()

    def __repr__(self) -> str:
        return (
            f"<ProxyTotals {self.label}: {self.responses} responses, {self.causes or 'no failure'}>"
        )

    @property
    def is_useless(self) -> bool:
        return not self.responses and self.failures.total() >= _LEAST_FAILURES

    @property
    def causes(self) -> str:
        return by_count(self.failures)


def failed_proxies(origins: Iterable[Origin]) -> list[ProxyTotals]:
    """Return the proxies through which a connection was not made, the worst first."""
    totals: dict[str, ProxyTotals] = {}
    for origin in origins:
        label = origin.route.proxy
        if label is not None:
            of_proxy = totals.setdefault(label, ProxyTotals(label))
            of_proxy.responses += origin.responses
            of_proxy.failures += origin.unconnected
    failed = [of_proxy for of_proxy in totals.values() if of_proxy.failures]
    return sorted(failed, key=lambda of_proxy: -of_proxy.failures.total())


def advice_on(proxy: ProxyTotals) -> str:
    """Say what a proxy that has brought no response has done, and what may help."""
    helps = "CURL_SAFE_SESSIONS lets such a proxy rest"
    if proxy.failures.most_common(1)[0][0] == "proxy_auth":
        helps = f"correct its user and password; {helps}"
    return (
        f"No response has come through {proxy.label}: {proxy.failures.total()} connections failed "
        f"({proxy.causes}). Requests still go through it: {helps}"
    )
