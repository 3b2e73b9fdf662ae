"""Each recipe of docs/cookbook.md, in a project of its own and with servers of this machine."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from testkit.crawling import ROOT
from testkit.origins.certs import certs
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.proxies import Proxy
from testkit.origins.tls import TlsOrigin
from testkit.pages import blocks_of
from testkit.processes import worker_pids

pytestmark = pytest.mark.processes
PAGE = ROOT / "docs/cookbook.md"
BLOCKS = list(blocks_of(PAGE))
AUTHORITIES = [b for b in blocks_of(ROOT / "docs/security.md") if "SSL_CERT_FILE" in b.text]
ORDERS = [{"order": "boots"}, {"order": "hat"}]
# One black pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
ADDON = 'ADDONS = {"scrapy_curl_safe.Addon": 500}\n'
SETTINGS = """
SPIDER_MODULES = ["shop.spiders"]
FEEDS = {"%(name)s.jsonl": {"format": "jsonlines", "overwrite": True}}
SHOP_USER, SHOP_PASSWORD = "jo", "s3cret"
"""


def html(text: str, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(headers=[(b"Content-Type", b"text/html"), *headers], body=text.encode())


def as_json(value: object) -> Reply:
    return Reply(headers=[(b"Content-Type", b"application/json")], body=json.dumps(value).encode())


def log_in(request: SeenRequest) -> Reply:
    form = parse_qs(request.body.decode())
    if form != {"token": ["t0ken"], "user": ["jo"], "password": ["s3cret"]}:
        return html("wrong")
    return html('<a id="logout">Log out</a>', (b"Set-Cookie", b"session=jo"))


def orders(request: SeenRequest) -> Reply:
    known = request.header("Cookie") == b"session=jo"
    return html("<li>boots</li><li>hat</li>" if known else "who are you?")


def search(request: SeenRequest) -> Reply:
    return as_json({"articles": [7, 8] if b"red shoes" in request.body else []})


def stock(request: SeenRequest) -> Reply:
    return as_json({"article": int(request.path.rpartition("/")[2]), "left": 3})


def image(request: SeenRequest) -> Reply:
    return Reply(headers=[(b"Content-Type", b"image/png")], body=PNG)


SHOP: dict[tuple[str, str], Callable[[SeenRequest], Reply]] = {
    ("GET", "/login"): lambda _: html('<form><input name="token" value="t0ken"></form>'),
    ("POST", "/login"): log_in,
    ("GET", "/orders"): orders,
    ("POST", "/api/search"): search,
    ("GET", "/api/stock/7"): stock,
    ("GET", "/api/stock/8"): stock,
    ("GET", "/catalogue"): lambda _: html('<img src="/boots.png"><a href="/boots.pdf">PDF</a>'),
    ("GET", "/boots.png"): image,
    ("GET", "/price"): lambda _: html("<p>9.99</p>"),
}


def shop(request: SeenRequest) -> Reply:
    answer = SHOP.get((request.method, request.path))
    return answer(request) if answer else html("<title>Shop</title>")


class Project:
    """A Scrapy project with the recipes' spiders, and an origin in place of their shop."""

    def __init__(self, directory: Path, origin: TlsOrigin, proxy: Proxy) -> None:
        self._directory = directory
        self._origin = origin
        self.url = origin.url
        self._places = {
            "https://shop.example": origin.url,
            "proxy.example:8080": proxy.location,
        }
        self.write("scrapy.cfg", "[settings]\ndefault = shop.settings\n")
        self.write("shop/__init__.py", "")
        self.write("shop/spiders/__init__.py", "")
        for block in BLOCKS:
            name = re.search(r'^    name = "(\w+)"$', block.text, re.MULTILINE)
            if name:
                self.write(f"shop/spiders/{name[1]}.py", block.text)
        shutil.copy(certs().ca_pem, directory / "private-ca.pem")

    def write(self, name: str, text: str) -> None:
        for there, here in self._places.items():
            text = text.replace(there, here)
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, spider: str, old: str, new: str) -> None:
        name = f"shop/spiders/{spider}.py"
        text = (self._directory / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def run(self, *command: str, **env: str) -> str:
        """Run Python with these arguments, and return the log."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self._directory,
            env={**os.environ, "TMPDIR": str(self._directory), **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr, done.stderr
        assert worker_pids(self._directory) == []
        return done.stderr

    def crawl(self, command: str) -> str:
        """Run a `scrapy` command that a page has, with what stands before it."""
        blocks = [*BLOCKS, *AUTHORITIES]
        assert any(f"$ {command}" in block.text.splitlines() for block in blocks)
        variables, _, arguments = command.partition("scrapy ")
        env = dict(variable.split("=") for variable in variables.split())
        return self.run("-m", "scrapy", *arguments.split(), **env)

    def join_authorities(self) -> None:
        """Run the command of the page about security that writes public ones and ours to a file."""
        (block,) = AUTHORITIES
        command = block.text.splitlines()[0].removeprefix("$ ")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path}
        subprocess.run(["bash", "-c", command], cwd=self._directory, env=env, check=True)

    def run_script(self, mark: str) -> str:
        (script,) = (block.text for block in BLOCKS if f"import {mark}\n" in block.text)
        self.write("script.py", script)
        return self.run("script.py")

    def items(self, name: str) -> list[Any]:
        text = (self._directory / name).read_text()
        found = json.loads(text) if name.endswith(".json") else map(json.loads, text.splitlines())
        return sorted(found, key=str)

    def connections(self, path: str) -> set[int]:
        return {seen.connection for seen in self._origin.requests if seen.path == path}

    def sent(self, method: str, path: str) -> dict[str, str]:
        """Return the headers of the last request to a path."""
        seen = [r for r in self._origin.requests if (r.method, r.path) == (method, path)][-1]
        return {name.decode().lower(): value.decode() for name, value in seen.headers}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy("user", "password") as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, proxy: Proxy) -> Iterator[Project]:
    with TlsOrigin(shop) as origin:
        yield Project(tmp_path, origin, proxy)


def test_a_project_that_moves_keeps_its_items(project: Project) -> None:
    """And so it does where a private authority has signed the certificates."""
    project.write("shop/settings.py", SETTINGS)
    project.crawl("scrapy crawl orders -O before.json")
    assert "sec-fetch-mode" not in project.sent("GET", "/orders")
    on = 'custom_settings = {"ADDONS": {"scrapy_curl_safe.Addon": 500}}'
    assert on.removeprefix("custom_settings = {").removesuffix("}") in PAGE.read_text()
    project.change("orders", 'name = "orders"', f'name = "orders"\n    {on}')
    log = project.crawl("scrapy crawl orders -O after.json")
    assert "'curl_safe/response_count': 3" in log
    assert project.items("after.json") == project.items("before.json") == ORDERS
    project.write("shop/settings.py", SETTINGS + "DOWNLOAD_VERIFY_CERTIFICATES = True\n")
    project.crawl("SSL_CERT_FILE=private-ca.pem scrapy crawl orders -O orders.json")
    assert project.items("orders.json") == ORDERS
    project.join_authorities()
    project.crawl("SSL_CERT_FILE=authorities.pem scrapy crawl orders")
    assert project.items("orders.jsonl") == ORDERS


def test_the_script_with_the_asyncio_runner(project: Project) -> None:
    """The script logs in and uses the API."""
    project.write("shop/settings.py", ADDON + SETTINGS)
    log = project.run_script("AsyncCrawlerRunner")
    assert log.count("'curl_safe/worker/start_count'") == 2
    assert project.items("orders.jsonl") == ORDERS
    assert project.items("stock.jsonl") == [{"article": n, "left": 3} for n in (7, 8)]
    login = project.sent("POST", "/login")
    assert login["origin"] == project.url
    assert login["referer"] == f"{project.url}/login"
    assert login["sec-fetch-dest"] == "document"
    orders = project.sent("GET", "/orders")
    assert (orders["sec-fetch-mode"], orders["sec-fetch-site"]) == ("navigate", "same-origin")
    for method, path in (("POST", "/api/search"), ("GET", "/api/stock/7")):
        asked = project.sent(method, path)
        assert (asked["sec-fetch-mode"], asked["sec-fetch-dest"]) == ("cors", "empty")
        assert asked["referer"] == f"{project.url}/search"


def test_the_script_with_the_runner_for_twisted(project: Project, proxy: Proxy) -> None:
    """The script downloads images and files, and gives each session a proxy."""
    pytest.importorskip("PIL", reason="Scrapy's ImagesPipeline needs Pillow")
    project.write("shop/settings.py", ADDON + SETTINGS)
    log = project.run_script("CrawlerRunner")
    assert log.count("'curl_safe/worker/start_count'") == 2
    (item,) = project.items("catalogue.jsonl")
    assert [len(item[name]) for name in ("images", "files")] == [1, 1]
    for path, destination in (("/boots.png", "image"), ("/boots.pdf", "document")):
        sent = project.sent("GET", path)
        assert sent["sec-fetch-dest"] == destination
        assert sent["referer"] == f"{project.url}/catalogue"
    assert project.items("prices.jsonl") == [{"price": "9.99"}] * 2
    assert b"CONNECT" in proxy.received
    assert b"\x05" in proxy.received  # SOCKS 5
    # Through the proxy, since a session's second page comes over the connection of its first one.
    assert project.connections("/price") == project.connections("/")
