"""`scrapy curlsafe show`: what it prints is what a site gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from curl_cffi import CurlOpt
from hpack import Encoder

from scrapy_curl_safe._crawl.browser.request import KINDS
from scrapy_curl_safe.commands import curlsafe
from scrapy_curl_safe.commands.show.http2 import Http2Client
from scrapy_curl_safe.commands.show.run import parse_url
from testkit.crawling import ROOT
from testkit.processes import worker_pids
from testkit.recordings import load
from testkit.waiting import wait_until

SCRAPY = ["-m", "scrapy", "curlsafe", "show"]


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Any]:
    def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *(["-c", code, *SCRAPY[2:]] if code else SCRAPY), *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    yield run
    wait_until(lambda: not worker_pids(tmp_path))


needs_order = pytest.mark.skipif(
    not hasattr(CurlOpt, "HTTPHEADER_ORDER"), reason="this curl_cffi can give no order"
)


@needs_order
@pytest.mark.processes
def test_an_image_of_another_site(show: Any) -> None:
    arguments = ["https://www.site-b.test/g-img-cross.png", "--as", "image"]
    done = show(*arguments, "--from", "https://www.site-a.test/g-page?q=1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    recording = load("chromium-156")
    (image,) = (s for s in recording["scenarios"] if s["key"] == "g-img-cross.png")
    names = [name for name, _ in image["headers"]]
    headers = found["headers"]
    assert [name for name, _ in headers if not name.startswith(":")] == names
    assert dict(headers)["referer"] == "https://www.site-a.test/"
    assert dict(headers)["sec-fetch-site"] == "cross-site"
    assert (found["weight"], found["exclusive"]) == (220, True)
    assert found["http2"] == recording["http2"]
    assert found["ja4"].startswith("t13d")


@needs_order
@pytest.mark.processes
def test_people_see_the_headers_in_order(show: Any) -> None:
    done = show("www.example.com/a")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    names = [words[0] for words in lines]
    places = [names.index(name) for name in ("ja4", ":method", "user-agent", "priority")]
    assert places == sorted(places)
    assert ["sec-fetch-site", "none"] in lines


@pytest.mark.processes
def test_plain_http(show: Any) -> None:
    done = show("http://www.example.com/", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["protocol"], found["ja4"], found["http2"]) == ("HTTP/1.1", None, None)
    assert found["headers"][0] == ["Host", "www.example.com"]


@pytest.mark.processes
def test_why_nothing_goes_out(show: Any) -> None:
    done = show("https://www.example.com/", "--impersonate", "netscape4")
    assert done.returncode == 1
    assert "netscape4" in done.stderr
    assert done.stdout == ""


@pytest.mark.processes
def test_a_wrong_setting_is_why(show: Any) -> None:
    done = show("https://www.example.com/", "-s", "CURL_SAFE_IMPERSONATE=chorme")
    assert done.returncode == 1
    assert ": CURL_SAFE_IMPERSONATE is 'chorme': " in done.stderr
    assert "did you mean chrome" in done.stderr


@pytest.mark.parametrize("url", ["ftp://example.com/", "https://", "data:,"])
def test_a_url_of_no_site(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL of http or https"):
        parse_url(url)


@pytest.mark.processes
def test_without_hpack(show: Any) -> None:
    code = (
        "import sys; sys.modules['hpack'] = None; "
        "from scrapy.cmdline import execute; execute(['scrapy', *sys.argv[1:]])"
    )
    done = show("https://www.example.com/", code=code)
    assert done.returncode == 2
    assert "pip install 'scrapy-curl-safe[show]'" in done.stdout + done.stderr


def test_the_kinds_are_those_of_the_meta() -> None:
    assert curlsafe._KINDS == KINDS


def test_headers_in_several_frames_with_padding_and_priority() -> None:
    block = Encoder().encode([(":method", "GET"), (":path", "/"), ("a", "b")])
    client = Http2Client()
    client.on_frame(b"\0\0\6\4\0\0\0\0\0", b"\0\1\0\0\0\2")
    client.on_frame(b"\0\0\4\x08\0\0\0\0\0", b"\0\0\0\7")
    padded = b"\3" + b"\x80\0\0\0\xdb" + block[:2] + b"\0\0\0"
    client.on_frame(b"\0\0\0\1\x28\0\0\0\1", padded)
    assert client.fields == []
    client.on_frame(b"\0\0\0\x09\4\0\0\0\1", block[2:])
    assert client.fields == [(":method", "GET"), (":path", "/"), ("a", "b")]
    assert (client.weight, client.exclusive) == (220, True)
    assert client.fingerprint == "1:2|7|0|m,p"
