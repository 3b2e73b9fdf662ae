"""Turns the steps of the probe into a judgement. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..._ipc.failures import HANDSHAKE_KINDS, is_unknown_authority
from .steps import (
    LOCAL_KINDS,
    ProbeVariant,
    Step,
    better_variants,
    bracket,
    by_concurrency,
    is_worse,
    latency_rise,
    merged,
    turning_point,
)

# A share of failures for which the retries of a crawl make up unnoticed.
_HARMLESS_SHARE = 0.02
# A share of successes that is hardly any.
_HARDLY_ANY = 0.1
# With fewer handshakes, a limit looks like loss.
_TELLING_COUNT = 60
_ASK_THE_DOCTOR = "Run `scrapy curlsafe doctor`: it says which limit to raise."


class Verdict(str, enum.Enum):
    """The probe's conclusion. The values are part of the JSON."""

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
class ProbeBrowsers:
    """Names of the browsers that the variants impersonate.

    Attributes:
        given: None for plain curl, or for the user's own fingerprint.
        small_hello: a browser with a small ClientHello.
        other: another browser.
    """

    given: str | None
    small_hello: str
    other: str

    @property
    def given_name(self) -> str:
        return self.given or "this client"


@dataclass(frozen=True)
class Judgement:
    """The meaning of the steps, and what to do.

    Attributes:
        verdict: the conclusion.
        saw: what was seen, in a sentence or two.
        advice: what to do about it.
        concurrency: how many simultaneous handshakes work; None if not even one does.
        settings: of Scrapy and of this package, to paste.
    """

    verdict: Verdict
    saw: str
    advice: str = ""
    concurrency: int | None = None
    settings: dict[str, int | str] = field(default_factory=dict)


def may_be_no_tls(steps: Sequence[Step]) -> bool:
    """Tell whether a server that does not speak TLS, and says nothing to it, may have been asked:
    then a request without TLS tells."""
    given = merged(by_concurrency(steps))
    return not given.done and given.kind in ("syscall", "timeout")


def judge(
    steps: Sequence[Step],
    browsers: ProbeBrowsers,
    *,
    speaks_http: bool = False,
    has_login: bool = False,
) -> Judgement:
    """Find out why handshakes failed, if any did.

    Args:
        speaks_http: whether a request without TLS was answered, if one was sent.
        has_login: whether the proxy was given a user.
    """
    levels = by_concurrency(steps)
    given = merged(levels)
    if given.is_local:
        return _local(levels, given)
    if _is_proxys_fault(steps, given):
        return _proxy(steps, given, has_login=has_login)
    if given.done:
        return _some_succeeded(steps, levels, browsers)
    if speaks_http:
        _, _, advice = _UNUSABLE["protocol"]
        saw = "The server on that port speaks HTTP without TLS, and does not answer a handshake"
        return Judgement(Verdict.NOT_TLS, f"{saw}: {_detail(given)}", advice)
    return _none_succeeded(steps, given, browsers)


def judge_without_worker(reason: str) -> Judgement:
    """Judge a machine on which no worker starts."""
    saw = f"No worker could be started: {reason}"
    return Judgement(Verdict.LOCAL_LIMITS, saw, _ASK_THE_DOCTOR)


# If no handshake succeeded


# By kind of failure: the verdict, what was seen, and what to do.
_UNUSABLE = {
    "certificate": (
        Verdict.CERTIFICATE,
        "The origin's certificate is not valid here",
        "Its owner has to replace it. DOWNLOAD_VERIFY_CERTIFICATES = False accepts any.",
    ),
    "protocol": (
        Verdict.NOT_TLS,
        "The server on that port does not speak TLS",
        "Check the port, and whether the URL should begin with http: instead of https:.",
    ),
}
_UNKNOWN_AUTHORITY = (
    Verdict.CERTIFICATE,
    "This machine does not know the authority of the origin's certificate",
    "If that is a private one, name the file that has it in the environment variable "
    "SSL_CERT_FILE. DOWNLOAD_VERIFY_CERTIFICATES = False accepts any certificate.",
)
_NOT_REACHED = (
    Verdict.UNREACHABLE,
    "The origin could not be reached",
    "Check the host name and the port, and whether this machine may connect there.",
)
_SHUT = (
    Verdict.UNREACHABLE,
    "The origin accepts connections, but completes no handshake{whoever}",
    "Try from another machine: the origin may be down, or may have blocked this address.",
)
_LOSSY = (Verdict.NETWORK_LOSS, "{few}{whoever}", "Try from another machine or network.")


def _none_succeeded(steps: Sequence[Step], given: Step, browsers: ProbeBrowsers) -> Judgement:
    direct = _of_variant(steps, ProbeVariant.DIRECT)
    seen = direct if direct.count else given
    if seen.kind in ("alert", "syscall", "timeout"):
        tried = {
            ProbeVariant.OTHER_BROWSER: browsers.other,
            ProbeVariant.SMALL_HELLO: browsers.small_hello,
        }
        accepted = {variant: name for variant, name in tried.items() if _helps(steps, variant)}
        if seen.kind != "alert" and accepted.keys() == {ProbeVariant.SMALL_HELLO}:
            return _large_hello(given, browsers)
        several = any(step.count and step.variant in tried for step in steps)
        if seen.kind == "alert" or accepted:
            return _refused(seen, browsers, list(accepted.values()), several=several)
        is_lossy = any(step.done for step in steps)
        verdict, saw, advice = _LOSSY if is_lossy else _SHUT
        whoever = " with any browser" if several else f" as {browsers.given_name}"
        saw = saw.format(few=_how_few(merged(steps)), whoever=whoever)
    else:
        verdict, saw, advice = _UNUSABLE.get(seen.kind or "", _NOT_REACHED)
        if verdict is Verdict.CERTIFICATE and is_unknown_authority(_detail(seen)):
            verdict, saw, advice = _UNKNOWN_AUTHORITY
    wherever = ", with the proxy and without it" if direct.count else ""
    return Judgement(verdict, f"{saw}{wherever}: {_detail(seen) or 'there was no time'}", advice)


def _helps(steps: Sequence[Step], variant: ProbeVariant) -> bool:
    """Tell whether a variant fails less than the given one."""
    given, other = merged(by_concurrency(steps)), _of_variant(steps, variant)
    if given.done or not other.done:
        return variant in better_variants(steps)
    return not other.failed or is_worse(given, other)


def _how_few(made: Step) -> str:
    if made.done <= _HARDLY_ANY * made.count:
        return "Hardly any handshake succeeds"
    return f"Only {_successes(made)} succeed"


def _refused(
    given: Step, browsers: ProbeBrowsers, accepted: list[str], *, several: bool
) -> Judgement:
    verb, how = ("rejects", " with an alert") if given.kind == "alert" else ("drops", "")
    saw = f"The origin {verb} every handshake as {browsers.given_name}{how}: {_detail(given)}"
    if not accepted:
        advice = "Try other browsers."
        if several:
            advice = "It accepts none of the browsers that were tried. Try others."
        return Judgement(Verdict.FINGERPRINT_REFUSED, saw, advice)
    return Judgement(
        Verdict.FINGERPRINT_REFUSED,
        saw,
        f"It accepts {' and '.join(accepted)}.",
        settings={"CURL_SAFE_IMPERSONATE": accepted[0]},
    )


# The proxy


def _is_proxys_fault(steps: Sequence[Step], given: Step) -> bool:
    direct = _of_variant(steps, ProbeVariant.DIRECT)
    got_that_far = any(kind.value in given.failures for kind in HANDSHAKE_KINDS)
    if given.is_proxys:
        return not given.done or _fails_noticeably(given)
    if not given.done and not got_that_far and direct.done:
        return True
    return _helps(steps, ProbeVariant.DIRECT)


def _proxy(steps: Sequence[Step], given: Step, *, has_login: bool) -> Judgement:
    direct = _of_variant(steps, ProbeVariant.DIRECT)
    without = f", {_successes(direct)} without it" if direct.count else ""
    saw = f"{_successes(given)} succeeded through the proxy{without}. "
    saw += f"Through the proxy: {_detail(given)}"
    if direct.failed:
        saw += f". Without it: {_detail(direct)}"
    return Judgement(Verdict.PROXY, saw, _proxy_advice(given, has_login=has_login))


def _proxy_advice(given: Step, *, has_login: bool) -> str:
    if given.kind != "proxy_auth" or given.done:
        return "Use another proxy, or check this one's address, user, password and limits."
    if has_login:
        advice = "The proxy refuses this user or password{}."
    else:
        advice = (
            "This proxy wants a user and a password{}: give them in --proxy, as in "
            "http://USER:PASSWORD@HOST:PORT."
        )
    return advice.format(", or forbids this origin" if "response 403" in _detail(given) else "")


# If some did

_YET_THEY_FAIL = (
    "If handshakes fail in a crawl all the same, and its download handler runs in the crawler's "
    "own process, the crawl's callbacks may hold them up."
)


def _some_succeeded(
    steps: Sequence[Step], levels: list[Step], browsers: ProbeBrowsers
) -> Judgement:
    given = merged(levels)
    if _helps(steps, ProbeVariant.SMALL_HELLO):
        return _large_hello(given, browsers)
    turn = turning_point(levels)
    if turn is not None:
        return _limit(steps, levels, turn)
    if _fails_noticeably(given):
        return _some_fail(levels, given)
    most = levels[-1].concurrency
    saw = f"{_successes(given)} succeeded, with up to {most} at once.{_slower(levels)}"
    return Judgement(Verdict.HEALTHY, saw, _YET_THEY_FAIL, most)


def _fails_noticeably(given: Step) -> bool:
    return given.failed > 1 and given.failed_share > _HARMLESS_SHARE


def _slower(levels: list[Step]) -> str:
    """Say from which concurrency on handshakes take longer."""
    if len(levels) < 2:
        return ""
    rise = latency_rise(levels)
    if rise is None:
        return " They took no longer with more at once."
    few, many = (1000 * (level.time_at(0.5) or 0.0) for level in (levels[0], rise))
    return (
        f" With {rise.concurrency} at once they began to take longer: {many:,.0f} ms (median), and "
        f"{few:,.0f} ms with {levels[0].concurrency}."
    )


def _local(levels: list[Step], given: Step) -> Judgement:
    good = [level.concurrency for level in levels if level.done and not level.failed]
    kind = next(kind for kind in given.failures if kind in LOCAL_KINDS)
    failing = [level.concurrency for level in levels if LOCAL_KINDS & level.failures.keys()]
    return Judgement(
        Verdict.LOCAL_LIMITS,
        f"With {min(failing)} handshakes at once this machine, not the origin, is at its limit: "
        f"{given.details.get(kind, kind)}",
        _ASK_THE_DOCTOR,
        max(good, default=None),
        _concurrency_settings(max(good)) if good else {},
    )


def _large_hello(given: Step, browsers: ProbeBrowsers) -> Judgement:
    return Judgement(
        Verdict.LARGE_HELLO,
        f"The large ClientHello of {browsers.given_name} is dropped, the small one of "
        f"{browsers.small_hello} is not: {_detail(given)}",
        "The origin, or a device on the way to it, cannot handle a ClientHello of more than one "
        "packet.",
        settings={"CURL_SAFE_IMPERSONATE": browsers.small_hello},
    )


def _limit(steps: Sequence[Step], levels: list[Step], turn: int) -> Judgement:
    good, bad = bracket(levels, turn)
    failing = next(level for level in levels if level.concurrency == bad)
    share = f"{failing.failed_share:.0%}"
    saw = f"With {good} at once handshakes succeed; with {bad}, {share} fail: {_detail(failing)}"
    advice = "The origin accepts no more at once."
    if _has_turned(steps):
        saw += " Later, handshakes failed with fewer at once, too."
        advice = "The origin also limits handshakes over time: set a DOWNLOAD_DELAY."
    return Judgement(Verdict.ORIGIN_LIMIT, saw, advice, good, _concurrency_settings(good))


def _has_turned(steps: Sequence[Step]) -> bool:
    """Tell whether a concurrency that worked at first failed later."""
    given = [step for step in steps if step.variant is ProbeVariant.GIVEN]
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
    share = f"{given.failed_share:.0%} of the handshakes fail, however many are made at once"
    verdict = _PARTLY.get(given.kind or "", Verdict.NETWORK_LOSS)
    advice = "Retries make up for that: CURL_SAFE_HANDSHAKE_RETRY_TIMES = 10 is enough."
    if verdict is not Verdict.NETWORK_LOSS:
        advice = "Some of the origin's servers are not like the others."
    elif given.count < _TELLING_COUNT:
        advice += " With so few handshakes a limit would look the same: try a larger -n."
    return Judgement(verdict, f"{share}: {_detail(given)}", advice, most)


def _concurrency_settings(most: int) -> dict[str, int | str]:
    return {"CONCURRENT_REQUESTS": most, "CONCURRENT_REQUESTS_PER_DOMAIN": most}


# Words


def _successes(step: Step) -> str:
    return f"{step.done:,} of {step.count:,} handshakes"


def _detail(step: Step) -> str:
    """Return libcurl's message about the most frequent kind of failure."""
    kind = step.kind or ""
    return step.details.get(kind) or kind


def _of_variant(steps: Iterable[Step], variant: ProbeVariant) -> Step:
    return merged(step for step in steps if step.variant is variant)
