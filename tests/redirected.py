"""Crawls whose sockets or name lookups are redirected, in namespaces: `python -m tests.redirected
KIND`.

Each is compared with a crawl by Scrapy's own handler in the same environment. The system's name
server and the origin see whatever bypasses the redirection.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scrapy_curl_safe._ipc.messages import (
    Cancelled,
    Completed,
    Fetch,
    Hello,
    Profile,
    encode_profile,
)
from scrapy_curl_safe._pool.worker_client import WorkerClient
from testkit.crawling import ROOT, Crawl, Crawled, Wanted, assert_all_pages, urls
from testkit.namespaces import bind, raise_loopback
from testkit.origins.dns import NameServer
from testkit.origins.proxies import Proxy
from testkit.origins.socks import SocksProxy
from testkit.origins.tls import TlsOrigin

SCRAPYS_OWN: dict[str, Any] = {"ADDONS": {}}
OURS: dict[str, Any] = {"CURL_SAFE_WORKERS": 2}


class Machine:
    """A machine with an origin, a SOCKS proxy and a name server.

    Args:
        directory: for files of the test.
        names: that the name server knows.
    """

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self.directory = directory
        self.origin = TlsOrigin(requests_per_connection=2)
        self.proxy = SocksProxy()
        self.name_server = NameServer(*names)

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def crawl(
        self,
        *requests: Wanted,
        around: Sequence[str] = (),
        env: dict[str, str] | None = None,
        **settings: Any,
    ) -> Crawled:
        with tempfile.TemporaryDirectory() as marker:
            settings = {"RETRY_ENABLED": False, **settings}
            crawl = Crawl(
                requests,
                settings,
                marker=Path(marker),
                around=around,
                env={"PYTHONPATH": str(ROOT), **(env or {})},
                # Relative paths are those of the crawler, and its workers run elsewhere.
                cwd=self.directory,
            )
            return crawl.finish(150)

    def assert_nothing_went_directly(self) -> None:
        assert self.name_server.asked == []
        assert self.origin.accepted == len(self.proxy.connected)

    def https(self, host: str, path: int = 0) -> str:
        return f"https://{host}:{self.origin.port}/{path}"


@contextmanager
def machine(*names: str) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory), names)
        with machine.origin, machine.proxy, machine.name_server:
            yield machine


def proxychains(machine: Machine) -> tuple[str, ...]:
    """Return a command that redirects another one to the machine's proxy."""
    machine.write(
        "proxychains.conf",
        f"strict_chain\nproxy_dns\n[ProxyList]\nsocks5 127.0.0.1 {machine.proxy.port}\n",
    )
    return ("proxychains4", "-q", "-f", "proxychains.conf")


def by_proxychains() -> None:
    """Connections and names go to the proxy, and nowhere else."""
    for settings in (OURS, SCRAPYS_OWN):
        with machine("origin.test") as m:
            crawled = m.crawl(
                *(m.https("origin.test", n) for n in range(20)),
                *(m.https(f"other{n}.test") for n in range(5)),
                *(m.https("127.0.0.1", n) for n in range(5)),
                around=proxychains(m),
                **settings,
            )
            assert_all_pages(crawled, 30)
            m.assert_nothing_went_directly()
            assert "could not be learned" not in crawled.log
            others = {f"other{n}.test" for n in range(5)}
            assert set(m.proxy.connected) == {"origin.test", "127.0.0.1", *others}


def by_torsocks() -> None:
    """Connections and names go to Tor's port, and nowhere else."""
    for settings in (OURS, SCRAPYS_OWN):
        with machine("origin.test") as m:
            m.write("torsocks.conf", f"TorAddress 127.0.0.1\nTorPort {m.proxy.port}\n")
            crawled = m.crawl(
                *(m.https("origin.test", n) for n in range(10)),
                *(m.https(m.proxy.resolved, n) for n in range(5)),
                around=["torsocks"],
                env={"TORSOCKS_CONF_FILE": "torsocks.conf"},
                **settings,
            )
            assert_all_pages(crawled, 15)
            m.assert_nothing_went_directly()
            assert set(m.proxy.looked_up) == {"origin.test"}
            assert set(m.proxy.connected) == {m.proxy.resolved}
            assert "could not be learned" not in crawled.log
            assert "sandbox" not in crawled.log, crawled.log


def by_variables() -> None:
    """The name server is asked for the names that the variables make of others."""
    cases: list[tuple[dict[str, str], str, set[str]]] = [
        ({"HOSTALIASES": "aliases"}, "site", {"origin.test"}),
        ({"LOCALDOMAIN": "test"}, "origin", {"origin.test"}),
        ({"LOCALDOMAIN": "test", "RES_OPTIONS": "ndots:3"}, "www.origin", {"www.origin.test"}),
    ]
    for env, host, expected in cases:
        for settings in (OURS, SCRAPYS_OWN):
            with machine("origin.test", "www.origin.test") as m:
                m.write("aliases", "site origin.test\n")
                crawled = m.crawl(m.https(host), env=env, **settings)
                assert_all_pages(crawled, 1)
                assert set(m.name_server.asked) == expected, m.name_server.asked


def by_a_proxy_with_a_name() -> None:
    """The proxy's name is looked up as well, and the origin's if the proxy takes no names."""
    with machine("origin.test", "proxy.test") as m, Proxy() as proxy:
        for scheme in ("http", "socks4", "socks5", "socks5h"):
            url = f"{scheme}://proxy:{proxy.port}"
            crawled = m.crawl(
                {"url": m.https("origin.test"), "meta": {"proxy": url}},
                env={"LOCALDOMAIN": "test"},
                **OURS,
            )
            assert_all_pages(crawled, 1)
        assert proxy.connections == 4
        nobody = m.crawl(
            {"url": m.https("origin.test"), "meta": {"proxy": "http://nobody:1"}},
            m.https("nobody.test"),
            env={"LOCALDOMAIN": "test"},
            **OURS,
        )
        assert sorted(e["text"].rpartition(": ")[2] for e in nobody.errors) == [
            "nobody (Name or service not known)",
            "nobody.test (Name or service not known)",
        ]
        assert {e["type"] for e in nobody.errors} == {"CannotResolveHostError"}


def by_a_silent_name_server() -> None:
    """Requests that wait for it end in time, or when they are cancelled, and delay no others."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        TlsOrigin() as origin,
    ):
        server.bind(("127.0.0.1", 53))
        os.environ["LOCALDOMAIN"] = "test"
        crawl = Crawl(
            [*(f"https://host{n}.test/" for n in range(8)), *urls(origin, 8, 60)],
            {"DOWNLOAD_TIMEOUT": 2, "RETRY_ENABLED": False},
            marker=Path(directory),
        )
        crawled = crawl.finish(150)
        assert server.recv(512)
        assert [e["type"] for e in crawled.errors] == ["DownloadTimeoutError"] * 8
        assert all("Resolving timed out after 2000" in e["text"] for e in crawled.errors)
        assert crawled.numbers == list(range(8, 60))
        asyncio.run(_cancel_a_lookup(server, origin.url))


async def _cancel_a_lookup(server: socket.socket, url: str) -> None:
    profile = encode_profile(Profile())
    server.setblocking(False)
    with WorkerClient(Hello(profiles=[("default", profile)])) as worker:
        fetch = Fetch(url="https://other.test/", profile=profile)
        waiting = asyncio.ensure_future(worker.fetch(fetch))
        while b"other" not in await asyncio.get_running_loop().sock_recv(server, 512):
            pass
        worker.connection.cancel(fetch)
        assert await waiting == (Cancelled(fetch.id), b"")
        outcome, _ = await worker.fetch(Fetch(url=url, profile=profile))
    assert isinstance(outcome, Completed)


def not_at_all() -> None:
    """Workers that would go past the redirection do not run, and the log says why."""
    with machine("origin.test") as m:
        python = m.write(
            "python",
            f'#!/bin/sh\nunset LD_PRELOAD\nexec {sys.executable} "$@"\n',
            mode=0o755,
        )
        refused = m.crawl(
            m.https("origin.test"),
            around=proxychains(m),
            CURL_SAFE_PYTHON=str(python),
        )
        assert refused.responses == []
        assert refused.stats["finish_reason"] == "curl_safe_no_worker"
        assert "libproxychains.so.4 redirects connect() of this program, and not" in refused.log
        http3 = m.crawl(
            m.https("origin.test"), around=proxychains(m), CURL_SAFE_HTTP_VERSION="v3only"
        )
        assert http3.stats["finish_reason"] == "curl_safe_no_worker"
        assert "HTTP/3 (v3only) runs over UDP and would bypass" in http3.log
        by_request = m.crawl(
            {"url": m.https("origin.test"), "meta": {"curl_safe": {"http_version": "v3"}}},
            around=proxychains(m),
        )
        (error,) = by_request.errors
        assert "HTTP/3 (v3) runs over UDP and would bypass" in error["text"]
        assert m.name_server.asked == []
        assert m.origin.accepted == len(m.proxy.connected) == 0


if __name__ == "__main__":
    raise_loopback()
    bind("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    {
        "proxychains": by_proxychains,
        "torsocks": by_torsocks,
        "variables": by_variables,
        "named-proxy": by_a_proxy_with_a_name,
        "silence": by_a_silent_name_server,
        "refusal": not_at_all,
    }[sys.argv[1]]()
