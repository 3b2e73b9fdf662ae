"""The browsers on this machine, each with a new profile that trusts the sites."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testkit.origins.certs import certs

#: The packages of Debian that `make browsers` needs, by program.
PACKAGES = {
    "chromium": "chromium",
    "firefox-esr": "firefox-esr",
    "Xvfb": "xvfb",
    "xdotool": "xdotool",
    "certutil": "libnss3-tools",
}

_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}

# No questions to the person at the keyboard, and no requests that nobody asked for.
_CHROMIUM_FLAGS = (
    "--no-sandbox",  # (root has none)
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--disable-background-networking",
    "--disable-component-update",
    "--lang=en-US",
    "--window-position=0,0",
)
_CHROMIUM_PREFERENCES = {
    "net": {"network_prediction_options": 2},
    "search": {"suggest_enabled": False},
    "translate": {"enabled": False},
}
_FIREFOX_PREFERENCES = {
    "app.normandy.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.activity-stream.feeds.topsites": False,
    "browser.preonboarding.enabled": False,
    "browser.search.suggest.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage": "about:blank",
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.urlbar.autoFill": False,
    "browser.urlbar.speculativeConnect.enabled": False,
    "browser.urlbar.suggest.searches": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    # The network has nothing but the loopback interface.
    "network.manage-offline-status": False,
    "signon.rememberSignons": False,
    "termsofuse.bypassNotification": True,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "trailhead.firstrun.didSeeAboutWelcome": True,
}


@dataclass(frozen=True)
class Browser:
    """A browser.

    Attributes:
        family: as in the names of the recordings.
        program: starts it.
        window: part of its window's title.
    """

    family: str
    program: str
    window: str

    def version(self) -> int | None:
        """Return its major version; None if it is not installed."""
        if shutil.which(self.program) is None:
            return None
        command = [self.program, "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        number = re.search(r"(\d+)\.", said)
        assert number is not None, said
        return int(number[1])

    def command(self, home: Path) -> list[str]:
        """Make a profile in an empty directory, and return the command that uses it."""
        raise NotImplementedError


class Chromium(Browser):
    def command(self, home: Path) -> list[str]:
        _trust(home / ".pki" / "nssdb")
        profile = home / "profile"
        (profile / "Default").mkdir(parents=True)
        (profile / "Default" / "Preferences").write_text(json.dumps(_CHROMIUM_PREFERENCES))
        return [self.program, f"--user-data-dir={profile}", *_CHROMIUM_FLAGS, "about:blank"]


class Firefox(Browser):
    def command(self, home: Path) -> list[str]:
        profile = home / "profile"
        _trust(profile)
        lines = (
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in _FIREFOX_PREFERENCES.items()
        )
        (profile / "user.js").write_text("".join(lines))
        return [self.program, "--no-remote", "--profile", str(profile), "about:blank"]


CHROMIUM, FIREFOX = (
    Chromium("chromium", "chromium", "Chromium"),
    Firefox("firefox", "firefox-esr", "Firefox"),
)
BROWSERS: dict[str, Browser] = {each.family: each for each in (CHROMIUM, FIREFOX)}


class InstallError(Exception):
    """Says why what `make browsers` needs cannot be installed."""


def install() -> None:
    """Install the packages that are missing.

    Raises:
        InstallError: this user is not root, or there is no apt, or apt fails.
    """
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise InstallError(f"missing: {', '.join(missing)}. As root: {' '.join(command)}")
    for each in (["apt-get", "update"], command):
        done = subprocess.run(each, check=False, env={**os.environ, **_QUIET})
        if done.returncode:
            raise InstallError(f"{' '.join(each)} has failed")


def _trust(database: Path) -> None:
    """Make a database of certificates that trusts the sites' authority."""
    database.mkdir(parents=True)
    for command in (
        ["-N", "--empty-password"],
        ["-A", "-n", "sites", "-t", "C,,", "-i", str(certs().ca_pem)],
    ):
        subprocess.run(["certutil", "-d", f"sql:{database}", *command], check=True)
