"""Guesses what a request is if the user does not say.

The headers or the method give a script away, and the end of the path shows what a media pipeline
asks for. Everything else is a page, robots.txt included: no browser requests it by itself, but
somebody may type its address, so a page without an initiator is the least conspicuous.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from .request import Kind

# The methods that links and forms have (HTML Standard, "form submission attributes").
_OF_DOCUMENTS = frozenset({"GET", "POST"})

_BY_ENDING: dict[str, Kind] = {
    "js": "script",
    "mjs": "script",
    "css": "style",
    **dict.fromkeys(("htm", "html", "xhtml"), "page"),
    # A browser requests the target of a link as a page; only the response shows that it is a file.
    **dict.fromkeys(("pdf", "txt", "csv", "xml", "doc", "docx", "xls", "xlsx", "ppt"), "page"),
    **dict.fromkeys(("pptx", "odt", "ods", "epub", "zip", "gz", "tgz", "bz2", "xz"), "page"),
    **dict.fromkeys(("7z", "rar", "tar", "exe", "msi", "dmg", "deb", "rpm", "apk"), "page"),
    "json": "fetch",
}


def guess_kind(method: str, url: str, headers: Mapping[str, str], has_callback: bool) -> Kind:
    """Guess what a request is.

    Args:
        headers: those that the user set, by lower-case name.
        has_callback: whether a callback waits for the response, rather than a pipeline.
    """
    if headers.get("x-requested-with", "").lower() == "xmlhttprequest":
        return "xhr"
    if method not in _OF_DOCUMENTS:
        return "fetch"
    if _is_json(headers.get("content-type", "")) or _is_json(headers.get("accept", "")):
        return "fetch"
    if has_callback or (path := urlsplit(url).path) == "/robots.txt":
        return "page"
    name = path.rpartition("/")[2]
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return _BY_ENDING.get(ending, "image")


def _is_json(header: str) -> bool:
    """Tell whether the first media type of Content-Type or Accept is JSON (RFC 6839, 3.1)."""
    first = header.partition(",")[0].partition(";")[0].strip().lower()
    return first == "application/json" or first.endswith("+json")
