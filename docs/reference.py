"""Write docs/reference.md from the code: python docs/reference.py"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from scrapy.settings import BaseSettings
from scrapy_curl_safe.errors import TREATMENTS
from scrapy_curl_safe.figures import Figures

from scrapy_curl_safe import meta, reception, settings

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "scrapy_curl_safe"

_KINDS = {
    "syscall": "the origin closes or resets during the handshake",
    "timeout": "the handshake is not done in time",
    "alert": "the origin sends a TLS alert",
    "protocol": "the origin does not speak TLS",
    "certificate": "the certificate is refused",
    "local": "no descriptor, port or thread is left on this machine; its worker is recycled",
}
_SIGNALS = {
    "headers_received": "for a response that is streamed, once its headers are there",
    "bytes_received": "for each piece of its body",
}
_CLOSE_REASONS = {
    "curl_safe_handshake_failures": "more failed than `CURL_SAFE_FAILURE_RATE_CLOSE` allows",
    "curl_safe_bad_setting": "a setting is wrong: the log says which",
    "curl_safe_no_worker": "no worker can be started any more",
}


def reference() -> str:
    parts = [
        "# Reference",
        "Written from the code by `make reference`; a test compares the two.",
        "## Settings",
        "A wrong value stops the crawl at its start, with a message that says what it takes.",
        _table(("setting", "default", "takes", "meaning"), _settings()),
        '## `request.meta["curl_safe"]`',
        "Absent: the settings apply. `False`: Scrapy's own handler downloads the request. A dict: "
        "these keys go before the settings. An unknown key or a bad value is a `ValueError` for "
        "that request alone.",
        _table(("key", "takes", "meaning"), _meta()),
        '## `response.meta["curl_safe_info"]`',
        _table(("key", "meaning"), _code(_section(reception.info_of, "Keys"))),
        "## Stats",
        "Under `curl_safe/`. Counters only add up, so those of several machines can be summed.",
        _table(("key", "meaning"), _code(_section(Figures, "Stats"))),
        "Retries are counted in Scrapy's own `retry/count` and `retry/reason_count/{reason}`, too, "
        "by the reasons below.",
        "## Failures",
        "The kinds of `scrapy_curl_safe.HandshakeError`, and what the middleware does:",
        _table(("kind", "what happened", "retried", "reason"), _failures()),
        "Of the others, a worker that died or hung (`WorkerCrashedError`) is `worker_crashed` or "
        "`worker_hung`, and warm connections that close as the request goes "
        "out (`ConnectionDiedError`) is `connection_died`.",
        "## Signals",
        "As Scrapy's own handlers send them; where nobody is connected to them, a response comes "
        "in one piece. A receiver may raise `StopDownload`, which cancels the transfer.",
        _table(
            ("signal", "sent"), _code(_documented("signals", r"(?<!\.)signals\.(\w+)", _SIGNALS))
        ),
        "`spider_closed` has one of Scrapy's reasons, or one of these:",
        _table(
            ("reason", "meaning"),
            _code(_documented("reasons", r'close_crawl\(.*?"(\w+)"\)', _CLOSE_REASONS)),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _settings() -> Iterable[tuple[str, ...]]:
    defaults = settings.Settings.load(BaseSettings())
    for name, meaning in _section(settings.Settings, "Attributes").items():
        setting = f"CURL_SAFE_{name.upper()}"
        default = repr(getattr(defaults, name))
        if name == "workers":
            default = "min(4, max(2, CPUs))"
        takes = _takes(
            lambda value, key=setting: settings.Settings.load(BaseSettings({key: value}))
        )
        yield f"`{setting}`", f"`{default}`", takes, meaning


def _meta() -> Iterable[tuple[str, ...]]:
    meanings = _section(meta.request_options, "Keys")
    if set(meanings) != set(meta.CHECKS):
        raise SystemExit("the keys of meta.CHECKS are not those of its docstring")
    for key, meaning in meanings.items():
        yield f"`{key}`", _takes(meta.CHECKS[key]), meaning


def _failures() -> Iterable[tuple[str, ...]]:
    often = {None: "yes", 0: "no", 1: "once, on another worker"}
    for kind, treatment in TREATMENTS.items():
        reason = f"`{treatment.reason}`" if treatment.most_retries != 0 else ""
        yield f"`{kind}`", _KINDS[kind], often[treatment.most_retries], reason


def _takes(check: Callable[[Any], object]) -> str:
    try:
        check(3j)  # which nothing takes
    except ValueError as error:
        return str(error).rpartition("it takes ")[2]
    raise SystemExit(f"{check} takes anything")


def _section(documented: Any, title: str) -> dict[str, str]:
    """The entries of one section of a docstring, "name: text" each."""
    _, _, section = documented.__doc__.partition(f"    {title}:\n")
    entries: dict[str, str] = {}
    for line in section.splitlines():
        found = re.fullmatch(r" {8}([\w/{}]+): (.+)", line)
        if found:
            entries[found[1]] = found[2]
        elif line.startswith(" " * 12):
            entries[list(entries)[-1]] += " " + line.strip()
        else:
            break
    return entries


def _documented(what: str, pattern: str, meanings: dict[str, str]) -> dict[str, str]:
    found = {
        name
        for source in PACKAGE.glob("*.py")
        for name in re.findall(pattern, source.read_text())
        if what != "signals" or source.name == "reception.py"
    }
    if found != set(meanings):
        raise SystemExit(f"{what} of the code: {found}, and of {Path(__file__).name}: {meanings}")
    return meanings


def _code(entries: dict[str, str]) -> Iterable[tuple[str, ...]]:
    return ((f"`{name}`", meaning) for name, meaning in entries.items())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    (HERE / "reference.md").write_text(reference())
