"""`scrapy curlsafe doctor` and `scrapy curlsafe probe`."""

from __future__ import annotations

import argparse
from typing import ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError


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
            "--yes",
            action="store_true",
            help="do not ask first, however many handshakes it is to make",
        )

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        # Scrapy loads the commands of all packages when it runs any of them: a crawl would wait
        # for all of this.
        from . import programs  # noqa: PLC0415

        assert self.settings is not None
        if args == ["doctor"]:
            self.exitcode = programs.run_doctor(self.settings, opts)
        elif len(args) == 2 and args[0] == "probe":
            self.exitcode = programs.run_probe(args[1], self.settings, opts)
        else:
            raise UsageError
