"""libcurl without Scrapy or a pool, in a process of its own: one download after another.

The plan comes as JSON on the first line of stdin. The process says "ready", waits for another line,
downloads, and prints when it began and ended, as JSON.
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


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    profile = Profile(impersonate="chrome")
    easy = create_easy_handle(profile)
    easy.set_header_list(HeaderLists(profile).get([]))
    easy.set_text(CurlOpt.URL, plan["url"].encode())

    def download() -> None:
        easy.limit_sends(2)
        easy.write_to_memory()
        code = lib.curl_easy_perform(easy.pointer)
        if code or len(easy.response()) < plan["size"]:
            raise RuntimeError(f"{plan['url']}: {easy.error(code)}")
        easy.reuse()

    download()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for _ in range(plan["requests"]):
        download()
    print(json.dumps({"began": began, "ended": time.monotonic()}), flush=True)
    easy.close()


if __name__ == "__main__":
    main()
