"""Turns the facts that the doctor collected into findings. Pure."""

from __future__ import annotations

from datetime import timedelta

from ..._crawl.other_handlers import BY_ADDON
from .browser_age import age, browser_of, newest_like, release_date
from .facts import Facts
from .finding import CheckStatus, Finding
from .machine_checks import check_machine

_FEW_ITEMS = 10
_OLD = timedelta(days=180)

# The first version of curl_cffi whose libcurl accepts an order of headers.
_FIRST_WITH_ORDER = (0, 16)
_OLDEST_VERSIONS = {"Scrapy": (2, 15), "curl_cffi": (0, 15), "Twisted": (24, 11)}

OUR_HANDLER = "scrapy_curl_safe.CurlSafeDownloadHandler"
_OUR_MIDDLEWARE = "scrapy_curl_safe.HandshakeRetryMiddleware"
_INITIATOR_MIDDLEWARE = "scrapy_curl_safe.initiator.InitiatorMiddleware"
_ADDON = 'ADDONS = {"scrapy_curl_safe.Addon": 500}'


def run_checks(facts: Facts) -> list[Finding]:
    """Return all findings, in the order in which to fix them."""
    found: list[Finding | None] = [_settings(facts), *_unknown(facts), *_versions(facts)]
    if facts.settings_error is None:
        found += [_worker(facts), *_missing(facts), _target(facts), _age(facts), _handshake(facts)]
    # The add-on stops at a wrong setting, before it sets any component.
    if facts.settings_error is None or not facts.has_addon:
        found += [_handlers(facts), _middleware(facts), _initiators(facts), _monitor(facts)]
    found += [_header_order(facts), _own_headers(facts)]
    found += check_machine(facts)
    found += [_items(facts), _autothrottle(facts), _reactor(facts)]
    return [finding for finding in found if finding is not None]


# The package and the project


def _settings(facts: Facts) -> Finding:
    why = "a wrong setting stops the crawl before it starts"
    if facts.settings_error is None:
        return Finding("settings", CheckStatus.OK, "valid", why)
    return Finding(
        "settings", CheckStatus.PROBLEM, facts.settings_error, why, "change that setting"
    )


def _unknown(facts: Facts) -> list[Finding]:
    why = "there is no such setting, so it has no effect"
    return [
        Finding(name, CheckStatus.WARNING, "unknown", why, meant or "take it out")
        for name, meant in facts.unknown_settings.items()
    ]


def _versions(facts: Facts) -> list[Finding]:
    found = []
    for package, oldest in _OLDEST_VERSIONS.items():
        version = facts.versions.get(package, "not installed")
        fits = _numbers(version) >= oldest
        wanted = ".".join(map(str, oldest))
        found.append(
            Finding(
                package,
                CheckStatus.OK if fits else CheckStatus.PROBLEM,
                version,
                f"{wanted} is the oldest version that this package supports",
                "" if fits else f"pip install --upgrade '{package}>={wanted}'",
            )
        )
    if "libcurl" in facts.versions:
        why = "it makes the TLS handshakes"
        found.append(Finding("libcurl", CheckStatus.OK, facts.versions["libcurl"], why))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


def _worker(facts: Facts) -> Finding:
    why = "every request goes through a worker"
    if facts.worker_error is None:
        return Finding("worker", CheckStatus.OK, "starts and answers", why)
    fix = "python -m pip install --force-reinstall curl_cffi msgspec"
    if "CURL_SAFE_PYTHON" in facts.worker_error:
        fix = 'CURL_SAFE_PYTHON = "/path/to/python"'
    elif "no worker can use this curl_cffi" in facts.worker_error:
        fix = "pip install --upgrade scrapy-curl-safe, or an older curl_cffi"
    elif "HOSTALIASES" in facts.worker_error:
        fix = "let this user read that file, or unset HOSTALIASES"
    return Finding("worker", CheckStatus.PROBLEM, facts.worker_error, why, fix)


def _missing(facts: Facts) -> list[Finding]:
    version = facts.versions.get("curl_cffi", "")
    fix = "pip install --upgrade scrapy-curl-safe, or an older curl_cffi"
    return [
        Finding(
            name,
            CheckStatus.WARNING,
            f"curl_cffi {version} does not have it",
            f"a crawl goes on without it: {consequence}",
            fix,
        )
        for name, consequence in facts.missing.items()
    ]


def _target(facts: Facts) -> Finding | None:
    if facts.worker_error is not None:
        return None
    why = "requests fail if curl_cffi does not know the browser"
    if facts.target_error is None:
        return Finding("browser", CheckStatus.OK, "known to curl_cffi", why)
    fix = "correct CURL_SAFE_IMPERSONATE, or upgrade curl_cffi"
    return Finding("browser", CheckStatus.PROBLEM, facts.target_error, why, fix)


def _age(facts: Facts) -> Finding | None:
    if facts.browser is None:
        return None
    name, target = facts.browser.name, facts.browser.target
    known = browser_of(target)
    if known is None:
        return None
    why = "browsers update themselves, so that few visitors have an old one"
    released = release_date(known)
    old = released is not None and facts.today - released > _OLD
    value = target if released is None else f"{target}, {age((facts.today - released).days)} old"
    newest = newest_like(target, facts.targets)
    if name == target and newest != target:
        fix = f'CURL_SAFE_IMPERSONATE = "{newest}"'
        value += f"; curl_cffi also knows {newest}"
        return Finding("age of the browser", CheckStatus.WARNING, value, why, fix)
    value += ", the newest that curl_cffi knows" if newest == target else ""
    if old:
        fix = "pip install --upgrade curl_cffi, or impersonate a newer browser"
        return Finding("age of the browser", CheckStatus.WARNING, value, why, fix)
    return Finding("age of the browser", CheckStatus.OK, value, why)


def _handshake(facts: Facts) -> Finding | None:
    if facts.worker_error is not None or facts.target_error is not None:
        return None
    why = "if it fails, the cause is on this machine and not on the network"
    if facts.handshake_error is None:
        return Finding("local handshake", CheckStatus.OK, "works", why)
    fix = "check that this machine's firewall lets 127.0.0.1 connect to itself"
    return Finding("local handshake", CheckStatus.PROBLEM, facts.handshake_error, why, fix)


def _handlers(facts: Facts) -> Finding:
    why = "requests of a scheme with another handler bypass the workers"
    others = [scheme for scheme, path in facts.handlers.items() if path != OUR_HANDLER]
    if not others:
        return Finding("download handler", CheckStatus.OK, "http and https", why)
    setters = {scheme: facts.handler_setters.get(scheme, "") for scheme in others}
    value = ", ".join(
        f"{scheme}: {path or 'none'}"
        + (f", set {setter}" if (setter := setters.get(scheme)) else "")
        for scheme, path in facts.handlers.items()
    )
    status = CheckStatus.WARNING if len(others) < len(facts.handlers) else CheckStatus.PROBLEM
    fix = f"take {' and '.join(others)} out of DOWNLOAD_HANDLERS"
    if not facts.has_addon:
        fix = _ADDON
    elif all(setter == BY_ADDON for setter in setters.values()):
        fix = "give scrapy_curl_safe.Addon a lower order in ADDONS than the add-on that sets it"
    return Finding("download handler", status, value, why, fix)


def _order(components: dict[str, int], name: str) -> int | None:
    """Return the order of the component with this class name; None if it is off."""
    return next((order for path, order in components.items() if path.endswith(f".{name}")), None)


def _turn_on(facts: Facts, component: str, setting: str) -> str:
    """Return what turns a component on: with the add-on, something has turned it off."""
    return f"take {component} out of {setting}" if facts.has_addon else _ADDON


def _middleware(facts: Facts) -> Finding:
    ours = _order(facts.middlewares, "HandshakeRetryMiddleware")
    scrapys = _order(facts.middlewares, "RetryMiddleware")
    why = "it retries failed handshakes, and must see them before Scrapy's RetryMiddleware does"
    if ours is None:
        fix = _turn_on(facts, "HandshakeRetryMiddleware", "DOWNLOADER_MIDDLEWARES")
        return Finding("middleware", CheckStatus.PROBLEM, "off", why, fix)
    if scrapys is not None and ours <= scrapys:
        value = f"at {ours}, RetryMiddleware at {scrapys}"
        fix = f'DOWNLOADER_MIDDLEWARES = {{"{_OUR_MIDDLEWARE}": {scrapys + 10}}}'
        return Finding("middleware", CheckStatus.PROBLEM, value, why, fix)
    return Finding("middleware", CheckStatus.OK, f"at {ours}", why)


def _initiators(facts: Facts) -> Finding | None:
    """Check the middleware that notes initiators; only headers by context need it."""
    if facts.browser_headers != "context":
        return None
    both = _order(facts.spider_middlewares, "BrowserRefererMiddleware")
    ours = _order(facts.spider_middlewares, "InitiatorMiddleware")
    scrapys = _order(facts.spider_middlewares, "RefererMiddleware")
    why = "without it, each request looks as if its address had been typed"
    if both is not None:
        return Finding("initiators", CheckStatus.OK, f"noted at {both}", why)
    if ours is None:
        fix = _turn_on(facts, "InitiatorMiddleware", "SPIDER_MIDDLEWARES")
        return Finding("initiators", CheckStatus.WARNING, "not noted", why, fix)
    if scrapys is not None and ours <= scrapys:
        value = f"at {ours}, RefererMiddleware at {scrapys}"
        fix = f'SPIDER_MIDDLEWARES = {{"{_INITIATOR_MIDDLEWARE}": {scrapys + 50}}}'
        return Finding("initiators", CheckStatus.PROBLEM, value, why, fix)
    return Finding("initiators", CheckStatus.OK, f"noted at {ours}", why)


def _header_order(facts: Facts) -> Finding | None:
    if facts.browser_headers != "context" or "curl_cffi" not in facts.versions:
        return None
    why = "browsers differ in the order of their headers, which some sites look at"
    version = facts.versions["curl_cffi"]
    if _numbers(version) >= _FIRST_WITH_ORDER:
        return Finding("header order", CheckStatus.OK, "the browser's", why)
    wanted = ".".join(map(str, _FIRST_WITH_ORDER))
    value = f"libcurl's, since curl_cffi {version} takes none; the values are the browser's"
    fix = f"pip install --upgrade 'curl_cffi>={wanted}'"
    return Finding("header order", CheckStatus.WARNING, value, why, fix)


def _own_headers(facts: Facts) -> Finding | None:
    if facts.conflict is None:
        return None
    why = "a site can tell that no browser sent such a request"
    return Finding(
        "own headers", CheckStatus.WARNING, facts.conflict.text, why, facts.conflict.ways_out
    )


def _monitor(facts: Facts) -> Finding:
    why = "it logs how the handshakes are going"
    if _order(facts.extensions, "HandshakeMonitor") is None:
        fix = _turn_on(facts, "HandshakeMonitor", "EXTENSIONS")
        return Finding("monitor", CheckStatus.WARNING, "off", why, fix)
    return Finding("monitor", CheckStatus.OK, "on", why)


# The crawl


def _items(facts: Facts) -> Finding:
    waiting = ", ".join(name for name, waits in facts.pipelines.items() if waits)
    value = str(facts.concurrent_items)
    if waiting:
        why = f"so many items of a response are worked on at once, and {waiting} waits for each"
        if facts.concurrent_items > _FEW_ITEMS:
            return Finding("CONCURRENT_ITEMS", CheckStatus.OK, value, why)
        fix = "CONCURRENT_ITEMS = 100"
        return Finding("CONCURRENT_ITEMS", CheckStatus.WARNING, value, why, fix)
    why = "Scrapy starts this many tasks for each response, which cost more than the download"
    if facts.concurrent_items <= _FEW_ITEMS:
        return Finding("CONCURRENT_ITEMS", CheckStatus.OK, value, why)
    # Of a function that is no coroutine nobody can tell.
    fix = "CONCURRENT_ITEMS = 1" + (
        ", unless a pipeline returns a Deferred" if facts.pipelines else ""
    )
    return Finding("CONCURRENT_ITEMS", CheckStatus.WARNING, value, why, fix)


def _autothrottle(facts: Facts) -> Finding:
    why = "AutoThrottle acts on latency, the adaptive limit on failed handshakes"
    if facts.autothrottle and facts.adaptive:
        fix = "AUTOTHROTTLE_ENABLED = False, or CURL_SAFE_ADAPTIVE = False"
        value = "AutoThrottle and CURL_SAFE_ADAPTIVE are both on"
        return Finding("throttles", CheckStatus.WARNING, value, why, fix)
    return Finding("throttles", CheckStatus.OK, "one at most", why)


def _reactor(facts: Facts) -> Finding:
    why = "any works; Scrapy's default is the fastest"
    return Finding("reactor", CheckStatus.OK, facts.reactor or "none", why)
