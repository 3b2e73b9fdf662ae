"""The programs of `scrapy curlsafe`. Each prints what it found and returns its exit code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.prompt import Confirm
from scrapy import Spider
from scrapy.exceptions import UsageError
from scrapy.settings import BaseSettings
from scrapy.settings import Settings as ScrapySettings
from scrapy.spiderloader import get_spider_loader
from scrapy.utils.project import inside_project

from .._crawl.report.data import ReportData
from .._crawl.report.files import write_file
from .doctor.checks import run_checks
from .doctor.collect import collect_facts
from .doctor.finding import CheckStatus
from .doctor.output import findings_json, print_findings
from .probe.handshakes import ProbeRejectedError
from .probe.output import ProgressBar, print_report, report_json
from .probe.run import (
    HANDSHAKES_PER_CONCURRENCY,
    ProbeOptions,
    default_concurrency,
    default_handshakes,
    parse_https_url,
    probe_origin,
)
from .probe.verdict import Verdict

if TYPE_CHECKING:
    from scrapy.crawler import CrawlerProcessBase

# A probe with more handshakes needs the user's consent.
_MOST_UNASKED = 1000
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as in shells


def run_doctor(spider: str | None, project: ScrapySettings, opts: argparse.Namespace) -> int:
    """Examine this machine and a project; return 1 if there is a problem.

    Args:
        spider: name of the spider whose own settings count, too; None for no spider.

    Raises:
        UsageError: the project has no spider of that name.
    """
    spider_class = Spider if spider is None else _find_spider(spider, project)
    findings = run_checks(collect_facts(project, spider_class))
    if opts.json:
        sys.stdout.write(findings_json(findings) + "\n")
    else:
        print_findings(
            findings,
            Console(),
            spider=spider,
            verbose=opts.verbose,
            in_project=inside_project(),
        )
    return int(any(finding.status is CheckStatus.PROBLEM for finding in findings))


def run_probe(url: str, project: ScrapySettings, opts: argparse.Namespace) -> int:
    """Probe an origin; return 1 unless it is healthy.

    Raises:
        UsageError: the options make no sense, or the user did not consent.
    """
    options = _probe_options(url, opts)
    terminal = Console(stderr=True)
    if options.handshakes > _MOST_UNASKED and not opts.yes:
        _ask(options, terminal)
    try:
        with ProgressBar(terminal, options.handshakes) as progress:
            report = probe_origin(project, options, progress)
    except (ProbeRejectedError, ValueError) as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    if opts.json:
        sys.stdout.write(report_json(report) + "\n")
    else:
        print_report(report, Console())
    return int(report.judgement.verdict is not Verdict.HEALTHY)


def run_show(
    url: str,
    process: CrawlerProcessBase,
    project: BaseSettings,
    opts: argparse.Namespace,
) -> int:
    """Show the request for a URL; return 1 if none goes out.

    Raises:
        UsageError: a URL makes no sense, or a package is missing.
    """
    try:
        from .show.output import arrival_json, print_arrival  # noqa: PLC0415
        from .show.run import (  # noqa: PLC0415
            NothingCameError,
            ShowOptions,
            parse_url,
            show_request,
        )
    except ModuleNotFoundError as error:
        if error.name != "hpack":
            raise
        advice = "pip install 'scrapy-curl-safe[show]'"
        raise UsageError(f"show reads HTTP/2 with the package hpack: {advice}") from error
    try:
        initiator = None if opts.initiator is None else parse_url(opts.initiator)
        options = ShowOptions(parse_url(url), opts.kind, initiator, opts.impersonate)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        arrival = show_request(process, project, options)
    except NothingCameError as error:
        sys.stderr.write(f"{options.url}: {error}\n")
        return 1
    if opts.json:
        sys.stdout.write(arrival_json(options, arrival) + "\n")
    else:
        print_arrival(options, arrival, Console())
    return 0


def run_report(path: str, opts: argparse.Namespace) -> int:
    """Make a page of the data that a crawl has written; return 0.

    Raises:
        UsageError: a file cannot be used, or a package is missing.
    """
    try:
        from .._crawl.report.page import page  # noqa: PLC0415
    except ImportError as error:
        advice = "pip install 'scrapy-curl-safe[report]'"
        raise UsageError(f"report draws with vl-convert-python: {advice} ({error})") from error
    if opts.output is None:
        raise UsageError("report takes -o with the file to write the page to")
    try:
        data = ReportData.from_json(Path(path).read_bytes())
        write_file(opts.output, page(data).encode())
    except OSError as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(f"{path} has no data of a report: {error}") from error
    return 0


def _find_spider(name: str, project: ScrapySettings) -> type[Spider]:
    loader = get_spider_loader(project)
    try:
        return loader.load(name)
    except KeyError:
        names = ", ".join(sorted(loader.list())) or "none"
        raise UsageError(f"there is no spider {name!r} here; the project has {names}") from None


def _probe_options(url: str, opts: argparse.Namespace) -> ProbeOptions:
    concurrency = default_concurrency(opts.n) if opts.c is None else opts.c
    if concurrency < 1:
        raise UsageError("-c takes a whole number of 1 or more")
    if not opts.timeout > 0:
        raise UsageError("--timeout takes a number above 0")
    least = HANDSHAKES_PER_CONCURRENCY * concurrency
    handshakes = default_handshakes(concurrency) if opts.n is None else opts.n
    if handshakes < least:
        enough = handshakes // HANDSHAKES_PER_CONCURRENCY
        less = f", or -c {enough}" if enough > 0 else ""
        raise UsageError(f"-n takes four times -c or more: {least:,}{less}")
    try:
        url = parse_https_url(url)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return ProbeOptions(url, concurrency, handshakes, opts.timeout, opts.impersonate, opts.proxy)


def _ask(options: ProbeOptions, terminal: Console) -> None:
    what = f"This makes up to {options.handshakes:,} handshakes with {options.url}."
    if not (sys.stdin.isatty() and terminal.is_terminal):
        raise UsageError(f"{what} Add --yes if the owner of that site agrees")
    if not Confirm.ask(f"{what} Go on?", console=terminal, default=False):
        raise UsageError("no handshake was made")
