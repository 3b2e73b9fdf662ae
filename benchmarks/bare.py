"""libcurl without Scrapy or a pool, in a process of its own: one download after another.

The plan comes as JSON on the first line of stdin. The process downloads one page, says "ready", and
waits for the times (`time.monotonic`) between which it is to download, as JSON. It prints how many
pages that were.
"""

from __future__ import annotations

import json
import sys
import time

from curl_cffi import CurlOpt

from scrapy_curl_safe._ipc.messages import Profile
from scrapy_curl_safe._worker.browser import create_easy_handle
from scrapy_curl_safe._worker.curl_api import lib
from scrapy_curl_safe._worker.header_lists import HeaderLists
from scrapy_curl_safe._worker.targets import resolve_browser

_TIMEOUT_MS = 30_000


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    profile = resolve_browser(Profile(impersonate="chrome"))
    easy = create_easy_handle(profile)
    easy.set_header_list(HeaderLists(profile).get([]))
    easy.set_text(CurlOpt.URL, plan["url"].encode())
    easy.set_number(CurlOpt.TIMEOUT_MS, _TIMEOUT_MS)

    def download() -> None:
        easy.limit_sends(2)
        easy.write_to_memory()
        code = lib.curl_easy_perform(easy.pointer)
        if code or len(easy.response()) < plan["size"]:
            raise RuntimeError(f"{plan['url']}: {easy.error(code)}")
        easy.reuse()

    download()
    print("ready", flush=True)
    line = sys.stdin.readline()
    if not line:  # another process failed
        return
    begin, end = json.loads(line)
    pages = 0
    while time.monotonic() < end:
        download()
        pages += begin <= time.monotonic() < end
    print(pages, flush=True)
    easy.close()


if __name__ == "__main__":
    main()
