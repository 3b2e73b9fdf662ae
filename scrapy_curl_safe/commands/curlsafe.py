"""`scrapy curlsafe doctor`."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar

from rich.console import Console
from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from .checks import Status, examine
from .doctor import as_json, collect, draw


class Command(ScrapyCommand):
    requires_project = False
    default_settings: ClassVar[dict[str, object]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "doctor [--json]"

    def short_desc(self) -> str:
        return "Check this machine and this project for scrapy-curl-safe"

    def long_desc(self) -> str:
        return (
            "doctor: looks at the limits of this machine, at the settings of this project, and "
            "whether a worker starts and can shake hands. The exit code is 1 if there is a problem."
        )

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--json", action="store_true", help="print JSON, for machines")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args != ["doctor"]:
            raise UsageError
        assert self.settings is not None
        findings = examine(collect(self.settings))
        if opts.json:
            sys.stdout.write(as_json(findings) + "\n")
        else:
            draw(findings, Console())
        self.exitcode = int(any(finding.status is Status.PROBLEM for finding in findings))
