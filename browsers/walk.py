"""A crawl's walk through the situations, through any download handler."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contenders import Contender
from browsers.record import describe, visits
from browsers.sites import Sites
from browsers.situations import CREDENTIALS, SITUATIONS, Situation
from conformance.probe import Run

#: The kinds of requests in a spider's terms, by HTML element.
_KINDS = {"img": "image", "script": "script", "link": "style", "iframe": "frame"}
_BASIC = "Basic " + b64encode(":".join(CREDENTIALS).encode()).decode()
_JQUERY = {
    "Accept": "application/json, text/javascript, */*; q=0.01",
    "X-Requested-With": "XMLHttpRequest",
}


def walk(handler: Contender) -> dict[str, dict[str, Any]]:
    """Crawl through all situations, and return the request that the sites received in each, by key.

    A request is missing if the handler did not send it, or sent it elsewhere.
    """
    plan = [
        _planned(situation, handler.meta)
        for situations in visits(SITUATIONS)
        # Situations that the same redirect leads to take one request.
        for situation in (situations[:1] if situations[0].asked else situations)
    ]
    with Sites() as sites, TemporaryDirectory(prefix="walk-") as directory:
        run = Run(handler, Path(directory))
        try:
            run.crawl(
                *plan,
                CONCURRENT_REQUESTS=1,
                HTTPCACHE_ENABLED=True,
                HTTPCACHE_DIR=f"{directory}/cache",
                HTTPCACHE_POLICY="scrapy.extensions.httpcache.RFC2616Policy",
            )
        finally:
            run.kill_what_hangs()
        got = {arrival.url: arrival for arrival in sites.arrivals}
        return {
            situation.key: describe(situation, got[situation.url])
            for situation in SITUATIONS
            if situation.url in got
        }


def _planned(situation: Situation, meta: dict[str, Any]) -> dict[str, Any]:
    """Return the request with which a spider gets into a situation: usually one for a page whose
    callback yields the situation's own."""
    own: dict[str, Any] = {"url": situation.first_url, "method": situation.method, "meta": meta}
    headers = dict(_JQUERY) if situation.is_xhr else {}
    if situation.body:
        own["body"], headers["Content-Type"] = _encoded(situation)
    if situation.way == "credentials":
        headers["Authorization"] = _BASIC
    if situation.tag or (situation.way == "script" and not situation.is_xhr):
        kind = _KINDS.get(situation.tag, "fetch")
        own["meta"] = {**meta, "curl_safe": {**meta.get("curl_safe", {}), "as": kind}}
    own["headers"] = headers
    if situation.way in ("typed", "credentials"):
        return own
    page = situation.url if situation.way == "reload" else situation.page
    before = {"url": page, "meta": meta, "then": [own]}
    if situation.way == "again":
        return {"url": situation.url, "meta": meta, "then": [before]}
    return before


def _encoded(situation: Situation) -> tuple[str, str]:
    """Return a body as it is sent, and its Content-Type."""
    if situation.encoding != "multipart/form-data":
        return situation.body, situation.encoding
    boundary = "----WebKitFormBoundary0123456789abcdef"
    name, value = situation.body.split("=")
    part = f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'
    body = f"--{boundary}\r\n{part}\r\n--{boundary}--\r\n"
    return body, f"{situation.encoding}; boundary={boundary}"
