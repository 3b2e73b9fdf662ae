"""The command `scrapy curlsafe`, with the programs `doctor`, `probe`, `show` and
`report`."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

# As meta["curl_safe"]["as"] has them; to import its module would take Scrapy's commands time.
_KINDS = ("page", "fetch", "xhr", "image", "script", "style", "frame")
_TAKES = {
    "doctor": "the name of a spider",
    "probe": "a URL",
    "show": "a URL",
    "report": "the file of data that a crawl with CURL_SAFE_REPORT has written",
}
_EXIT_USAGE = 2  # as Scrapy's for a UsageError


class Command(ScrapyCommand):
    """See https://docs.scrapy.org/en/latest/topics/commands.html#custom-project-commands"""

    requires_project = False
    default_settings: ClassVar[dict[str, object]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return (
            "doctor [SPIDER] [-v] [--json] | "
            "probe URL [-n 200] [-c 50] [--impersonate ...] [--proxy ...] | "
            "show URL [--as KIND] [--from URL] [--impersonate ...] | "
            "report DATA.json -o PAGE.html"
        )

    def short_desc(self) -> str:
        return "Check this machine, this project and an origin for scrapy-curl-safe"

    def long_desc(self) -> str:
        return (
            "doctor checks the limits of this machine and the settings of this project, and of a "
            "spider if it is given the name of one, and tests "
            "whether a worker starts and can make a TLS handshake. Its exit code is 1 if there is "
            "a problem. probe makes handshakes with a URL, more and more at once, and reports how "
            "many the origin accepts and why others fail. Its exit code is 0 if the origin is "
            "healthy, and 1 otherwise. show sends a request for a URL as a crawl would, but to "
            "this machine, and prints it as the site would get it: the headers in order, and how "
            "TLS and HTTP/2 are opened. report makes a page to look at of the data that a crawl "
            "with CURL_SAFE_REPORT has written."
        )

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--json", action="store_true", help="print JSON, for machines")
        group = parser.add_argument_group("doctor")
        group.add_argument(
            "-v", "--verbose", action="store_true", help="list also what is right"
        )  # fmt: skip
        group = parser.add_argument_group("probe")
        group.add_argument(
            "-n", type=int, metavar="COUNT",
            help="most handshakes in all, four times -c or more (default: 200, or more for -c)",
        )  # fmt: skip
        group.add_argument(
            "-c", type=int, metavar="COUNT",
            help="most handshakes at once (default: 50, or less for -n)",
        )  # fmt: skip
        group.add_argument(
            "--timeout", type=float, metavar="SECONDS", default=10.0,
            help="timeout of each handshake (default: 10)",
        )  # fmt: skip
        group.add_argument(
            "--impersonate", metavar="TARGET",
            help="browser to impersonate, also with show (default: that of CURL_SAFE_IMPERSONATE)",
        )  # fmt: skip
        group.add_argument(
            "--proxy", metavar="URL",
            help="proxy to use; if handshakes fail, some are made without it for comparison",
        )  # fmt: skip
        group.add_argument(
            "--yes",
            action="store_true",
            help="do not ask for confirmation, however many handshakes are planned",
        )

        group = parser.add_argument_group("show")
        group.add_argument(
            "--as", dest="kind", choices=_KINDS,
            help="what the request is (default: guessed)",
        )  # fmt: skip
        group.add_argument(
            "--from", dest="initiator", metavar="URL",
            help="the page that asks for it (default: none, the address is typed)",
        )  # fmt: skip

        group = parser.add_argument_group("report")
        group.add_argument(
            "-o", "--output", metavar="PAGE",
            help="file to write the page to",
        )  # fmt: skip

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if not args:
            raise UsageError
        if wrong := _wrong_use(args):
            # In one line, without the help that Scrapy prints with a UsageError.
            sys.stderr.write(f"scrapy curlsafe: {wrong}\n")
            self.exitcode = _EXIT_USAGE
            return
        # Scrapy imports the commands of all packages whichever one it runs, so a crawl would have
        # to wait for everything that is imported at the top.
        from . import programs  # noqa: PLC0415

        assert self.settings is not None
        if args[0] == "doctor":
            spider = args[1] if len(args) == 2 else None
            self.exitcode = programs.run_doctor(spider, self.settings, opts)
        elif args[0] == "probe":
            self.exitcode = programs.run_probe(args[1], self.settings, opts)
        elif args[0] == "show":
            assert self.crawler_process is not None
            self.exitcode = programs.run_show(args[1], self.crawler_process, self.settings, opts)
        else:
            self.exitcode = programs.run_report(args[1], opts)


def _wrong_use(args: list[str]) -> str:
    """Say what is wrong with the arguments; return "" if they can be used.

    Args:
        args: without the options that there are.
    """
    if unknown := [arg for arg in args if arg.startswith("-")]:
        # Without its value, which may hold a password.
        return f"there is no option {unknown[0].partition('=')[0]}"
    program, *rest = args
    if program not in _TAKES:
        return _no_program(program)
    if not rest and program != "doctor":
        return f"{program} takes {_TAKES[program]}"
    if rest[1:]:
        return f"{program} takes {_TAKES[program]} and no more"
    return ""


def _no_program(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415

    if matches := get_close_matches(name, _TAKES, 1):
        return f"there is no program {name!r}: did you mean {matches[0]}?"
    return f"the first argument is one of {', '.join(_TAKES)}"
