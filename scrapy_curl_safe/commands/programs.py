"""What `scrapy curlsafe` runs: each returns its exit code."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.prompt import Confirm
from scrapy.exceptions import UsageError
from scrapy.settings import Settings

from . import doctor, report
from .checks import Status, examine
from .handshakes import RequestError
from .probe import Options, default_handshakes, parse_url, probe
from .verdict import Verdict

# Handshakes from which on somebody has to say yes.
_MANY = 1000
_LEAST_PER_CONCURRENCY = 3
_INTERRUPTED = 130


def run_doctor(settings: Settings, opts: argparse.Namespace) -> int:
    findings = examine(doctor.collect(settings))
    if opts.json:
        sys.stdout.write(doctor.as_json(findings) + "\n")
    else:
        doctor.draw(findings, Console())
    return int(any(finding.status is Status.PROBLEM for finding in findings))


def run_probe(url: str, settings: Settings, opts: argparse.Namespace) -> int:
    """
    Raises:
        UsageError: the options make no sense, or nobody said yes.
    """
    options = _options(url, opts)
    terminal = Console(stderr=True)
    if options.handshakes > _MANY and not opts.yes:
        _ask(options, terminal)
    try:
        with report.ProgressBar(terminal, options.handshakes) as progress:
            found = probe(settings, options, progress)
    except (RequestError, ValueError) as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt:
        return _INTERRUPTED
    if opts.json:
        sys.stdout.write(report.as_json(found) + "\n")
    else:
        report.draw(found, Console())
    return int(found.judgement.verdict is not Verdict.HEALTHY)


def _options(url: str, opts: argparse.Namespace) -> Options:
    if opts.c < 1:
        raise UsageError("-c takes a whole number of 1 or more")
    if not opts.timeout > 0:
        raise UsageError("--timeout takes a number above 0")
    least = _LEAST_PER_CONCURRENCY * opts.c
    handshakes = default_handshakes(opts.c) if opts.n is None else opts.n
    if handshakes < least:
        raise UsageError(f"-n takes three times -c or more: {least:,}, or -c {opts.n // 3}")
    try:
        url = parse_url(url)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Options(url, opts.c, handshakes, opts.timeout, opts.impersonate, opts.proxy)


def _ask(options: Options, terminal: Console) -> None:
    what = f"This makes up to {options.handshakes:,} handshakes with {options.url}."
    if not (sys.stdin.isatty() and terminal.is_terminal):
        raise UsageError(f"{what} Say --yes if its owner has nothing against that")
    if not Confirm.ask(f"{what} Go on?", console=terminal, default=False):
        raise UsageError("nothing was done")
