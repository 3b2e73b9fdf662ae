"""Makes handshakes through real workers, each on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from msgspec.structs import replace

from ..._ipc.failures import HANDSHAKE_KINDS, CurlCode, FailureKind
from ..._ipc.messages import (
    Completed,
    Failed,
    Fetch,
    Hello,
    InvalidRequest,
    Profile,
    TooLarge,
    encode_profile,
)
from ..._pool.worker_client import WorkerClient, WorkerFailedError
from .steps import PlannedStep, Step

_WORKER_COUNT = 2
_LOOPBACK_TIMEOUT_SECONDS = 5.0
_TLS_RECORD_HEADER_BYTES = 5
# A server that speaks TLS answers a request without it by a 400, and a proxy by other errors.
_FIRST_ERROR = 400
_ERRORS_OF_SITES = frozenset({401, 404, 405, 501})

# Names of failures in the JSON; "other" if not listed.
_KIND_NAMES = {
    **{kind: kind.value for kind in HANDSHAKE_KINDS},
    FailureKind.UNRESOLVED: "unresolved",
    FailureKind.REFUSED: "refused",
    FailureKind.DOWNLOAD_TIMEOUT: "unconnected",
    FailureKind.PROXY: "proxy",
    FailureKind.PROXY_TUNNEL: "proxy",
    FailureKind.PROXY_AUTH: "proxy_auth",
    FailureKind.PROXY_TLS: "proxy_tls",
}
# Other ways in which a proxy says that it does not serve this client.
_REFUSES_CLIENT = re.compile(
    "CONNECT tunnel failed, response 40[13]|rejected by the SOCKS5 server"
    "|no authentication method was acceptable",
    re.IGNORECASE,
)


class ProbeRejectedError(Exception):
    """Says why a worker cannot impersonate the browser, or cannot send the request."""


@dataclass(frozen=True)
class HandshakeResult:
    """The result of one handshake.

    Attributes:
        kind: as in `Step.failures`; None if the handshake succeeded.
        seconds: how long it took; None if it failed.
        detail: libcurl's message about the failure.
    """

    kind: str | None = None
    seconds: float | None = None
    detail: str = ""


@contextlib.asynccontextmanager
async def start_prober(
    url: str,
    timeout_seconds: float,
    profile: Profile,
    concurrency: int,
    *,
    python: str | None = None,
) -> AsyncIterator[Prober]:
    """Start workers for a prober, and stop them at the end of the context.

    Args:
        url: an https URL.
        timeout_seconds: for each handshake, including the response to its HEAD request.
        profile: what the workers must be able to impersonate.
        concurrency: the most handshakes that will be under way at once.
        python: CURL_SAFE_PYTHON.

    Raises:
        ProbeRejectedError: the workers cannot impersonate the profile's browser.
        WorkerFailedError: a worker does not start.
    """
    hello = Hello(
        profiles=[("the browser", encode_profile(profile))],
        max_in_flight=concurrency,
        max_idle=concurrency,
    )
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(WorkerClient(hello, python=python)) for _ in range(_WORKER_COUNT)
        ]
        for worker in workers:
            ready = await worker.ready()
            if ready.problem is not None:
                raise ProbeRejectedError(ready.problem)
        yield Prober(workers, url, timeout_seconds)


class Prober:
    """Makes handshakes with one URL. See `start_prober`."""

    def __init__(self, workers: Sequence[WorkerClient], url: str, timeout_seconds: float) -> None:
        self._workers = workers
        self._url = url
        self._timeout_seconds = timeout_seconds

    async def measure(
        self, planned: PlannedStep, profile: Profile, deadline: float, on_done: Callable[[], None]
    ) -> Step:
        """Make the handshakes of a step.

        Args:
            profile: of the step's variant.
            deadline: no handshake begins after this time of the loop's clock.
            on_done: called after each handshake.

        Raises:
            ProbeRejectedError: the request cannot be sent.
        """
        loop = asyncio.get_running_loop()
        results: list[HandshakeResult] = []
        begun = 0

        def goes_on() -> bool:
            gives_up = 0 < planned.give_up_after <= len(results) and all(r.kind for r in results)
            return begun < planned.count and loop.time() < deadline and not gives_up

        async def one_after_another() -> None:
            nonlocal begun
            while goes_on():
                begun += 1
                results.append(await self._shake_hands(self._url, profile, self._timeout_seconds))
                on_done()

        await asyncio.gather(*(one_after_another() for _ in range(planned.concurrency)))
        return Step(
            planned.variant,
            planned.concurrency,
            sum(r.kind is None for r in results),
            Counter(r.kind for r in results if r.kind is not None),
            tuple(r.seconds for r in results if r.seconds is not None),
            {r.kind: r.detail for r in reversed(results) if r.kind is not None},
        )

    async def speaks_http(self, profile: Profile) -> bool:
        """Tell whether the port of the URL answers a request without TLS."""
        parts = urlsplit(self._url)
        netloc = parts.netloc if parts.port else f"{parts.netloc.rstrip(':')}:443"
        fetch = Fetch(
            method="HEAD",
            url=parts._replace(scheme="http", netloc=netloc).geturl(),
            profile=encode_profile(replace(profile, http_version="v1")),
            timeout_seconds=self._timeout_seconds,
        )
        try:
            outcome, _ = await self._workers[0].fetch(fetch)
        except WorkerFailedError:
            return False
        if not isinstance(outcome, Completed) or outcome.head is None:
            return False
        status = outcome.head.status
        return status < _FIRST_ERROR or status in _ERRORS_OF_SITES

    async def measure_hello(self, profile: Profile) -> int | None:
        """Return the size in bytes of the ClientHello that a profile without a proxy sends to
        127.0.0.1; None if none arrived."""
        sizes: list[int] = []

        async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                header = await reader.readexactly(_TLS_RECORD_HEADER_BYTES)
                sizes.append(len(header) + int.from_bytes(header[3:], "big"))
            writer.close()

        try:
            server = await asyncio.start_server(read, "127.0.0.1", 0)
        except OSError:
            return None
        async with server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            with contextlib.suppress(ProbeRejectedError):
                await self._shake_hands(url, profile, _LOOPBACK_TIMEOUT_SECONDS)
        return sizes[0] if sizes else None

    async def _shake_hands(
        self, url: str, profile: Profile, timeout_seconds: float
    ) -> HandshakeResult:
        fetch = Fetch(
            method="HEAD",
            url=url,
            profile=encode_profile(profile),
            timeout_seconds=timeout_seconds,
            fresh_connection=True,
        )
        worker = min(self._workers, key=lambda worker: worker.connection.in_flight)
        try:
            outcome, _ = await worker.fetch(fetch)
        except WorkerFailedError as error:
            return HandshakeResult("crashed", detail=str(error))
        if isinstance(outcome, InvalidRequest):
            raise ProbeRejectedError(outcome.detail)
        assert isinstance(outcome, (Completed, Failed, TooLarge))
        if outcome.stats.handshake_at is not None:
            return HandshakeResult(seconds=outcome.stats.handshake_time)
        if isinstance(outcome, Failed):
            kind = _kind_name(outcome, has_proxy=profile.proxy is not None)
            return HandshakeResult(kind, detail=outcome.detail)
        return HandshakeResult("other", detail="the response came without a handshake")


def _kind_name(failed: Failed, *, has_proxy: bool) -> str:
    """Return the name of a failure, as in `Step.failures`."""
    if has_proxy and failed.kind is FailureKind.REFUSED:
        return "proxy_refused"
    if failed.code == CurlCode.COULDNT_RESOLVE_PROXY:
        return "proxy_unresolved"
    name = _KIND_NAMES.get(failed.kind, "other")
    return "proxy_auth" if name == "proxy" and _REFUSES_CLIENT.search(failed.detail) else name
