"""The file in JOBDIR that sessions are kept in, with their cookies."""

from __future__ import annotations

import json
import logging
import os
from http.cookiejar import Cookie
from pathlib import Path
from typing import Any

from scrapy.crawler import Crawler

from .scrapy_api import cookiejars
from .sessions.saved import VERSION

logger = logging.getLogger(__name__)

_FIELDS = (
    "version",
    "name",
    "value",
    "port",
    "port_specified",
    "domain",
    "domain_specified",
    "domain_initial_dot",
    "path",
    "path_specified",
    "secure",
    "expires",
    "discard",
    "comment",
    "comment_url",
)


def session_file(crawler: Crawler) -> Path | None:
    """Return the file of a crawl; None if it keeps nothing."""
    directory = crawler.settings["JOBDIR"]
    return Path(directory, "curl_safe_sessions.json") if directory else None


def read_sessions(path: Path) -> dict[str, Any] | None:
    """Return what `write_sessions` has written; None if there is nothing that can be used."""
    try:
        state = json.loads(path.read_bytes())
        if state["version"] == VERSION:
            return dict(state)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s cannot be read (%s): the crawl begins with new sessions", path, error)
    return None


def write_sessions(path: Path, state: dict[str, Any]) -> None:
    """Write the state of the sessions, readable by the user alone: cookies may be logins."""
    part = path.with_suffix(".part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(state, file)
        part.replace(path)
    except OSError as error:
        logger.error("The sessions are not kept, since %s cannot be written: %s", path, error)


def read_jar(crawler: Crawler, key: str) -> list[dict[str, Any]]:
    """Return the cookies of one of Scrapy's jars."""
    jars = cookiejars(crawler)
    if jars is None or key not in jars:
        return []
    return [{name: getattr(cookie, name) for name in _FIELDS} for cookie in jars[key]]


def fill_jar(crawler: Crawler, key: str, cookies: list[dict[str, Any]]) -> None:
    """Put cookies into one of Scrapy's jars."""
    jars = cookiejars(crawler)
    if jars is not None:
        for fields in cookies:
            jars[key].set_cookie(Cookie(**fields, rest={}))


def drop_jar(crawler: Crawler, key: str) -> None:
    """Forget one of Scrapy's jars."""
    jars = cookiejars(crawler)
    if jars is not None:
        jars.pop(key, None)
