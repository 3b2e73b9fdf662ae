"""`scrapy curlsafe doctor`: each condition that it distinguishes, made for real."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scrapy_curl_safe._ipc.messages import ResolvedBrowser
from scrapy_curl_safe._platform.refusals import Facility
from scrapy_curl_safe.commands.doctor.browser_age import browser_of, release_date
from scrapy_curl_safe.commands.doctor.checks import OUR_HANDLER, run_checks
from scrapy_curl_safe.commands.doctor.facts import Facts
from scrapy_curl_safe.commands.doctor.finding import CheckStatus
from scrapy_curl_safe.commands.doctor.output import print_findings
from testkit import refusing
from tests.without_curl_names import NAMES, interpreter_without

from .test_networks import needs_namespaces

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "example_project"
ADDON = 'ADDONS = {"scrapy_curl_safe.Addon": 500}\nCONCURRENT_ITEMS = 1\n'
SCRAPYS = "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"
SCRAPY = "from scrapy.cmdline import execute; execute()"


@pytest.fixture
def doctor(tmp_path: Path, processes: Any) -> Any:
    """Run the doctor in a project with these settings; return its exit code and its findings by
    check."""

    def run(
        settings: Any = ADDON, *, around: Any = (), code: str = SCRAPY, options: Any = ()
    ) -> Any:
        (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = doctors_settings\n")
        (tmp_path / "doctors_settings.py").write_text(settings)
        done = subprocess.run(
            [*around, sys.executable, "-c", code, "curlsafe", "doctor", "--json", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)["checks"]
        return done.returncode, {finding["check"]: finding for finding in found}

    return run


def age_of(target: str, *, name: str | None = None, **facts: Any) -> tuple[CheckStatus, str, str]:
    browser = ResolvedBrowser(name or target, target)
    targets = ["chrome131", "chrome152", "chrome152_macos", "edge101", "firefox155", "tor145"]
    today = date(2026, 11, 27)
    found = run_checks(Facts(browser=browser, targets=targets, today=today, **facts))
    (age,) = (f for f in found if f.check == "age of the browser")
    return age.status, age.value, age.fix


def test_how_old_the_browser_is() -> None:
    newest = "the newest that curl_cffi knows"
    assert age_of("chrome152") == (CheckStatus.OK, f"chrome152, 3 months old, {newest}", "")
    assert age_of("firefox155")[:2] == (CheckStatus.OK, f"firefox155, 3 months old, {newest}")
    status, value, fix = age_of("chrome131")
    assert (status, fix) == (CheckStatus.WARNING, 'CURL_SAFE_IMPERSONATE = "chrome152"')
    assert value == "chrome131, 24 months old; curl_cffi also knows chrome152"
    status, value, fix = age_of("edge101", name="edge")
    assert (status, value) == (CheckStatus.WARNING, f"edge101, 55 months old, {newest}")
    assert "--upgrade curl_cffi" in fix
    # A name that stands for an older one does so for a reason.
    assert age_of("chrome131", name="chrome")[1] == "chrome131, 24 months old"
    assert age_of("tor145")[:2] == (CheckStatus.OK, f"tor145, {newest}")


def test_the_dates_of_releases() -> None:
    """As https://github.com/mdn/browser-compat-data has them, give or take three weeks."""
    known = {
        "chrome104": date(2022, 8, 2),
        "chrome124": date(2024, 4, 16),
        "chrome142": date(2025, 10, 28),
        "chrome158": date(2026, 11, 17),
        "firefox135": date(2025, 2, 4),
        "firefox144": date(2025, 10, 14),
        "firefox158": date(2026, 10, 13),
        "safari170": date(2023, 9, 18),
        "safari15_3": date(2021, 9, 20),
    }
    for target, released in known.items():
        browser = browser_of(target)
        assert browser is not None
        guessed = release_date(browser)
        assert guessed is not None
        assert abs((guessed - released).days) <= 21, target


def test_a_healthy_project(doctor: Callable[..., Any]) -> None:
    code, found = doctor()
    problems = [finding for finding in found.values() if finding["status"] == "problem"]
    assert (code, problems) == (0, [])
    assert "own headers" not in found
    for check in ("settings", "worker", "browser", "local handshake", "download handler"):
        assert found[check]["status"] == "ok"
    assert found["libcurl"]["value"].startswith("libcurl/")
    assert found["age of the browser"]["value"].startswith("chrome1")


SPIDERS = """
import scrapy

class Strict(scrapy.Spider):
    name = "strict"
    custom_settings = {"ADDONS": {"scrapy_curl_safe.Addon": 500}, "CURL_SAFE_WORKERS": 0}
"""


def test_the_settings_of_a_spider(doctor: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "doctors_spiders.py").write_text(SPIDERS)
    project = f"{ADDON}SPIDER_MODULES = ['doctors_spiders']\n"
    code, found = doctor(project)
    assert (code, found["settings"]["status"]) == (0, "ok")
    code, found = doctor(project, options=["strict"])
    assert (code, found["settings"]["status"]) == (1, "problem")
    assert found["settings"]["value"].startswith("CURL_SAFE_WORKERS is 0")


@pytest.mark.processes
def test_a_spider_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", "curlsafe", "doctor", "dox"],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no spider 'dox' here; the project has docs" in done.stdout + done.stderr


@pytest.mark.processes
@pytest.mark.parametrize("has_project", [False, True])
def test_outside_of_a_project_it_says_so(has_project: bool, tmp_path: Path, processes: Any) -> None:
    if has_project:
        (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = doctors_settings\n")
        (tmp_path / "doctors_settings.py").write_text(ADDON)
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", "curlsafe", "doctor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    first = "No Scrapy project here (no scrapy.cfg): Scrapy's defaults are checked."
    assert done.stdout.startswith(first) is not has_project
    assert (first in done.stdout) is not has_project


def printed(facts: Facts, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_findings(run_checks(facts), console, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


HANDLER = "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"
REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
FLAWED = Facts(
    concurrent_items=1,
    concurrent_requests=1,
    open_files=1,
    fixes={
        "open files": "ulimit -Hn {wanted} (as root; or LimitNOFILE={wanted} in a systemd unit)"
    },
    workers=1,
    cpus=1,
    handlers={"http": OUR_HANDLER, "https": HANDLER},
    middlewares={"scrapy_curl_safe.HandshakeRetryMiddleware": 560},
    extensions={"scrapy_curl_safe.HandshakeMonitor": 0},
    browser_headers="static",
    versions={"Scrapy": "2.19.0", "curl_cffi": "0.17.0", "Twisted": "26.10.0"},
    reactor=REACTOR,
)
FINE = sum(finding.status is CheckStatus.OK for finding in run_checks(FLAWED))


def test_problems_come_first_and_what_is_right_takes_one_line() -> None:
    assert (
        printed(FLAWED)
        == f"""\
problem open files: 1 for 1 request at once
        a worker needs one for each connection, another while an old one closes,
        and two more during a name lookup
        fix: ulimit -Hn 204 (as root; or LimitNOFILE=204 in a systemd unit)
warning download handler: http: scrapy_curl_safe.CurlSafeDownloadHandler, https:
        {HANDLER}
        requests of a scheme with another handler bypass the workers
        fix: take https out of DOWNLOAD_HANDLERS
{FINE} checks found nothing wrong; -v shows what they found
Not seen: a spider's custom_settings (scrapy curlsafe doctor SPIDER)
1 problem, 1 warning
"""
    )


def test_what_is_right_is_shown_on_demand() -> None:
    lines = printed(FLAWED, verbose=True, spider="docs").splitlines()
    assert [line.split()[0] for line in lines[:9] if line[0] != " "] == ["problem", "warning", "ok"]
    assert "ok      workers: 1 worker on 1 CPU" in lines
    assert f"ok      reactor: {REACTOR}" in lines
    assert lines[-2:] == [f"{FINE} checks found nothing wrong", "1 problem, 1 warning"]
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.processes
def test_the_example_project_has_no_problem() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", "curlsafe", "doctor"],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems" in done.stdout
    assert "\x1b" not in done.stdout  # plain where there is no terminal


@pytest.mark.parametrize(
    ("settings", "check", "status", "value", "fix"),
    [
        ("CURL_SAFE_WORKERS = 0", "settings", "problem", "CURL_SAFE_WORKERS is 0", "change"),
        ("CURL_SAFE_IMPERSONATE = 'netscape'", "settings", "problem", "netscape", "change"),
        ("CONCURRENT_ITEMS = 100", "CONCURRENT_ITEMS", "warning", "100", "CONCURRENT_ITEMS = 1"),
        ("CURL_SAFE_WORKRES = 2", "CURL_SAFE_WORKRES", "warning", "unknown", "did you mean"),
        ("USER_AGENT = 'shopbot'", "own headers", "warning", "names no browser (shopbot)", "leave"),
        (
            "USER_AGENT = 'shopbot'\nCURL_SAFE_BROWSER_HEADERS = 'static'",
            "own headers", "warning", "names no browser (shopbot)", "CURL_SAFE_IMPERSONATE = None",
        ),
        (
            "DEFAULT_REQUEST_HEADERS = {'User-Agent': 'Firefox/3'}",
            "own headers", "warning", "User-Agent names Firefox 3", "leave it out",
        ),
        ("AUTOTHROTTLE_ENABLED = True", "throttles", "warning", "both on", "CURL_SAFE_ADAPTIVE"),
        ("CONCURRENT_REQUESTS = 10**9", "memory", "problem", "MB free", "CONCURRENT_REQUESTS"),
        ("CONCURRENT_REQUESTS = 10**9", "local ports", "problem", " to ", "ip_local_port_range"),
        ("CONCURRENT_REQUESTS = 10**9", "open files", "problem", " for 1,000", "ulimit -Hn"),
        (
            "DOWNLOAD_HANDLERS = {'http': None}", "download handler", "warning",
            "http: none, set in the project's settings, https: ", "take http out of DOWNLOAD_HAND",
        ),
        (
            f"DOWNLOAD_HANDLERS = dict.fromkeys(('http', 'https'), '{SCRAPYS}')",
            "download handler", "problem", f"http: {SCRAPYS}, set in ", "take http and https out",
        ),
        (
            "ADDONS['tests.test_addon.OtherAddon'] = 600", "download handler", "warning",
            f"https: {SCRAPYS}, set by an add-on", "a lower order",
        ),
        (
            "EXTENSIONS = {'scrapy_curl_safe.HandshakeMonitor': None}",
            "monitor", "warning", "off", "take HandshakeMonitor out of EXTENSIONS",
        ),
        ("ADDONS = {}", "download handler", "problem", "HTTP11DownloadHandler", "ADDONS"),
        ("ADDONS = {}", "middleware", "problem", "off", "ADDONS"),
        ("ADDONS = {}", "monitor", "warning", "off", "ADDONS"),
        (
            "DOWNLOADER_MIDDLEWARES = {'scrapy_curl_safe.HandshakeRetryMiddleware': 540}",
            "middleware", "problem", "at 540, RetryMiddleware at 550", ": 560}",
        ),
        ("ADDONS = {}", "initiators", "warning", "not noted", "ADDONS"),
        (
            "SPIDER_MIDDLEWARES = {'scrapy_curl_safe.initiator.InitiatorMiddleware': 700}",
            "initiators", "problem", "at 700, RefererMiddleware at 700", ": 750}",
        ),
    ],
)  # fmt: skip
def test_what_a_project_has_wrong(
    doctor: Callable[..., Any], settings: Any, check: str, status: Any, value: str, fix: str
) -> None:
    code, found = doctor(f"{ADDON}{settings}\n")
    finding = found[check]
    assert finding["status"] == status
    assert value in finding["value"]
    assert fix in finding["fix"]
    assert code == (1 if "problem" in {f["status"] for f in found.values()} else 0)


@pytest.mark.processes
@pytest.mark.parametrize("with_addon", [True, False])
def test_a_wrong_setting_is_not_said_to_have_turned_other_things_off(
    doctor: Callable[..., Any], with_addon: bool
) -> None:
    settings = "CURL_SAFE_WORKERS = 0\n"
    code, found = doctor(ADDON + settings if with_addon else settings)
    assert code == 1
    assert found["settings"]["value"].startswith("CURL_SAFE_WORKERS is 0")
    # What is not known is not said to be right either.
    assert found.keys().isdisjoint({"worker", "browser", "local handshake"})
    of_addon = {"download handler", "middleware", "initiators", "monitor"}
    assert found.keys() & of_addon == (set() if with_addon else of_addon - {"initiators"})


PIPELINES = """
from twisted.internet import defer
from scrapy.pipelines.files import FilesPipeline

class Waiting:
    async def process_item(self, item): return item

class Yielding:
    @defer.inlineCallbacks
    def process_item(self, item): yield item

class Media(FilesPipeline): ...

class Plain:
    def process_item(self, item): return item
"""


@pytest.mark.parametrize(
    ("pipelines", "items", "status", "fix"),
    [
        (["Waiting"], 1, "warning", "CONCURRENT_ITEMS = 100"),
        (["Media"], 100, "ok", ""),
        (["Plain", "Yielding"], 100, "ok", ""),
        (["Plain"], 100, "warning", "CONCURRENT_ITEMS = 1, unless a pipeline returns a Deferred"),
        ([], 100, "warning", "CONCURRENT_ITEMS = 1"),
    ],
)
def test_one_item_at_a_time_is_advised_where_no_pipeline_waits(
    doctor: Callable[..., Any],
    tmp_path: Path,
    pipelines: list[str],
    items: int,
    status: str,
    fix: str,
) -> None:
    (tmp_path / "doctors_pipelines.py").write_text(PIPELINES)
    enabled = {f"doctors_pipelines.{name}": 1 for name in pipelines}
    _, found = doctor(f"{ADDON}CONCURRENT_ITEMS = {items}\nITEM_PIPELINES = {enabled}\n")
    finding = found["CONCURRENT_ITEMS"]
    assert (finding["status"], finding["fix"]) == (status, fix)
    waiting = [name for name in pipelines if name in ("Media", "Waiting", "Yielding")]
    assert all(f"and {name} waits for each" in finding["why"] for name in waiting)


def with_interpreter(path: Path, code: str) -> str:
    """Make a program of a name that Python has, and return code of a Scrapy whose workers it runs.

    Args:
        code: of the program; empty for no program at all.
    """
    if code:
        path.write_text(code)
        path.chmod(0o755)
    return f"import sys; sys.executable = {str(path)!r}; {SCRAPY}"


def test_a_worker_that_cannot_start(doctor: Callable[..., Any], tmp_path: Path) -> None:
    code, found = doctor(code=with_interpreter(tmp_path / "python3", ""))
    assert (code, found["worker"]["status"]) == (1, "problem")
    assert "No such file" in found["worker"]["value"]
    assert "local handshake" not in found


def test_a_worker_that_ends_at_once(doctor: Callable[..., Any], tmp_path: Path) -> None:
    code, found = doctor(code=with_interpreter(tmp_path / "python3", "#!/bin/false\n"))
    assert (code, found["worker"]["status"]) == (1, "problem")
    assert "exit status 1" in found["worker"]["value"]
    assert "curl_cffi" in found["worker"]["fix"]


def test_a_worker_that_loses_its_socket_before_it_ends(
    doctor: Callable[..., Any], tmp_path: Path
) -> None:
    slow = f"#!{sys.executable}\nimport os, time\n"
    slow += "os.closerange(3, 1024)\ntime.sleep(0.5)\nos._exit(1)\n"
    code, found = doctor(code=with_interpreter(tmp_path / "python3", slow))
    assert (code, found["worker"]["status"]) == (1, "problem")
    assert "exit status 1" in found["worker"]["value"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_curl_cffi_lacks(doctor: Callable[..., Any], tmp_path: Path, name: str) -> None:
    code, found = doctor(code=with_interpreter(tmp_path / "python3", interpreter_without(name)))
    assert code == 0
    for check in ("worker", "browser", "local handshake"):
        assert found[check]["status"] == "ok"
    assert found[name]["status"] == "warning"
    assert found[name]["value"].startswith("curl_cffi ")
    assert found[name]["why"].startswith("a crawl goes on without it: ")
    assert "scrapy-curl-safe" in found[name]["fix"]
    assert [n for n in NAMES if n in found] == [name]


def test_a_curl_cffi_that_no_worker_can_use(doctor: Callable[..., Any], tmp_path: Path) -> None:
    script = interpreter_without("lib.curl_multi_init")
    code, found = doctor(code=with_interpreter(tmp_path / "python3", script))
    assert (code, found["worker"]["status"]) == (1, "problem")
    assert "its lib lacks curl_multi_init" in found["worker"]["value"]
    assert "scrapy-curl-safe" in found["worker"]["fix"]


@pytest.mark.parametrize("by", ["setting", "sys.executable"])
def test_a_program_that_is_no_interpreter(
    doctor: Callable[..., Any], tmp_path: Path, by: str
) -> None:
    uwsgi = tmp_path / "uwsgi"
    broken = with_interpreter(uwsgi, "#!/bin/false\n")
    if by == "setting":
        code, found = doctor(f"{ADDON}CURL_SAFE_PYTHON = {str(uwsgi)!r}\n")
    else:
        code, found = doctor(code=broken)
    assert (code, found["worker"]["status"]) == (1, "problem")
    assert f"{uwsgi} does not answer as Python does" in found["worker"]["value"]
    assert found["worker"]["fix"].startswith("CURL_SAFE_PYTHON = ")


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs util-linux")
def test_too_few_open_files(doctor: Callable[..., Any]) -> None:
    settings = ADDON + "CONCURRENT_REQUESTS = 1000\n"
    code, found = doctor(settings, around=["prlimit", "--nofile=512:512"])
    assert (code, found["open files"]["status"]) == (1, "problem")
    code, found = doctor(settings, around=["prlimit", "--nofile=1500:1500"])
    assert (code, found["open files"]["status"]) == (0, "warning")


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs util-linux")
def test_more_workers_than_cpus(doctor: Callable[..., Any]) -> None:
    cpu = str(min(os.sched_getaffinity(0)))
    code, found = doctor(f"{ADDON}CURL_SAFE_WORKERS = 3\n", around=["taskset", "-c", cpu])
    assert (code, found["workers"]["status"]) == (0, "warning")
    assert found["workers"]["fix"] == "CURL_SAFE_WORKERS = 2"


@needs_namespaces
def test_a_loopback_that_is_down(doctor: Callable[..., Any]) -> None:
    code, found = doctor(around=["unshare", "-Urn"])
    assert (code, found["local handshake"]["status"]) == (1, "problem")
    assert found["worker"]["status"] == "ok"


@needs_namespaces
@pytest.mark.parametrize(
    ("path", "text", "check", "status", "fix"),
    [
        ("ipv4/ip_local_port_range", "40000 40999", "local ports", "warning", "1024 65535"),
        ("ipv4/tcp_tw_reuse", "0", "tcp_tw_reuse", "warning", "tcp_tw_reuse=1"),
        ("ipv4/tcp_fin_timeout", "300", "tcp_fin_timeout", "warning", "tcp_fin_timeout=30"),
    ],
)
def test_kernel_settings(
    doctor: Callable[..., Any], path: str, text: str, check: str, status: Any, fix: str
) -> None:
    change = f'echo "{text}" > /proc/sys/net/{path} && exec "$@"'
    around = ["unshare", "-Urn", "sh", "-c", change, "sh"]
    _, found = doctor(f"{ADDON}CONCURRENT_REQUESTS = 1000\n", around=around)
    assert found[check]["status"] == status
    assert fix in found[check]["fix"]


@pytest.mark.skipif(not refusing.IS_SUPPORTED, reason="seccomp by this machine's numbers")
@pytest.mark.parametrize(
    ("what", "facility", "value"),
    [
        ("memfd_create=EPERM", "shared memory", "memfd_create(2) is refused: EPERM"),
        ("RLIMIT_CORE=0", "core limit", "setrlimit(2) is refused: EPERM"),
        ("landlock_create_ruleset=ENOSYS", "sandbox", "landlock(7) is refused: ENOSYS"),
        ("epoll_create1=EPERM", "epoll", "epoll_create(2) is refused"),
        ("sched_getaffinity=EPERM", "CPU affinity", "sched_setaffinity(2) is refused"),
        ("prlimit64=EPERM", "descriptor limit", "setrlimit(2) is refused"),
    ],
)
def test_what_the_system_refuses_is_named(
    doctor: Callable[..., Any], what: str, facility: str, value: str
) -> None:
    code, found = doctor(around=refusing.command(what))
    assert found["worker"]["status"] == found["local handshake"]["status"] == "ok"
    assert found[facility]["status"] == "warning"
    assert found[facility]["value"].startswith(value)
    assert found[facility]["why"].startswith("a crawl goes on without it: ")
    assert "curl_cffi" not in found[facility]["fix"]
    assert code == 0


# What no test can make: a table of the whole machine, and versions that are not installed.


def status_of(check: str, **facts: Any) -> Any:
    return next(f.status for f in run_checks(Facts(**facts)) if f.check == check)


@pytest.mark.parametrize(
    ("table", "status"),
    [
        ((0, 65536), CheckStatus.OK),
        ((65_500, 65_536), CheckStatus.WARNING),
        ((65_536, 65_536), CheckStatus.PROBLEM),
    ],
)
def test_a_connection_table_that_fills_up(table: Any, status: Any) -> None:
    assert status_of("conntrack", conntrack=table) is status


@pytest.mark.parametrize(
    ("version", "status"),
    [("2.15.0", CheckStatus.OK), ("2.14.2", CheckStatus.PROBLEM), ("3.0.0rc1", CheckStatus.OK)],
)
def test_versions(version: str, status: Any) -> None:
    assert status_of("Scrapy", versions={"Scrapy": version}) is status


@pytest.mark.parametrize(
    ("version", "status"), [("0.15.0", CheckStatus.WARNING), ("0.16.0", CheckStatus.OK)]
)
def test_whether_an_order_of_headers_can_be_given(version: str, status: Any) -> None:
    assert status_of("header order", versions={"curl_cffi": version}) is status


def test_nothing_is_said_of_an_order_that_nobody_computes() -> None:
    checks = {f.check for f in run_checks(Facts(browser_headers="static"))}
    assert checks.isdisjoint({"header order", "initiators"})


def test_every_check_says_why_and_every_fault_what_to_do() -> None:
    healthy = run_checks(Facts(versions={"Scrapy": "2.19.0"}))
    for finding in healthy:
        assert finding.why
        assert (finding.status is CheckStatus.OK) == (finding.fix == "")


@pytest.mark.processes
def test_other_commands_do_not_wait_for_its_imports() -> None:
    """Scrapy imports the commands of every package whichever it runs, a crawl above all."""
    load = "import sys, scrapy_curl_safe.commands.curlsafe; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", load], capture_output=True, text=True, check=True
    ).stdout.split()
    own = [name for name in loaded if name.startswith(("rich", "scrapy_curl_safe._"))]
    assert own == ["scrapy_curl_safe._version"]


def test_what_the_system_lacks_is_listed_with_the_consequences() -> None:
    lacking = (Facility.SANDBOX, Facility.AFFINITY)
    found = run_checks(Facts(system_name="macOS", lacking=lacking))
    finding = next(finding for finding in found if finding.check == "system")
    assert finding.value == "macOS, which has no sandbox, CPU affinity"
    assert finding.why.startswith("a worker that was compromised from the network could open")
    assert finding.why.endswith("workers run on the crawler's CPU, too")
    assert "system" not in {finding.check for finding in run_checks(Facts())}


def test_windows_keeps_ports_for_long() -> None:
    fixes = {"TcpTimedWaitDelay": "reg add"}
    for seconds, requests, fix in [(240, 1000, "reg add"), (30, 1000, ""), (240, 16, "")]:
        facts = Facts(time_wait=seconds, concurrent_requests=requests, fixes=fixes)
        (found,) = (f for f in run_checks(facts) if f.check == "TcpTimedWaitDelay")
        assert (found.value, found.fix) == (f"{seconds} s", fix)
