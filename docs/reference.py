"""Write docs/reference.md from the code: python docs/reference.py"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from scrapy.settings import BaseSettings

from scrapy_curl_safe import settings
from scrapy_curl_safe._crawl import meta, response
from scrapy_curl_safe._crawl.advice import MEANINGS
from scrapy_curl_safe._crawl.health_record import KEYS
from scrapy_curl_safe._crawl.retry_rules import HANDSHAKE_RULES
from scrapy_curl_safe._crawl.stats import STATS

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "scrapy_curl_safe"

_RETRIES = {None: "yes", 0: "no", 1: "once, on another worker"}
_SIGNALS = {
    "headers_received": "when the headers of a streamed response have arrived",
    "bytes_received": "for each piece of its body",
}
_CLOSE_REASONS = {
    "curl_safe_handshake_failures": "a larger share of handshakes failed than "
    "`CURL_SAFE_FAILURE_RATE_CLOSE` allows",
    "curl_safe_bad_setting": "a setting is wrong; the log says which",
    "curl_safe_no_worker": "no worker can be started any more",
}


def reference() -> str:
    parts = [
        "# Reference",
        "Written from the code by `make reference`; a test compares the two.",
        "## Settings",
        "A wrong value stops the crawl at its start, with a message that says what the setting "
        "takes.",
        *_settings(),
        '## `request.meta["curl_safe"]`',
        "If the key is absent, the settings apply. `False`: Scrapy's own handler downloads the "
        "request. A dict: its keys win over the settings. An unknown key or a bad value is a "
        "`ValueError` for that request alone.",
        *_meta(),
        '## `response.meta["curl_safe_info"]`',
        "Only responses that a worker downloaded have it: none from Scrapy's cache (with "
        '`"cached"` in `response.flags`), from its own handlers, or from another middleware. '
        '`response.meta.get("curl_safe_info", {})` suits all of them. A cached page that a '
        "redirect led to shows that of the redirect, whose meta Scrapy copies.",
        *_info(),
        "## Stats",
        "All are under `curl_safe/`. Counters only add up, so those of several machines can be "
        "summed. The Prometheus metric of a counter has its label value in brackets.",
        _table(("key", "type", "Prometheus metric", "meaning"), _stats()),
        "Retries are also counted in Scrapy's own `retry/count` and `retry/reason_count/{reason}`, "
        "by the reasons below.",
        "## Health line as JSON",
        "With `CURL_SAFE_MONITOR_JSON = True` the health line is an object with these keys. Counts "
        "are of the whole crawl, unless they begin with `new_`; a key of what does not apply is "
        "left out.",
        _table(("key", "meaning"), ((f"`{key}`", text) for key, text in KEYS.items())),
        "## Failures",
        "The kinds of `scrapy_curl_safe.HandshakeError`, and what the middleware does about each:",
        _table(("kind", "what happened", "retried", "reason"), _failures()),
        "Four other failures have reasons of their own: a request that was not tried since the "
        "origin's circuit breaker is open (`OriginUnavailableError`) is `origin_unavailable`, a "
        "worker that died or hung "
        "(`WorkerCrashedError`) is `worker_crashed` or `worker_hung`, a reused connection that "
        "dies before the answer begins (`ConnectionDiedError`) is `connection_died`, and an answer "
        "that HTTP/2 forbids (`Http2ProtocolError`) is `http2_protocol`.",
        "With [sessions](sessions.md), a request that was refused is retried with the reason "
        "`session_blocked`, and one that failed by its proxy with `session_proxy`.",
        "## Signals",
        "They are sent as Scrapy's own handlers send them. If no receiver is connected, a response "
        "comes in one piece. A receiver may raise `StopDownload`, which cancels the transfer.",
        _table(("signal", "sent"), _code(_checked("signals", _signals(), _SIGNALS))),
        "`spider_closed` has one of Scrapy's reasons, or one of these:",
        _table(
            ("reason", "meaning"),
            _code(_checked("close reasons", _close_reasons(), _CLOSE_REASONS)),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _settings() -> Iterator[str]:
    defaults = settings.Settings.load(BaseSettings())
    for name, meaning in _section(settings.Settings, "Attributes").items():
        setting = f"CURL_SAFE_{name.upper()}"
        default = repr(getattr(defaults, name))
        if name == "workers":
            default = "min(4, max(2, CPUs))"

        def load(value: object, setting: str = setting) -> settings.Settings:
            return settings.Settings.load(BaseSettings({setting: value}))

        yield _entry(setting, meaning, f"Default: `{default}`. Takes {_takes(load)}.")


def _meta() -> Iterator[str]:
    meanings = _section(meta.request_options, "Keys")
    for key, meaning in _checked("keys of meta", set(meta.CHECKS), meanings).items():
        yield _entry(key, meaning, f"Takes {_takes(meta.CHECKS[key])}.")


def _info() -> Iterator[str]:
    for key, meaning in _section(response.info_of, "Keys").items():
        yield _entry(key, meaning)


def _entry(name: str, meaning: str, *more: str) -> str:
    """Return a section with an anchor of its own; in the docstrings, meanings are no sentences."""
    return "\n\n".join([f"### `{name}`", f"{meaning[0].upper()}{meaning[1:]}.", *more])


def _stats() -> Iterator[tuple[str, ...]]:
    for stat in STATS:
        metric = f"`{stat.metric}_total`" if stat.metric else ""
        if stat.label:
            metric += f" (`{stat.label}`)"
        yield f"`{stat.key}`", stat.type, metric, stat.meaning


def _failures() -> Iterator[tuple[str, ...]]:
    for kind, rule in HANDSHAKE_RULES.items():
        reason = f"`{rule.reason}`" if rule.max_retries != 0 else ""
        yield f"`{kind.value}`", MEANINGS[kind], _RETRIES[rule.max_retries], reason


def _signals() -> set[str]:
    """Return the signals that are sent while a download runs."""
    source = (PACKAGE / "_crawl" / "response.py").read_text()
    return set(re.findall(r"(?<!\.)signals\.(\w+)", source))


def _close_reasons() -> set[str]:
    """Return the reasons with which the package closes a spider."""
    return {
        str(ast.literal_eval(call.args[1]))
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "close_crawl"
    }


def _takes(check: Callable[[Any], object]) -> str:
    """Return what a setting or a key takes, as its error says."""
    try:
        check(3j)  # which nothing takes
    except ValueError as error:
        return str(error).rpartition("it takes ")[2]
    raise SystemExit(f"{check} takes anything")


def _section(documented: Any, title: str) -> dict[str, str]:
    """Return the entries of one section of a docstring, "name: text" each."""
    # Since Python 3.13, the compiler takes the indentation off.
    _, _, section = (inspect.getdoc(documented) or "").partition(f"{title}:\n")
    entries: dict[str, str] = {}
    for line in section.splitlines():
        found = re.fullmatch(r" {4}([\w/{}]+): (.+)", line)
        if found:
            entries[found[1]] = found[2]
        elif line.startswith(" " * 8):
            entries[list(entries)[-1]] += " " + line.strip()
        else:
            break
    return entries


def _checked(what: str, found: set[str], meanings: dict[str, str]) -> dict[str, str]:
    """Return the meanings, if they are those of all that was found."""
    if found != set(meanings):
        raise SystemExit(f"the {what} in the code are {found}, but {set(meanings)} are documented")
    return meanings


def _code(entries: dict[str, str]) -> Iterable[tuple[str, ...]]:
    return ((f"`{name}`", meaning) for name, meaning in entries.items())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    (HERE / "reference.md").write_text(reference())
