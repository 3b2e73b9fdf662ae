"""Draw what `scrapy curlsafe doctor` and `probe` print, and take a picture of a report:
python docs/pictures.py

The doctor examines the example project, the probe an origin on this machine that accepts ten
handshakes at once, and the report is that of a crawl of the example project. Its picture needs
Chromium, and is left as it is without.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from scrapy_curl_safe.commands.doctor.checks import run_checks
from scrapy_curl_safe.commands.doctor.collect import collect_facts
from scrapy_curl_safe.commands.doctor.output import print_findings
from scrapy_curl_safe.commands.probe.output import print_report
from scrapy_curl_safe.commands.probe.run import ProbeObserver, ProbeOptions, probe_origin
from testkit.chromium import CHROMIUM, Chromium
from testkit.origins.limited import LimitedOrigin

HERE = Path(__file__).resolve().parent
# The SVG would fetch a font from elsewhere; any monospaced font will do.
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    os.chdir(HERE.parent / "example_project")
    console = _console()
    print_findings(run_checks(collect_facts(get_project_settings())), console, verbose=True)
    _write(console, "doctor", "scrapy curlsafe doctor -v")
    console = _console()
    with LimitedOrigin(10, takes=0.05) as origin:
        report = probe_origin(Settings(), ProbeOptions(origin.url), ProbeObserver())
        print_report(report, console)
        _write(console, "probe", f"scrapy curlsafe probe {origin.url}")
    if CHROMIUM is not None:
        _picture_of_a_report()


def _picture_of_a_report() -> None:
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        page, home = Path(name, "health.html"), Path(name, "chromium")
        command = [sys.executable, "-m", "scrapy", "crawl", "docs"]
        subprocess.run([*command, "-s", f"CURL_SAFE_REPORT={page}"], check=True)
        home.mkdir()
        with Chromium(home) as browser:
            browser.resize(1000, 1500, mobile=True)
            browser.open(page)
            browser.wait_for("document.querySelector('#chart-workers svg') !== null")
            path = HERE / "report.png"
            path.write_bytes(browser.screenshot())
    print(path.relative_to(HERE.parent))


def _console() -> Console:
    return Console(record=True, width=100, file=io.StringIO(), force_terminal=True)


def _write(console: Console, name: str, title: str) -> None:
    path = HERE / f"{name}.svg"
    path.write_text(_FONT.sub("", console.export_svg(title=title, unique_id=name)))
    print(path.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
