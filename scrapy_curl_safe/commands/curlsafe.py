"""`scrapy curlsafe doctor` and `scrapy curlsafe probe`."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar

from rich.console import Console
from rich.prompt import Confirm
from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from . import doctor, report
from .checks import Status, examine
from .handshakes import RequestError
from .probe import Options, default_handshakes, parse_url, probe
from .verdict import Verdict

# Handshakes from which on somebody has to say yes.
_MANY = 1000
_LEAST_PER_CONCURRENCY = 3
_INTERRUPTED = 130


class Command(ScrapyCommand):
    requires_project = False
    default_settings: ClassVar[dict[str, object]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "doctor [--json] | probe URL [-n 200] [-c 50] [--impersonate ...] [--proxy ...]"

    def short_desc(self) -> str:
        return "Check this machine, this project and an origin for scrapy-curl-safe"

    def long_desc(self) -> str:
        return (
            "doctor: looks at the limits of this machine, at the settings of this project, and "
            "whether a worker starts and can shake hands. The exit code is 1 if there is a "
            "problem. probe: makes handshakes with a URL, more and more at once, and says how "
            "many it takes and why some fail. The exit code is 0 if it is healthy, else 1."
        )

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--json", action="store_true", help="print JSON, for machines")
        group = parser.add_argument_group("probe")
        group.add_argument(
            "-n", type=int, metavar="COUNT",
            help="most handshakes in all (default: 200, or 4 times -c if that is more)",
        )  # fmt: skip
        group.add_argument(
            "-c", type=int, metavar="COUNT", default=50,
            help="most handshakes at once (default: 50)",
        )  # fmt: skip
        group.add_argument(
            "--timeout", type=float, metavar="SECONDS", default=10.0,
            help="for each handshake (default: 10)",
        )  # fmt: skip
        group.add_argument(
            "--impersonate", metavar="TARGET",
            help="browser to be (default: as CURL_SAFE_IMPERSONATE says)",
        )  # fmt: skip
        group.add_argument(
            "--proxy", metavar="URL",
            help="go by this proxy; where handshakes fail, some are made without it, too",
        )  # fmt: skip
        group.add_argument(
            "--yes", action="store_true", help=f"do not ask before more than {_MANY:,} handshakes"
        )

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args == ["doctor"]:
            self._doctor(opts)
        elif len(args) == 2 and args[0] == "probe":
            self._probe(args[1], opts)
        else:
            raise UsageError

    def _doctor(self, opts: argparse.Namespace) -> None:
        assert self.settings is not None
        findings = examine(doctor.collect(self.settings))
        if opts.json:
            sys.stdout.write(doctor.as_json(findings) + "\n")
        else:
            doctor.draw(findings, Console())
        self.exitcode = int(any(finding.status is Status.PROBLEM for finding in findings))

    def _probe(self, url: str, opts: argparse.Namespace) -> None:
        assert self.settings is not None
        options = _options(url, opts)
        terminal = Console(stderr=True)
        if options.handshakes > _MANY and not opts.yes:
            _ask(options, terminal)
        try:
            with report.ProgressBar(terminal, options.handshakes) as progress:
                found = probe(self.settings, options, progress)
        except (RequestError, ValueError) as error:
            raise UsageError(str(error)) from error
        except KeyboardInterrupt:
            self.exitcode = _INTERRUPTED
            return
        if opts.json:
            sys.stdout.write(report.as_json(found) + "\n")
        else:
            report.draw(found, Console())
        self.exitcode = int(found.judgement.verdict is not Verdict.HEALTHY)


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
