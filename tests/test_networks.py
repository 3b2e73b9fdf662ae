"""Bad networks and exhausted machines, in namespaces of their own."""

from __future__ import annotations

import pytest

from testkit.namespaces import can_isolate, run_isolated

pytestmark = pytest.mark.processes
needs_namespaces = pytest.mark.skipif(
    not can_isolate("true"), reason="no namespaces can be made here"
)
needs_nft = pytest.mark.skipif(
    not can_isolate("nft", "add", "table", "inet", "t"), reason="no packet filter can be made here"
)


@needs_namespaces
@pytest.mark.parametrize(
    "kind",
    [
        "dns",
        "resolver",
        "ports",
        "threads",
        pytest.param("loss", marks=needs_nft),
        pytest.param("half-open", marks=needs_nft),
    ],
)
def test_a_crawl_on_a_bad_machine(kind: str) -> None:
    run_isolated("tests.in_namespace", kind)
