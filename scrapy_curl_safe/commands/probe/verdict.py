"""What the probe makes of what it measured. Pure: steps in, a judgement out."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .steps import (
    LOCAL,
    Route,
    Step,
    better_routes,
    bracket,
    by_concurrency,
    is_worse,
    merged,
    turning_point,
)

# A share of failures that a crawl's retries make good unnoticed.
_HARMLESS = 0.02
# So many handshakes tell a limit from loss.
_TELLING = 60
_ASK_THE_DOCTOR = "`scrapy curlsafe doctor` says what to raise."


class Verdict(str, enum.Enum):
    HEALTHY = "healthy"
    NETWORK_LOSS = "network_loss"
    ORIGIN_LIMIT = "origin_limit"
    FINGERPRINT_REFUSED = "fingerprint_refused"
    LARGE_HELLO = "large_hello"
    PROXY = "proxy"
    LOCAL_LIMITS = "local_limits"
    NOT_TLS = "not_tls"
    CERTIFICATE = "certificate"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Browsers:
    """Names of what the routes have as browser.

    Attributes:
        given: None for plain curl, or a fingerprint of one's own.
        small: of the small ClientHello.
        other: of the other browser.
    """

    given: str | None
    small: str
    other: str


@dataclass(frozen=True)
class Judgement:
    """
    Attributes:
        saw: what was seen, in a sentence or two.
        advice: what to do about it; empty where there is nothing to do.
        concurrency: how many handshakes at once are well; None where none are.
        settings: of Scrapy and of this package, to paste.
    """

    verdict: Verdict
    saw: str
    advice: str = ""
    concurrency: int | None = None
    settings: dict[str, int | str] = field(default_factory=dict)


def judge(steps: Sequence[Step], browsers: Browsers) -> Judgement:
    levels = by_concurrency(steps)
    given = merged(levels)
    if given.is_local:
        return _local(levels, given)
    if _helps(steps, Route.DIRECT):
        return _proxy(steps, given)
    if given.done:
        return _some_done(steps, levels, browsers)
    return _none_done(steps, given, browsers)


def no_worker(why: str) -> Judgement:
    """Of a machine on which no worker can be started."""
    saw = f"No worker could be started: {why}"
    return Judgement(Verdict.LOCAL_LIMITS, saw, _ASK_THE_DOCTOR)


# Where none is completed


# By the kind of failure: what it comes to, what was seen, and what to do.
_UNUSABLE = {
    "certificate": (
        Verdict.CERTIFICATE,
        "Its certificate is refused",
        "Its owner has to mend that, or DOWNLOAD_VERIFY_CERTIFICATES has to be False.",
    ),
    "protocol": (
        Verdict.NOT_TLS,
        "What answers there does not speak TLS",
        "Look at the port, and whether the URL has to begin with http: instead of https:.",
    ),
}
_NOT_REACHED = (
    Verdict.UNREACHABLE,
    "It could not be reached",
    "Look at the name and the port, and whether this machine may go there.",
)
_SHUT = (
    Verdict.UNREACHABLE,
    "It takes connections and completes no handshake of any browser",
    "Try it from another machine: it may be down, or have shut this address out.",
)
_HARDLY = (
    Verdict.NETWORK_LOSS,
    "Hardly any handshake is completed, whichever the browser",
    "Try it from another machine or network.",
)


def _none_done(steps: Sequence[Step], given: Step, browsers: Browsers) -> Judgement:
    direct = _of_route(steps, Route.DIRECT)
    seen = direct if direct.count else given
    if seen.kind in ("alert", "syscall", "timeout"):
        tried = {Route.OTHER: browsers.other, Route.SMALL: browsers.small}
        accepted = {route: name for route, name in tried.items() if _helps(steps, route)}
        if seen.kind != "alert" and accepted.keys() == {Route.SMALL}:
            return _large_hello(given, browsers)
        if seen.kind == "alert" or accepted:
            return _refused(seen, browsers, list(accepted.values()))
        is_lossy = any(step.done for step in steps)
        verdict, saw, advice = _HARDLY if is_lossy else _SHUT
    else:
        verdict, saw, advice = _UNUSABLE.get(seen.kind or "", _NOT_REACHED)
    wherever = ", with the proxy and without it" if direct.count else ""
    return Judgement(verdict, f"{saw}{wherever}: {_text(seen) or 'there was no time'}", advice)


def _helps(steps: Sequence[Step], route: Route) -> bool:
    """Whether by this route fewer fail than as given."""
    given, other = merged(by_concurrency(steps)), _of_route(steps, route)
    if given.done or not other.done:
        return route in better_routes(steps)
    return not other.failed or is_worse(given, other)


def _refused(given: Step, browsers: Browsers, accepted: list[str]) -> Judgement:
    how = "answered with an alert" if given.kind == "alert" else "dropped"
    saw = f"Every handshake as {browsers.given or 'this client'} is {how}: {_text(given)}"
    if not accepted:
        advice = "None of the browsers that were tried is accepted. Try others."
        return Judgement(Verdict.FINGERPRINT_REFUSED, saw, advice)
    return Judgement(
        Verdict.FINGERPRINT_REFUSED,
        saw,
        f"It accepts {' and '.join(accepted)}.",
        settings={"CURL_SAFE_IMPERSONATE": accepted[0]},
    )


# Where some are


def _some_done(steps: Sequence[Step], levels: list[Step], browsers: Browsers) -> Judgement:
    given = merged(levels)
    if _helps(steps, Route.SMALL):
        return _large_hello(given, browsers)
    turn = turning_point(levels)
    if turn is not None:
        return _limit(steps, levels, turn)
    if given.failed > 1 and given.failed_share > _HARMLESS:
        return _some_fail(levels, given)
    most = levels[-1].concurrency
    saw = f"{_of(given)} were completed."
    return Judgement(Verdict.HEALTHY, saw, "", most, _concurrency(most))


def _local(levels: list[Step], given: Step) -> Judgement:
    well = [level.concurrency for level in levels if level.done and not level.failed]
    local = next(kind for kind in given.failures if kind in LOCAL)
    saw = "This machine, and not the origin, is at its limit"
    failing = [level.concurrency for level in levels if LOCAL & level.failures.keys()]
    return Judgement(
        Verdict.LOCAL_LIMITS,
        f"{saw} with {min(failing)} at once: {given.details.get(local, local)}",
        _ASK_THE_DOCTOR,
        max(well, default=None),
        _concurrency(max(well)) if well else {},
    )


def _proxy(steps: Sequence[Step], given: Step) -> Judgement:
    direct = _of_route(steps, Route.DIRECT)
    return Judgement(
        Verdict.PROXY,
        f"{_of(given)} were completed by the proxy, {_of(direct)} without it. "
        f"By the proxy: {_text(given)}",
        "Use another proxy, or look at this one's address, user, password and limits.",
    )


def _large_hello(given: Step, browsers: Browsers) -> Judgement:
    name = browsers.given or "this client"
    return Judgement(
        Verdict.LARGE_HELLO,
        f"The large ClientHello of {name} is dropped, the small one of {browsers.small} is not: "
        f"{_text(given)}",
        "A server or something on the way cannot take a ClientHello of more than one packet.",
        settings={"CURL_SAFE_IMPERSONATE": browsers.small},
    )


def _limit(steps: Sequence[Step], levels: list[Step], turn: int) -> Judgement:
    good, bad = bracket(levels, turn)
    failing = next(level for level in levels if level.concurrency == bad)
    saw = f"With {good} at once they are well, with {bad} {failing.failed_share:.0%} fail: "
    saw += _text(failing)
    advice = "The origin takes no more at once."
    if _has_turned(steps):
        saw += " Later they failed with fewer at once, too."
        advice = "The origin counts handshakes over a time, too: set a DOWNLOAD_DELAY."
    return Judgement(Verdict.ORIGIN_LIMIT, saw, advice, good, _concurrency(good))


def _has_turned(steps: Sequence[Step]) -> bool:
    """Whether one concurrency was well at first and was not later."""
    given = [step for step in steps if step.route is Route.GIVEN]
    return any(
        later.concurrency <= step.concurrency and is_worse(later, step)
        for at, step in enumerate(given)
        for later in given[at + 1 :]
    )


_PARTLY = {
    "alert": Verdict.FINGERPRINT_REFUSED,
    "certificate": Verdict.CERTIFICATE,
    "protocol": Verdict.NOT_TLS,
}


def _some_fail(levels: list[Step], given: Step) -> Judgement:
    most = levels[-1].concurrency
    share = f"{given.failed_share:.0%} fail, with few at once as with many"
    verdict = _PARTLY.get(given.kind or "", Verdict.NETWORK_LOSS)
    advice = "Retries make it good: CURL_SAFE_HANDSHAKE_RETRY_TIMES is enough at 10."
    if verdict is not Verdict.NETWORK_LOSS:
        advice = "Some of the origin's servers are not like the others."
    elif given.count < _TELLING:
        advice += " Of so few handshakes a limit would look the same: try a larger -n."
    return Judgement(verdict, f"{share}: {_text(given)}", advice, most, _concurrency(most))


def _concurrency(most: int) -> dict[str, int | str]:
    return {"CONCURRENT_REQUESTS": most, "CONCURRENT_REQUESTS_PER_DOMAIN": most}


# Words


def _of(step: Step) -> str:
    return f"{step.done:,} of {step.count:,} handshakes"


def _text(step: Step) -> str:
    """What libcurl said of the most frequent kind of failure."""
    kind = step.kind or ""
    return step.details.get(kind) or kind


def _of_route(steps: Iterable[Step], route: Route) -> Step:
    return merged(step for step in steps if step.route is route)
