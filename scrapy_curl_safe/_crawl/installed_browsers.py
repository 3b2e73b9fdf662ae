"""The fingerprints that `curl-cffi update` has installed for this user.

The crawler reads them, not the workers: their sandbox hides the file, and a worker that starts
later could see a changed one. So a crawl uses what was installed when it began.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from .._platform.system import system

logger = logging.getLogger(__name__)

#: The fields of curl_cffi's `Fingerprint`, by the fingerprint's name.
InstalledBrowsers = Mapping[str, dict[str, Any]]


def load_installed_browsers() -> InstalledBrowsers:
    """Read the file. Nothing counts as installed if it is missing or cannot be read."""
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
    """Return the directory in which curl_cffi keeps its files."""
    given = os.environ.get("IMPERSONATE_CONFIG_DIR")
    if given is not None:
        return given
    return os.path.join(system.configuration_directory(), "impersonate")
