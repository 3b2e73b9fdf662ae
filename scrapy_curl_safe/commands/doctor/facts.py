"""The facts that the doctor knows about a machine and a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ..._crawl.browser.own_headers import HeaderConflict
from ..._ipc.messages import ResolvedBrowser
from ..._platform.cgroups import GroupLimits
from ..._platform.refusals import Facility


@dataclass(frozen=True)
class Facts:
    """Everything that was found. A number is None if it is unknown on this system.

    Attributes:
        concurrent_requests: CONCURRENT_REQUESTS.
        concurrent_items: CONCURRENT_ITEMS.
        pipelines: names of the enabled item pipelines, and whether each waits for something.
        workers: CURL_SAFE_WORKERS.
        reactor: path of Twisted's reactor; empty for none.
        autothrottle: AUTOTHROTTLE_ENABLED.
        adaptive: CURL_SAFE_ADAPTIVE.
        browser_headers: CURL_SAFE_BROWSER_HEADERS.
        unknown_settings: those that have no effect, each with what may have been meant.
        settings_error: why the settings cannot be loaded; None if they can.
        open_files: the most files that this process may have open (the hard limit, to which the
            workers raise theirs).
        ports: lowest and highest local port of outgoing connections.
        tw_reuse: net.ipv4.tcp_tw_reuse.
        fin_timeout: net.ipv4.tcp_fin_timeout, in seconds.
        time_wait: TcpTimedWaitDelay, in seconds.
        conntrack: entries in the firewall's connection table, and its capacity.
        memory: available on the machine, in MB.
        cpus: number of CPUs that this process may use.
        group_limits: of the container or the service that this process belongs to.
        group_memory: available there, in MB.
        group_tasks: how many processes and threads can be added there.
        browser: what the browser of the settings is called there, and its target in curl_cffi; None
            for a fingerprint, or none.
        targets: all those of curl_cffi.
        conflict: a header of the settings that contradicts the browser; None for none.
        today: the date.
        system_name: of the operating system.
        lacking: facilities that the system does not have at all.
        fixes: by check: the command that mends what it finds, on this system.
        refusals: what the system refused to this process or to a worker, with the errno of each.
        missing: what curl_cffi lacks: by name, what a crawl is like without it.
        versions: of the packages, and of libcurl if a worker reported it.
        has_addon: whether ADDONS has this package's.
        handlers: path of the download handler's class for http and https; None for none.
        handler_setters: where the handlers of these schemes were set, in words.
        middlewares: paths and orders of the enabled downloader middlewares.
        spider_middlewares: paths and orders of the enabled spider middlewares.
        extensions: paths and orders of the enabled extensions.
        worker_error: why a worker did not start and answer; None if it did.
        target_error: why a worker cannot impersonate the browser of the settings; None if it can.
        handshake_error: why a handshake with a local origin failed; None if it did not.
    """

    concurrent_requests: int = 16
    concurrent_items: int = 100
    pipelines: Mapping[str, bool] = field(default_factory=dict)
    workers: int = 2
    reactor: str = ""
    autothrottle: bool = False
    adaptive: bool = True
    browser_headers: str = "context"
    unknown_settings: Mapping[str, str] = field(default_factory=dict)
    settings_error: str | None = None
    open_files: int | None = None
    ports: tuple[int, int] | None = None
    tw_reuse: int | None = None
    fin_timeout: int | None = None
    time_wait: int | None = None
    conntrack: tuple[int, int] | None = None
    memory: int | None = None
    cpus: int | None = None
    group_limits: GroupLimits = field(default_factory=GroupLimits)
    group_memory: int | None = None
    group_tasks: int | None = None
    browser: ResolvedBrowser | None = None
    targets: Sequence[str] = ()
    conflict: HeaderConflict | None = None
    today: date = field(default_factory=date.today)
    system_name: str = ""
    lacking: Sequence[Facility] = ()
    fixes: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[Facility, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    has_addon: bool = True
    handlers: dict[str, str | None] = field(default_factory=dict)
    handler_setters: dict[str, str] = field(default_factory=dict)
    middlewares: dict[str, int] = field(default_factory=dict)
    spider_middlewares: dict[str, int] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    worker_error: str | None = None
    target_error: str | None = None
    handshake_error: str | None = None
