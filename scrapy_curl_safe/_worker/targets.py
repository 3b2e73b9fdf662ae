"""Finds the target or the fingerprint that a browser's name stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import curl_cffi
from curl_cffi.__version__ import __version__ as _version
from msgspec.structs import replace

from .._ipc.messages import Profile
from .curl_api import ALIASES, TARGET_SYSTEMS, TARGETS

# From the module itself, which another distribution may have installed.
CURL_CFFI_VERSION: str = _version
#: The names of the browsers that curl_cffi itself can impersonate.
KNOWN_NAMES = TARGETS | ALIASES.keys()

#: Targets of curl_cffi 0.17 whose own headers are not those of a first page, since a reload, a
#: fetch() or links within a site were recorded, each with an older target of the same browser whose
#: headers are. (firefox155 has no HTTP/3, either.)
_SUBSTITUTES = {
    "chrome152": "chrome151",
    "firefox155": "firefox147",
    "safari270": "safari2601",
    "safari270_ios": "safari260_ios",
}


class ProfileError(Exception):
    """Says why no easy handle can be made for a profile."""


def resolve_browser(profile: Profile) -> Profile:
    """Return a profile with the target or the fingerprint that its browser's name stands for.

    curl_cffi's own targets win over fingerprints of the same name that were installed beside it.

    Raises:
        ProfileError: there is no such browser.
    """
    name = profile.impersonate
    if name is None:
        if profile.fingerprint is not None:
            _check_fields(profile.fingerprint)
        return profile
    if name in KNOWN_NAMES:
        target = ALIASES.get(name, name)
        if profile.substitute and target != name and _SUBSTITUTES.get(target) in TARGETS:
            target = _SUBSTITUTES[target]
        return replace(profile, impersonate=target, fingerprint=None)
    if profile.fingerprint is not None:
        return replace(profile, impersonate=None, fingerprint=_known_fields(profile.fingerprint))
    if not TARGETS:  # libcurl will say whether there is one
        return profile
    raise ProfileError(
        f"curl_cffi {CURL_CFFI_VERSION} cannot impersonate {name!r}, and `curl-cffi update` "
        "has installed no such fingerprint: "
        + _nearest(name, KNOWN_NAMES, " `curl-cffi list` shows all")
    )


def _nearest(name: str, known: Iterable[str], more: str = "") -> str:
    # Nothing needs it but a mistake.
    from difflib import get_close_matches  # noqa: PLC0415

    matches = get_close_matches(name.lower(), sorted(known), 3)
    if not matches:
        return f"it knows {', '.join(sorted(known))}"
    return f"did you mean {' or '.join(matches)}?{more}"


def target_systems() -> dict[str, str]:
    """Return the targets, each with its operating system; empty where curl_cffi does not tell."""
    return {name: TARGET_SYSTEMS.get(name, "") for name in sorted(TARGETS - ALIASES.keys())}


def _known_fields(fingerprint: dict[str, object]) -> dict[str, object]:
    """Leave out the fields that only a later curl_cffi knows, as curl_cffi itself does."""
    known = _fields()
    return {name: value for name, value in fingerprint.items() if name in known}


def _check_fields(fingerprint: dict[str, object]) -> None:
    """Check the names of a fingerprint's fields.

    Raises:
        ProfileError: curl_cffi does not know one of the fields.
    """
    known = _fields()
    for name in fingerprint.keys() - known:
        raise ProfileError(
            f"curl_cffi {CURL_CFFI_VERSION} knows no field {name!r} of a fingerprint: "
            + _nearest(name, known)
        )


def _fields() -> set[str]:
    if not hasattr(curl_cffi, "Fingerprint"):
        raise ProfileError(f"curl_cffi {CURL_CFFI_VERSION} takes no fingerprints")
    return {field.name for field in dataclasses.fields(curl_cffi.Fingerprint)}
