"""Rules for what no browser ever sends. The recordings of Chromium 156 and Firefox 153 follow them
without exception, so a request that breaks one was not sent by the browser that it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from .layout import DESTINATIONS
from .sites import Relation, WebOrigin, relation, web_origin


class Sent(NamedTuple):
    """A request as an origin receives it.

    Attributes:
        protocol: "h2" or "http/1.1".
        url: with the port, unless it is the scheme's default.
        fields: names as sent, and values, in order; each cookie field by itself.
        weight: of the HTTP/2 stream; None if it has no priority.
        exclusive: of the HTTP/2 priority.
    """

    protocol: str
    method: str
    url: str
    fields: tuple[tuple[str, str], ...]
    weight: int | None = None
    exclusive: bool | None = None

    @property
    def names(self) -> list[str]:
        """The lower-case names, in order."""
        return [name.lower() for name, _ in self.fields]

    def get(self, name: str) -> str:
        """Return the first value of a header; an empty string if there is none."""
        return next((value for each, value in self.fields if each.lower() == name), "")

    def has(self, name: str) -> bool:
        """Tell whether a header is there."""
        return name in self.names

    @property
    def origin(self) -> WebOrigin:
        """The origin of the target.

        Raises:
            ValueError: the URL has no host.
        """
        origin = web_origin(self.url)
        if origin is None:
            raise ValueError(f"{self.url!r} has no host")
        return origin

    @property
    def is_chromium(self) -> bool:
        """True if the user agent names Chrome."""
        return "Chrome/" in self.get("user-agent")

    @property
    def is_firefox(self) -> bool:
        """True if the user agent names Firefox."""
        return "Firefox/" in self.get("user-agent")

    @property
    def is_http1(self) -> bool:
        """True if the request came over HTTP/1.1."""
        return self.protocol == "http/1.1"


class Rule(NamedTuple):
    """A rule.

    Attributes:
        name: a short name for tables.
        text: what never happens.
    """

    name: str
    text: str
    is_broken: Callable[[Sent], bool]


def contradictions(sent: Sent) -> list[str]:
    """Return the names of the rules that a request breaks."""
    return [rule.name for rule in RULES if rule.is_broken(sent)]


_METADATA = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
_LOW_ENTROPY = ("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform")
_CONNECTION = {"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding"}
_TITLE_CASE = {
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "cookie",
    "host",
    "origin",
    "referer",
    "upgrade-insecure-requests",
    "user-agent",
    *_METADATA,
}
_PLATFORMS = (
    ("Android", "Android"),
    ("Windows NT", "Windows"),
    ("Macintosh", "macOS"),
    ("X11; Linux", "Linux"),
)
_DOCUMENTS = (DESTINATIONS["page"], DESTINATIONS["frame"])
_SUBRESOURCES = (DESTINATIONS["image"], DESTINATIONS["script"], DESTINATIONS["style"])
_CHROMIUM_WEIGHTS = {256, 220, 183, 147, 110}


def _none_with_referer(sent: Sent) -> bool:
    return sent.get("sec-fetch-site") == "none" and sent.has("referer")


def _sec_headers_in_the_clear(sent: Sent) -> bool:
    in_the_clear = not sent.origin.is_trustworthy
    return in_the_clear and any(name.startswith("sec-") for name in sent.names)


def _encodings_in_the_clear(sent: Sent) -> bool:
    encodings = sent.get("accept-encoding")
    return not sent.origin.is_trustworthy and ("br" in encodings or "zstd" in encodings)


def _metadata_missing(sent: Sent) -> bool:
    known = sent.is_chromium or sent.is_firefox
    present = [sent.has(name) for name in _METADATA]
    return any(present) != all(present) or (
        known and sent.origin.is_trustworthy and not all(present)
    )


def _unsafe_without_origin(sent: Sent) -> bool:
    return sent.method not in ("GET", "HEAD") and not sent.has("origin")


def _cors_without_origin(sent: Sent) -> bool:
    is_cors = sent.get("sec-fetch-mode") == "cors"
    leaves = sent.get("sec-fetch-site") in ("same-site", "cross-site")
    return is_cors and leaves and not sent.has("origin")


def _navigation_with_origin(sent: Sent) -> bool:
    is_navigation = sent.get("sec-fetch-mode") == "navigate"
    return is_navigation and sent.method == "GET" and sent.has("origin")


def _origin_of_other_site(sent: Sent) -> bool:
    origin, site = sent.get("origin"), sent.get("sec-fetch-site")
    return bool(site) and origin not in ("", "null") and not _fits(sent, origin, site)


def _referer_of_other_site(sent: Sent) -> bool:
    referer, site = sent.get("referer"), sent.get("sec-fetch-site")
    return bool(referer and site) and not _fits(sent, referer, site)


def _fits(sent: Sent, source: str, site: str) -> bool:
    """Tell whether a source may have this Sec-Fetch-Site. A redirect may have led farther away than
    the target is, but never nearer."""
    origin = web_origin(source)
    if origin is None or site not in ("same-origin", "same-site"):
        return True
    farthest = Relation.SAME_ORIGIN if site == "same-origin" else Relation.SAME_SITE
    return relation(origin, sent.origin) <= farthest


def _upgrade(sent: Sent) -> bool:
    return sent.has("upgrade") or sent.has("http2-settings")


def _joined_cookies(sent: Sent) -> bool:
    return not sent.is_http1 and any(
        name.lower() == "cookie" and ";" in value for name, value in sent.fields
    )


def _split_cookies(sent: Sent) -> bool:
    return sent.is_http1 and sent.names.count("cookie") > 1


def _hop_by_hop(sent: Sent) -> bool:
    return not sent.is_http1 and not _CONNECTION.isdisjoint(sent.names)


def _host_not_first(sent: Sent) -> bool:
    return sent.is_http1 and sent.names[:1] != ["host"]


def _no_keep_alive(sent: Sent) -> bool:
    return sent.is_http1 and sent.get("connection") != "keep-alive"


def _wrong_case(sent: Sent) -> bool:
    if sent.is_http1:
        return any(name in _TITLE_CASE for name, _ in sent.fields)
    return any(name != name.lower() for name, _ in sent.fields)


def _repeated(sent: Sent) -> bool:
    return any(count > 1 and name != "cookie" for name, count in Counter(sent.names).items())


def _mode_without_destination(sent: Sent) -> bool:
    is_navigation = sent.get("sec-fetch-mode") == "navigate"
    destination = sent.get("sec-fetch-dest")
    if destination in _DOCUMENTS:
        return not is_navigation
    return is_navigation and destination in _SUBRESOURCES


def _page_without_upgrade(sent: Sent) -> bool:
    destination = sent.get("sec-fetch-dest")
    if sent.has("upgrade-insecure-requests"):
        return destination in ("empty", *_SUBRESOURCES)
    return destination in _DOCUMENTS and (sent.is_chromium or sent.is_firefox)


def _user_without_page(sent: Sent) -> bool:
    return sent.has("sec-fetch-user") and sent.get("sec-fetch-mode") != "navigate"


def _accept_of_other_kind(sent: Sent) -> bool:
    """Tell whether Accept does not fit the destination. Only fetch() and XHR can set it freely."""
    accept, destination = sent.get("accept"), sent.get("sec-fetch-dest")
    if destination in _DOCUMENTS:
        return not accept.startswith("text/html")
    if destination == "image":
        return not accept.startswith("image/")
    if destination == "style":
        return not accept.startswith("text/css")
    return destination == "script" and accept != "*/*"


def _typed_subresource(sent: Sent) -> bool:
    return sent.get("sec-fetch-site") == "none" and sent.get("sec-fetch-dest") != "document"


def _hints_apart(sent: Sent) -> bool:
    present = [sent.has(name) for name in _LOW_ENTROPY]
    return any(present) != all(present)


def _hints_of_others(sent: Sent) -> bool:
    return not sent.is_chromium and any(name.startswith("sec-ch-") for name in sent.names)


def _hints_missing(sent: Sent) -> bool:
    """Tell whether hints are missing. Workers and downloads have none."""
    is_scripts = sent.get("sec-fetch-mode") == "cors"
    has_some = is_scripts or sent.get("sec-fetch-dest") in (*_DOCUMENTS, *_SUBRESOURCES)
    return sent.is_chromium and has_some and not sent.has("sec-ch-ua")


def _version_of_other(sent: Sent) -> bool:
    version = re.search(r"Chrome/(\d+)", sent.get("user-agent"))
    brands = sent.get("sec-ch-ua")
    return bool(version and brands) and f'v="{version[1] if version else ""}"' not in brands


def _platform_of_other(sent: Sent) -> bool:
    agent, platform = sent.get("user-agent"), sent.get("sec-ch-ua-platform").strip('"')
    expected = next((name for mark, name in _PLATFORMS if mark in agent), "")
    return bool(platform and expected) and platform != expected


def _stray_te(sent: Sent) -> bool:
    expected = sent.is_firefox and not sent.is_http1
    return sent.has("te") != expected and (sent.is_chromium or sent.is_firefox)


def _priority_over_http1(sent: Sent) -> bool:
    return sent.is_chromium and sent.is_http1 and sent.has("priority")


def _range_with_encoding(sent: Sent) -> bool:
    return sent.has("range") != (sent.get("accept-encoding") == "identity")


def _body_with_get(sent: Sent) -> bool:
    return sent.method == "GET" and (sent.has("content-length") or sent.has("content-type"))


def _late_cache_control(sent: Sent) -> bool:
    if not sent.is_chromium or sent.get("sec-fetch-mode") != "navigate":
        return False
    names = sent.names
    return "cache-control" in names and names.index("cache-control") > names.index("user-agent")


def _post_without_cache_control(sent: Sent) -> bool:
    is_form = sent.method == "POST" and sent.has("upgrade-insecure-requests")
    return sent.is_chromium and is_form and not sent.has("cache-control")


def _order_of_other(sent: Sent) -> bool:
    if sent.is_chromium:
        expected = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-user", "sec-fetch-dest")
    elif sent.is_firefox:
        expected = ("sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user")
    else:
        return False
    return [name for name in sent.names if name in expected] != [
        name for name in expected if sent.has(name)
    ]


def _agent_late(sent: Sent) -> bool:
    if not sent.is_firefox:
        return False
    return [name for name in sent.names if name != "host"][:1] != ["user-agent"]


def _storage_access(sent: Sent) -> bool:
    if not sent.has("sec-fetch-storage-access"):
        return False
    is_foreign = sent.get("sec-fetch-site") == "cross-site"
    return not is_foreign or sent.get("sec-fetch-dest") == "document"


def _cookies_of_third_party(sent: Sent) -> bool:
    return sent.get("sec-fetch-storage-access") == "none" and sent.has("cookie")


def _weight_of_other(sent: Sent) -> bool:
    if sent.is_http1 or not (sent.is_chromium or sent.is_firefox):
        return False
    if sent.weight is None or sent.exclusive is not sent.is_chromium:
        return True
    is_page = sent.get("sec-fetch-dest") == "document"
    if sent.is_chromium:
        return sent.weight != 256 if is_page else sent.weight not in _CHROMIUM_WEIGHTS
    return is_page and sent.weight != 42


def _priority_of_other(sent: Sent) -> bool:
    is_page = sent.get("sec-fetch-dest") == "document"
    return is_page and sent.has("priority") and sent.get("priority") != "u=0, i"


RULES: tuple[Rule, ...] = (
    Rule("none-referer", "a typed address has a Referer", _none_with_referer),
    Rule("sec-in-clear", "sec-* headers over plain http", _sec_headers_in_the_clear),
    Rule("br-in-clear", "br or zstd over plain http", _encodings_in_the_clear),
    Rule("metadata", "some of Sec-Fetch-Site, -Mode and -Dest are missing", _metadata_missing),
    Rule("post-origin", "a POST, PUT or DELETE has no Origin", _unsafe_without_origin),
    Rule("cors-origin", "a CORS request to another origin has no Origin", _cors_without_origin),
    Rule("get-origin", "a GET for a page has Origin", _navigation_with_origin),
    Rule("origin-site", "Origin is farther than Sec-Fetch-Site says", _origin_of_other_site),
    Rule("referer-site", "Referer is farther than Sec-Fetch-Site says", _referer_of_other_site),
    Rule("h2c", "an upgrade to h2c is offered", _upgrade),
    Rule("cookie-h2", "HTTP/2 carries several cookies in one field", _joined_cookies),
    Rule("cookie-h1", "HTTP/1.1 carries several Cookie lines", _split_cookies),
    Rule("hop-by-hop", "HTTP/2 has Host, Connection or the like", _hop_by_hop),
    Rule("host-first", "Host is not first in HTTP/1.1", _host_not_first),
    Rule("keep-alive", "HTTP/1.1 without Connection: keep-alive", _no_keep_alive),
    Rule("case", "lower-case names in HTTP/1.1, others in HTTP/2", _wrong_case),
    Rule("repeated", "a header other than Cookie comes twice", _repeated),
    Rule("mode-dest", "Sec-Fetch-Mode and -Dest disagree", _mode_without_destination),
    Rule("upgrade", "Upgrade-Insecure-Requests does not fit the mode", _page_without_upgrade),
    Rule("user", "Sec-Fetch-User without a navigation", _user_without_page),
    Rule("accept", "Accept does not fit the destination", _accept_of_other_kind),
    Rule("typed", "something other than a page was typed", _typed_subresource),
    Rule("hints", "one of the three client hints is missing", _hints_apart),
    Rule("hints-other", "a browser without client hints sends some", _hints_of_others),
    Rule("hints-missing", "a Chromium sends none to a trustworthy target", _hints_missing),
    Rule("version", "Sec-CH-UA names another version than User-Agent", _version_of_other),
    Rule("platform", "Sec-CH-UA-Platform names another system", _platform_of_other),
    Rule("te", "TE anywhere but in Firefox's HTTP/2, or missing there", _stray_te),
    Rule("priority-h1", "a Chromium sends Priority over HTTP/1.1", _priority_over_http1),
    Rule("range", "Range without Accept-Encoding: identity, or the reverse", _range_with_encoding),
    Rule("get-body", "a GET has Content-Length or Content-Type", _body_with_get),
    Rule("cache-late", "a Chromium's page has Cache-Control after User-Agent", _late_cache_control),
    Rule("post-cache", "a Chromium's form POST has no Cache-Control", _post_without_cache_control),
    Rule("order", "Sec-Fetch-* are in another browser's order", _order_of_other),
    Rule("agent-first", "Firefox's User-Agent is not first", _agent_late),
    Rule("storage", "Sec-Fetch-Storage-Access within a site or for a page", _storage_access),
    Rule("third-party", "cookies without storage access", _cookies_of_third_party),
    Rule("weight", "the HTTP/2 priority is another browser's", _weight_of_other),
    Rule("page-priority", "a page is not urgent", _priority_of_other),
)
