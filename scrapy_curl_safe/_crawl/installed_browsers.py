"""The fingerprints that `curl-cffi update` has installed for this user.

The crawler reads them, and not the workers: a sandbox keeps the file from them, and one that starts
later would see a file that has changed. So a crawl goes by what was there when it began.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import msgspec

logger = logging.getLogger(__name__)

#: By name: the fields of curl_cffi's `Fingerprint`.
InstalledBrowsers = Mapping[str, dict[str, Any]]


def load_installed_browsers() -> InstalledBrowsers:
    """Read the file; nothing is installed if there is none, or none that can be read."""
    path = os.path.join(_directory(), "fingerprints.json")
    try:
        with open(path, "rb") as file:
            found = msgspec.json.decode(file.read(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        logger.warning(
            "The fingerprints in %s cannot be read: %s. A request that asks for one of them fails; "
            "`curl-cffi update` writes the file anew",
            path,
            error,
        )
        return {}
    return {name: fields for name, fields in found.items() if isinstance(fields, dict)}


def _directory() -> str:
    """Return where curl_cffi keeps its files."""
    given = os.environ.get("IMPERSONATE_CONFIG_DIR")
    if given is not None:
        return given
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    if not base:
        home = ("~", "AppData", "Roaming") if os.name == "nt" else ("~", ".config")
        base = os.path.expanduser(os.path.join(*home))
    return os.path.join(base, "impersonate")
