"""The policy of sessions, in a time of its own: who gets which, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request, Spider
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    ResponseDataLossError,
)
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_curl_safe import (
    HandshakeError,
    OriginUnavailableError,
    ProxyAuthenticationError,
    SessionMiddleware,
)
from scrapy_curl_safe._crawl.errors import download_error
from scrapy_curl_safe._crawl.meta import BOUND, REFUSALS, SESSION
from scrapy_curl_safe._crawl.own_identity import OwnProxiesWarning
from scrapy_curl_safe._crawl.sessions.assignment import choice, seed_of, turn
from scrapy_curl_safe._crawl.sessions.health import LONGEST_REST_SECONDS, Proxy
from scrapy_curl_safe._crawl.sessions.pool import SessionPool
from scrapy_curl_safe._crawl.sessions.proxy_failures import all_rest, failure_of
from scrapy_curl_safe._crawl.sessions.retry_after import LONGEST_SECONDS, retry_after
from scrapy_curl_safe._crawl.sessions.saved import dump, load
from scrapy_curl_safe._crawl.sessions.session import VisitorSession
from scrapy_curl_safe._crawl.stats import STATS
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.messages import Failed, TransferStats
from scrapy_curl_safe._pool.origins import Route
from scrapy_curl_safe.exceptions import HandshakeTimeoutError
from scrapy_curl_safe.session_settings import SessionBrowser, SessionSettings

SEED = seed_of("bot", "spider")
ORIGIN = "https://a.test:443"
OTHER = "https://b.test:443"
TRIAL_SECONDS = 60.0


class Crawl:
    """A pool, with what it counts."""

    def __init__(self, proxies: int = 0, *, crawl_id: str = "id", **settings: Any) -> None:
        self.counts: Counter[str] = Counter()
        self.dropped: list[VisitorSession] = []
        self.proxies = [
            Proxy(f"http://user:secret{n}@p{n}.test:1", f"http://p{n}.test:1")
            for n in range(proxies)
        ]
        self.pool = SessionPool(
            SessionSettings(**settings),
            self.proxies,
            [SessionBrowser(name, ("de",)) for name in ("chrome", "firefox", "safari")],
            SEED,
            crawl_id,
            TRIAL_SECONDS,
            on_dropped=self.dropped.append,
            count=lambda key: self.counts.update([key]),
        )

    def acquire(self, now: float = 0.0, *, origin: str = ORIGIN, **options: Any) -> VisitorSession:
        session = self.pool.acquire(origin, now, **options)
        assert isinstance(session, VisitorSession)
        return session

    def wait(self, now: float = 0.0, *, origin: str = ORIGIN, **options: Any) -> float:
        seconds = self.pool.acquire(origin, now, **options)
        assert isinstance(seconds, float)
        return seconds

    def served(self, now: float = 0.0, *, origin: str = ORIGIN, **options: Any) -> VisitorSession:
        """A session that has answered a request."""
        session = self.acquire(now, origin=origin, **options)
        self.pool.succeeded(session, origin)
        return session


# Which session a request gets


def test_there_is_one_session_per_proxy_and_they_take_turns() -> None:
    crawl = Crawl(5)
    sessions = [crawl.served() for _ in range(15)]
    assert {session.proxy for session in sessions} == set(crawl.proxies)
    assert Counter(Counter(sessions).values()) == {3: 5}
    assert crawl.counts == {"session/open_count": 5}


def test_the_least_busy_session_comes_first() -> None:
    crawl = Crawl(3)
    first, second, third = (crawl.served() for _ in range(3))
    for session in (first, first, second):
        crawl.pool.change_in_flight(session.id, 1, 0.0)
    assert [crawl.acquire(), crawl.acquire()] == [third, third]
    crawl.pool.change_in_flight(third.id, 1, 0.0)
    crawl.pool.change_in_flight(third.id, 1, 0.0)
    assert crawl.acquire() is second


def test_sessions_share_proxies_if_there_are_fewer() -> None:
    crawl = Crawl(2, size=6)
    counted = Counter(crawl.served().proxy for _ in range(6))
    assert sorted(counted.values()) == [3, 3]
    assert crawl.pool.alive == 6


def test_without_proxies_there_is_one() -> None:
    crawl = Crawl()
    assert crawl.served() is crawl.served()
    assert crawl.served().proxy is None


@pytest.mark.parametrize("per", ["origin", "crawl"])
def test_origins_have_sessions_of_their_own_or_share_them(per: str) -> None:
    crawl = Crawl(1, per=per)
    assert (crawl.served() is crawl.served(origin=OTHER)) == (per == "crawl")


def test_a_new_session_has_one_request_until_it_has_its_cookies() -> None:
    crawl = Crawl()
    session = crawl.acquire()
    assert crawl.wait() < 1
    crawl.pool.change_in_flight(session.id, 1, 1.0)
    crawl.pool.change_in_flight(session.id, -1, 1.0)
    # The cookies are not there yet.
    assert crawl.wait(1.0) < 1
    crawl.pool.succeeded(session, ORIGIN)
    assert crawl.acquire(1.0) is session


def test_a_first_request_that_is_lost_does_not_hold_a_session_for_ever() -> None:
    crawl = Crawl()
    session = crawl.acquire()
    assert crawl.acquire(TRIAL_SECONDS) is session


def test_a_named_session_is_the_same_whenever_it_is_named() -> None:
    crawl = Crawl(8)
    named = crawl.served(name="account")
    assert crawl.served(name="account") is named
    assert named not in [crawl.served() for _ in range(20)]


def test_a_name_gets_the_same_proxy_and_browser_on_each_machine() -> None:
    names = [f"account-{n}" for n in range(50)] + ["a", "b", "ü"]
    here, there = Crawl(8, crawl_id="one"), Crawl(8, crawl_id="two")
    for name in names:
        one, two = here.served(name=name), there.served(name=name)
        assert one.browser == two.browser
        assert one.proxy is not None
        assert two.proxy is not None
        assert one.proxy.url == two.proxy.url


def test_two_crawls_of_a_queue_have_no_session_in_common() -> None:
    here, there = Crawl(8, crawl_id="one"), Crawl(8, crawl_id="two")
    mine = {here.served().name for _ in range(8)}
    assert mine.isdisjoint(there.served().name for _ in range(8))
    # The other crawl's requests get a session of this one.
    name = next(iter(mine))
    assert there.served(name=name).name != name


def test_numbered_names_take_turns() -> None:
    assert len({turn(SEED, f"account-{n}", 10) for n in range(90, 100)}) == 10


@given(st.text(), st.integers(1, 10_000))
def test_each_name_has_a_place(name: str, count: int) -> None:
    assert 0 <= turn(SEED, name, count) < count
    assert 0 <= choice(SEED, name, count) < count


def test_the_seed_is_that_of_the_spider() -> None:
    assert seed_of("bot", "spider") == SEED
    assert len({seed_of("bot", "a"), seed_of("bot", "b"), seed_of("other", "a")}) == 3


# How sessions end


def test_a_session_ends_with_its_requests_and_redirects_stay_in_it() -> None:
    crawl = Crawl(1, max_requests=3)
    first = [crawl.served() for _ in range(3)]
    assert len(set(first)) == 1
    assert crawl.pool.resume(first[0].id, ORIGIN, 0.0) is first[0]
    other = crawl.served()
    assert other is not first[0]
    assert other.proxy is first[0].proxy
    assert crawl.counts["session/end_count/requests"] == 1


def test_a_session_ends_with_its_age() -> None:
    crawl = Crawl(2, max_age=10)
    first = crawl.served(0.0)
    assert crawl.served(5.0) is not first
    assert first not in [crawl.served(10.0) for _ in range(4)]
    assert crawl.counts["session/end_count/age"] == 1


def test_a_refused_session_ends_and_another_takes_its_place() -> None:
    crawl = Crawl(1, max_errors=2)
    session = crawl.served()
    crawl.pool.blocked(session, ORIGIN, "403", 0.0)
    assert crawl.served() is session  # which forgives the error
    for _ in range(2):
        crawl.pool.blocked(session, ORIGIN, "403", 0.0)
    other = crawl.served()
    assert other.name != session.name
    assert other.cookiejar != session.cookiejar
    # Not even a redirect stays in it.
    assert crawl.pool.resume(session.id, ORIGIN, 0.0) is None
    assert crawl.counts["session/block_count/403"] == 3
    assert crawl.counts["session/end_count/blocked"] == 1
    assert crawl.pool.alive == 1


def test_a_request_is_retried_in_another_session_if_there_is_one() -> None:
    crawl = Crawl(2, max_errors=5)
    first, second = crawl.served(), crawl.served()
    assert crawl.served(avoid=first.id) is second
    assert crawl.served(avoid=first.id) is second
    alone = Crawl(1, max_errors=5)
    assert alone.served(avoid=alone.served().id)


def test_a_name_that_was_refused_gets_another_proxy() -> None:
    crawl = Crawl(4)
    first = crawl.served(name="account")
    crawl.pool.blocked(first, ORIGIN, "403", 0.0)
    second = crawl.served(name="account")
    assert second.name == first.name
    assert second.cookiejar != first.cookiejar
    assert second.proxy is not first.proxy


def test_the_cookies_of_the_oldest_ended_sessions_are_dropped() -> None:
    crawl = Crawl(1, max_requests=1)
    sessions = [crawl.served() for _ in range(1010)]
    assert crawl.dropped == sessions[:10]
    assert crawl.pool.get(sessions[0].id) is None
    assert crawl.pool.alive == 0


# Many origins

MOST = 100


@pytest.fixture
def keeps_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scrapy_curl_safe._crawl.sessions.pool._MOST_KEPT", MOST)


@pytest.mark.usefixtures("keeps_few")
def test_a_broad_crawl_keeps_a_bounded_number_of_sessions() -> None:
    crawl = Crawl(4)
    for number in range(1500):
        crawl.served(origin=f"https://{number}.test:443")
    kept = len(crawl.pool.groups) + crawl.pool.alive
    assert MOST - 2 <= kept <= MOST + 2
    assert len(crawl.pool.kept()) == crawl.pool.alive
    # Of the ended ones, the cookies of a thousand are kept.
    assert len(crawl.dropped) == 1500 - crawl.pool.alive - 1000
    assert crawl.counts["session/end_count/unused"] == 1500 - crawl.pool.alive
    state = dump(crawl.pool, 0.0, 0.0, lambda jar: [])
    assert len(state["groups"]) == len(crawl.pool.groups)
    assert len(state["sessions"]) == crawl.pool.alive


@pytest.mark.usefixtures("keeps_few")
def test_a_large_group_counts_by_its_sessions() -> None:
    crawl = Crawl(40)
    for number in range(10):
        for _ in range(40):
            crawl.served(origin=f"https://{number}.test:443")
        assert crawl.pool.alive <= MOST + 40
    assert "https://9.test:443" in crawl.pool.groups


@pytest.mark.usefixtures("keeps_few")
def test_the_groups_that_were_not_used_for_longest_go_first() -> None:
    crawl = Crawl()
    busy, used, unused = (crawl.served(origin=f"https://{name}.test") for name in "abc")
    named = crawl.served(name="account")
    crawl.pool.change_in_flight(busy.id, 1, 0.0)
    for number in range(200):
        crawl.served(origin=f"https://{number}.test")
        assert crawl.served(origin="https://b.test") is used
    assert crawl.served(origin="https://a.test") is busy
    assert crawl.served(name="account") is named
    assert "https://c.test" not in crawl.pool.groups
    assert unused.ended == "unused"
    crawl.pool.change_in_flight(busy.id, -1, 0.0)
    for number in range(200, 300):
        crawl.served(origin=f"https://{number}.test")
    assert busy.ended == "unused"


@pytest.mark.usefixtures("keeps_few")
def test_an_origin_whose_sessions_went_has_new_ones_when_it_is_visited_again() -> None:
    crawl = Crawl(2)
    first = crawl.served()
    for number in range(100):
        crawl.served(origin=f"https://{number}.test")
    assert first.ended == "unused"
    # What was on the way is still known, and its redirects stay.
    assert crawl.pool.resume(first.id, ORIGIN, 0.0) is first
    crawl.pool.change_in_flight(first.id, 1, 0.0)
    crawl.pool.change_in_flight(first.id, -1, 0.0)
    crawl.pool.blocked(first, ORIGIN, "403", 0.0)
    again = crawl.served()
    assert again.id != first.id
    assert again.cookiejar != first.cookiejar
    assert crawl.served(name=again.name) is again
    # Nor does a continued crawl use the name again.
    state = dump(crawl.pool, 0.0, 0.0, lambda jar: [])
    later = Crawl(2, crawl_id=state["crawl_id"])
    names = {session.name for session in crawl.pool.kept()}
    list(load(later.pool, state, 0.0, 0.0))
    assert later.served(origin="https://new.test").name not in names | {first.name}


def test_what_many_origins_asked_of_one_session_is_bounded() -> None:
    crawl = Crawl(per="crawl")
    session = crawl.served()
    for number in range(3000):
        crawl.pool.rest(session, f"https://{number}.test", 5.0)
    assert len(session.rests) == 1000
    assert "https://2999.test" in session.rests


def test_a_late_response_does_not_make_the_jar_of_a_dropped_session_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crawler = get_crawler(settings_dict={"CURL_SAFE_SESSIONS": {}})
    cookies = CookiesMiddleware()
    monkeypatch.setattr(crawler, "get_downloader_middleware", lambda _: cookies)
    middleware = SessionMiddleware.from_crawler(crawler)
    meta = {SESSION: "~id.0-0", BOUND: {"cookiejar": "jar"}, "cookiejar": "jar"}
    request = Request("https://a.test", meta=meta)
    response = Response(request.url, headers={"Set-Cookie": "a=b"})
    cookies.process_response(request, response)
    assert "jar" in cookies.jars
    middleware.process_response(request, response)
    assert "jar" not in cookies.jars


# Proxies


def test_a_proxy_that_fails_rests_longer_each_time_and_is_tried_by_one_request() -> None:
    crawl = Crawl(1)
    now, delays = 0.0, []
    for _ in range(12):
        session = crawl.acquire(now)
        crawl.pool.proxy_failed(session, ORIGIN, "refused", now)
        delays.append(crawl.wait(now))
        now += delays[-1]
        if len(delays) < 12:
            trial = crawl.acquire(now)
            assert crawl.wait(now) > 0
            crawl.pool.proxy_failed(trial, ORIGIN, "refused", now)
            now += crawl.wait(now)
    assert delays == sorted(delays)
    assert delays[0] == 1.0
    assert delays[-1] == LONGEST_REST_SECONDS


def test_a_proxy_that_works_again_has_all_its_requests() -> None:
    crawl = Crawl(1)
    crawl.pool.proxy_failed(crawl.acquire(), ORIGIN, "timeout", 0.0)
    trial = crawl.acquire(1.0)
    crawl.pool.succeeded(trial, ORIGIN)
    assert [crawl.acquire(1.0) for _ in range(3)] == [trial] * 3


def test_failures_of_one_moment_are_one_failure() -> None:
    crawl = Crawl(1)
    session = crawl.acquire()
    for _ in range(10):
        crawl.pool.proxy_failed(session, ORIGIN, "timeout", 0.5)
    assert crawl.wait(0.5) == 1.0


def test_two_failures_of_a_proxy_that_has_worked_may_be_chance() -> None:
    crawl = Crawl(1)
    session = crawl.served()
    for _ in range(2):
        crawl.pool.proxy_failed(session, ORIGIN, "timeout", 0.0)
        assert crawl.acquire() is session
    crawl.pool.proxy_failed(session, ORIGIN, "timeout", 0.0)
    assert crawl.wait() == 1.0


def test_others_take_the_requests_of_a_proxy_that_rests() -> None:
    crawl = Crawl(3, size=3)
    sessions = [crawl.served() for _ in range(3)]
    bad = sessions[0].proxy
    assert bad is not None
    for _ in range(3):
        crawl.pool.proxy_failed(sessions[0], ORIGIN, "timeout", 0.0)
    assert bad not in {crawl.served().proxy for _ in range(10)}
    assert crawl.pool.alive == 3
    assert crawl.pool.resting(0.0) == 1
    assert [proxy.label for proxy in crawl.pool.worst_proxies(10)] == [bad.label]


def test_a_proxy_that_an_origin_refuses_serves_others() -> None:
    crawl = Crawl(1)
    for _ in range(3):
        crawl.pool.blocked(crawl.acquire(), ORIGIN, "403", 0.0)
    assert crawl.wait() == 1.0
    assert crawl.served(origin=OTHER)
    assert crawl.pool.resting(0.0) == 0


def test_a_name_moves_from_a_proxy_that_stays_dead() -> None:
    crawl = Crawl(4)
    now, first = 0.0, crawl.acquire(name="account")
    crawl.pool.proxy_failed(first, ORIGIN, "refused", now)
    for _ in range(2):
        now += crawl.wait(now, name="account")
        assert crawl.acquire(now, name="account") is first
        crawl.pool.proxy_failed(first, ORIGIN, "refused", now)
    assert crawl.acquire(now, name="account").proxy is not first.proxy


@pytest.mark.parametrize(
    ("exception", "cause", "words"),
    [
        (ProxyAuthenticationError(), "407", "407: wrong or missing user or password"),
        (HandshakeTimeoutError("timeout", 28, "late", ORIGIN), "timeout", "timeout"),
        (HandshakeError("syscall", 35, "closed", ORIGIN), "handshake", "broken TLS handshake"),
        (
            OriginUnavailableError("syscall", 35, "closed", ORIGIN, 1.0),
            "unavailable",
            "handshakes keep failing",
        ),
        (CannotResolveHostError("no such host"), "refused", "host not found"),
        (DownloadConnectionRefusedError("curl: (7) no"), "refused", "refused"),
        (
            DownloadConnectionRefusedError("curl: (56) CONNECT tunnel failed, response 503"),
            "refused",
            "answered CONNECT with 503",
        ),
    ],
)
def test_the_words_for_the_failure_of_a_proxy(exception: Exception, cause: str, words: str) -> None:
    assert failure_of(exception) == (cause, words)


def test_that_a_proxy_speaks_no_tls_is_said() -> None:
    failed = Failed(id=1, stats=TransferStats(), kind=FailureKind.PROXY_TLS, code=35)
    failure = failure_of(download_error(failed, Route(ORIGIN, "https://p.test:1")))
    assert failure == ("refused", "the TLS handshake with the proxy failed")


@pytest.mark.parametrize(
    "exception", [HandshakeError("alert", 35, "no", ORIGIN), ResponseDataLossError()]
)
def test_other_failures_are_not_the_proxys(exception: Exception) -> None:
    assert failure_of(exception) is None


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (
            1,
            "The only proxy of CURL_SAFE_SESSIONS rests, since requests through it failed: "
            "http://p0.test:1 (refused). It is tried in 2 s; requests wait until it works, for an "
            "hour at most, and then fail with NoSessionError",
        ),
        (
            2,
            "All 2 proxies of CURL_SAFE_SESSIONS rest, since requests through them failed: "
            "http://p0.test:1 (refused), http://p1.test:1 (refused). One is tried in 2 s; requests "
            "wait until one works, for an hour at most, and then fail with NoSessionError",
        ),
        (5, "http://p4.test:1 (refused). One is tried"),
        (7, "http://p4.test:1 (refused) and 2 more. One is tried"),
    ],
)
def test_what_is_said_when_all_proxies_rest(count: int, said: str) -> None:
    crawl = Crawl(count)
    for proxy in crawl.proxies:
        proxy.last_failure = "refused"
    line = all_rest(crawl.proxies, 2.0)
    assert said in line
    assert "secret" not in line
    assert "\n" not in line


# Proxies of their own


def own_proxies_said(caplog: pytest.LogCaptureFixture, *has_own: bool) -> list[str]:
    warning = OwnProxiesWarning()
    for has in has_own:
        warning.note(has)
    warning.close()
    return caplog.messages


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "The only request had a proxy of its own"),
        (19, "All 19 requests had a proxy of their own"),
        (20, "All 20 requests so far had a proxy of their own"),
        (100, "All 20 requests so far had a proxy of their own"),
    ],
)
def test_that_all_requests_have_a_proxy_of_their_own_is_said_once(
    caplog: pytest.LogCaptureFixture, count: int, said: str
) -> None:
    assert own_proxies_said(caplog, *[True] * count) == [
        f'{said} (meta["proxy"]), so none got a session: remove the middleware that sets it, or '
        "CURL_SAFE_SESSIONS"
    ]


def test_it_is_not_said_if_one_had_none(caplog: pytest.LogCaptureFixture) -> None:
    assert own_proxies_said(caplog) == []
    assert own_proxies_said(caplog, *[True] * 10, False, *[True] * 50) == []


# What a request keeps in its meta


def test_a_page_that_came_leaves_all_refusals_to_the_next_with_its_meta() -> None:
    crawler = get_crawler(settings_dict={"CURL_SAFE_SESSIONS": {}})
    crawler.spider = Spider.from_crawler(crawler, name="spider")
    middleware = SessionMiddleware.from_crawler(crawler)
    request = Request("https://a.test")
    for status in (403, 200):
        asyncio.run(middleware.process_request(request))
        outcome = middleware.process_response(request, Response(request.url, status=status))
        if isinstance(outcome, Request):
            request = outcome
            assert request.meta[REFUSALS] == 1
    assert REFUSALS not in request.meta


# Waiting


def test_a_session_is_left_alone_as_long_as_its_origin_asks() -> None:
    crawl = Crawl(2, per="crawl")
    first = crawl.served()
    crawl.pool.rest(first, ORIGIN, 5.0)
    second = crawl.served()
    assert [crawl.served(4.9) for _ in range(3)] == [second] * 3
    assert first in [crawl.served(4.9, origin=OTHER) for _ in range(2)]
    crawl.pool.rest(second, ORIGIN, 9.0)
    assert crawl.wait(4.0) == 1.0
    assert crawl.acquire(5.0) is first


def test_a_request_that_names_a_session_waits_for_it() -> None:
    crawl = Crawl(2)
    session = crawl.served()
    crawl.pool.rest(session, ORIGIN, 5.0)
    assert crawl.wait(1.0, name=session.name) == 4.0
    assert crawl.served(1.0, name=session.name, may_move=True) is not session


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"", None),
        (b"0", None),
        (b"5", 5),
        (b" 120 ", 120),
        (b"-5", None),
        (b"soon", None),
        (b"99999999999999999999999999", LONGEST_SECONDS),
        ("٣".encode(), None),
        (b"Thu, 01 Jan 1970 00:16:50 GMT", 10),
        (b"Thu, 01 Jan 1970 00:16:30 GMT", None),
        (b"Fri, 01 Jan 2100 00:00:00 GMT", LONGEST_SECONDS),
        (b"Thu, 99 Foo 1970", None),
    ],
)
def test_retry_after(value: bytes | None, seconds: float | None) -> None:
    assert retry_after(value, 1000.0) == seconds


@given(st.binary())
def test_any_retry_after_is_bounded(value: bytes) -> None:
    seconds = retry_after(value, 1000.0)
    assert seconds is None or 0 < seconds <= LONGEST_SECONDS


# Kept


def test_sessions_go_on_in_a_continued_crawl() -> None:
    crawl = Crawl(4, max_age=1000)
    sessions = [crawl.served(7.0) for _ in range(4)]
    named = crawl.served(7.0, name="account")
    crawl.pool.rest(named, ORIGIN, 50.0)
    refused = crawl.served(7.0, name="refused")
    crawl.pool.blocked(refused, ORIGIN, "403", 7.0)
    crawl.pool.blocked(sessions.pop(), ORIGIN, "403", 7.0)
    state = dump(crawl.pool, 10.0, 1000.0, lambda jar: [jar])
    assert "secret" not in str(state)
    later = Crawl(4, crawl_id=state["crawl_id"])
    restored = {
        session.name: (session, cookies)
        for session, cookies in load(later.pool, state, 500.0, 1005.0)
    }
    assert restored.keys() == {"account", *(session.name for session in sessions)}
    for session in (named, *sessions):
        same, cookies = restored[session.name]
        assert cookies == [session.cookiejar] == [same.cookiejar]
        assert same.browser == session.browser
        assert same.browser.languages == ("de",)
        assert same.proxy is not None
        assert session.proxy is not None
        assert same.proxy.url == session.proxy.url
        # Born 8 seconds ago, of which 5 passed between the two.
        assert same.born == 492.0
    # It was asked to wait for 40 more seconds.
    assert later.wait(500.0, name="account") == 35.0
    assert later.served(500.0, name="refused").generation == 2
    names = {later.served(500.0).name for _ in range(8)}
    assert len(names) == 4
    assert {session.name for session in sessions} < names


def test_a_session_whose_proxy_is_gone_is_not_continued() -> None:
    crawl = Crawl(2)
    sessions = [crawl.served(), crawl.served()]
    state = dump(crawl.pool, 0.0, 0.0, lambda jar: [jar])
    later = Crawl(1, crawl_id=state["crawl_id"])
    kept = [session.name for session, _ in load(later.pool, state, 0.0, 0.0)]
    assert len(kept) < 2
    assert later.served().proxy is later.proxies[0]
    assert later.served().name not in {session.name for session in sessions} - set(kept)


def test_what_the_pool_counts_is_declared() -> None:
    """Some reasons are those of a policy."""
    source = (Path(__file__).parent.parent / "scrapy_curl_safe/_crawl/sessions/pool.py").read_text()
    declared = {stat.key.partition("/{")[0] for stat in STATS}
    named = {key for key in declared if key.startswith(("session/", "proxy/"))}
    assert len(named) == 4
    assert all(f'"{key}"' in source for key in named)
