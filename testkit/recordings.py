"""Recorded requests of browsers, and their comparison with other requests."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scrapy_curl_safe._crawl.browser.contradictions import Sent

DIRECTORY = Path(__file__).parent.parent / "tests" / "data" / "browsers"

Fields = Sequence[tuple[str, str]]

# Headers that name the browser's version, system or language, or that libcurl writes.
_FREE = {"user-agent", "accept-language", "host", "content-length"}


def newest(family: str) -> str:
    """Return the name of the recording of a browser's newest version."""
    names = (path.stem for path in DIRECTORY.glob(f"{family}-*.json"))
    versions = [int(name.rpartition("-")[2]) for name in names if name[-1].isdecimal()]
    return f"{family}-{max(versions)}"


def load(name: str) -> dict[str, Any]:
    """Return a recording, such as `chromium-156`."""
    recording: dict[str, Any] = json.loads((DIRECTORY / f"{name}.json").read_text())
    return recording


def comparable(sent: Sent) -> Sent:
    """Leave out what only names the browser's version, system or language."""
    return sent._replace(
        fields=tuple((name, _without_the_free(name.lower(), value)) for name, value in sent.fields)
    )


def sent_in(scenario: dict[str, Any]) -> Sent:
    """Return the request of a recording's scenario."""
    priority = (scenario.get("h2") or {}).get("priority") or {}
    return Sent(
        scenario["protocol"],
        scenario["method"],
        f"{scenario['scheme']}://{scenario['host']}{scenario['path']}",
        tuple((name, value) for name, value in scenario["headers"]),
        priority.get("weight"),
        bool(priority["exclusive"]) if priority else None,
    )


def differences(got: Sent, wanted: Sent) -> list[str]:
    """Return how a request differs from another one; nothing if they are equal."""
    got, wanted = comparable(got), comparable(wanted)
    have, want = _by_name(got.fields), _by_name(wanted.fields)
    found = [f"no {name}" for name in want if name not in have]
    found += [f"has {name}" for name in have if name not in want]
    for name in want:
        if name in have and have[name] != want[name]:
            found.append(f"{name}: {_listed(have[name])} for {_listed(want[name])}")
    common = [name.lower() for name, _ in got.fields if name.lower() in want]
    expected = [name.lower() for name, _ in wanted.fields if name.lower() in have]
    if list(dict.fromkeys(common)) != list(dict.fromkeys(expected)):
        found.append("order")
    names, spelt = ({name for name, _ in sent.fields} for sent in (got, wanted))
    if {name for name in names if name.lower() in want} - spelt:
        found.append("case")
    if (got.weight, got.exclusive) != (wanted.weight, wanted.exclusive):
        found.append(f"priority {_priority(got)} for {_priority(wanted)}")
    found += [
        f"{name} {have} for {want}"
        for name, have, want in zip(Sent._fields[:3], got[:3], wanted[:3], strict=True)
        if have != want
    ]
    # Fields of the same name, such as cookies, may have others between them.
    return found or ([] if got == wanted else ["order"])


def urgency(sent: Sent) -> tuple[str, int | None]:
    """Return the Priority header and the HTTP/2 weight of a request."""
    header = next((value for name, value in sent.fields if name.lower() == "priority"), "")
    return header, sent.weight


def recording_differences(fresh: dict[str, Any], stored: dict[str, Any]) -> dict[str, list[str]]:
    """Return how two recordings differ, by situation, without the situations that are equal.

    A browser may send the same request with different urgencies. It is enough that the recordings
    share one of these.
    """
    found = {}
    wanted = {scenario["key"]: scenario for scenario in stored["scenarios"]}
    for scenario in fresh["scenarios"]:
        other = wanted.pop(scenario["key"], None)
        if other is None:
            found[scenario["key"]] = ["not in the other recording"]
            continue
        got, want = sent_in(scenario), sent_in(other)
        if _urgencies(scenario) & _urgencies(other):
            got, want = _without_urgency(got), _without_urgency(want)
        different = differences(got, want)
        if different:
            found[scenario["key"]] = different
    found |= {key: ["not recorded"] for key in wanted}
    openings = [
        name
        for name, of in (("JA4", _ja4), ("HTTP/2 opening", lambda recording: recording["http2"]))
        if of(fresh) != of(stored)
    ]
    return found | ({"opening": openings} if openings else {})


def _ja4(recording: dict[str, Any]) -> str:
    ja4: str = recording["tls"]["ja4"]
    return ja4


def _urgencies(scenario: dict[str, Any]) -> set[tuple[str, int | None]]:
    if "seen" in scenario:
        return {(header, weight) for header, weight in scenario["seen"]}
    header, weight = urgency(sent_in(scenario))
    frames = [json.loads(frame) for frame in scenario.get("h2_seen", ())]
    return {(header, weight), *((header, each["priority"]["weight"]) for each in frames if each)}


def _without_urgency(sent: Sent) -> Sent:
    fields = [(name, "" if name.lower() == "priority" else value) for name, value in sent.fields]
    return sent._replace(fields=tuple(fields), weight=None)


def _by_name(fields: Fields) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
    return values


def _listed(values: list[str]) -> str:
    return " + ".join(f"`{value}`" for value in values)


def _priority(sent: Sent) -> str:
    if sent.weight is None:
        return "none"
    return f"{sent.weight}{' exclusive' if sent.exclusive else ''}"


def _without_the_free(name: str, value: str) -> str:
    if name in _FREE or name.startswith("sec-ch-ua"):
        return ""
    if name == "accept":
        return value.replace("image/jxl,", "")
    return re.sub(r"boundary=\S+", "boundary=", value) if name == "content-type" else value
