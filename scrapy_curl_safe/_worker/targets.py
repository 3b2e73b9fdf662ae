"""Which of its targets curl_cffi takes for the browser of a profile."""

from __future__ import annotations

import dataclasses

import curl_cffi
from curl_cffi.__version__ import __version__ as curl_cffi_version
from msgspec.structs import replace

from .._ipc.messages import Profile
from .curl_api import ALIASES, TARGETS

_KNOWN = TARGETS | ALIASES.keys()


class ProfileError(Exception):
    """Says why no easy handle can be made for a profile."""


def resolve_browser(profile: Profile) -> Profile:
    """Return a profile with the target or the fingerprint that its browser's name stands for.

    curl_cffi's own targets go before those that were installed beside it.

    Raises:
        ProfileError: there is no such browser.
    """
    name = profile.impersonate
    if name is None:
        return profile
    if name in _KNOWN:
        return replace(profile, impersonate=ALIASES.get(name, name), fingerprint=None)
    if profile.fingerprint is not None:
        return replace(profile, impersonate=None, fingerprint=_known_fields(profile.fingerprint))
    if not TARGETS:  # libcurl will say whether there is one
        return profile
    raise ProfileError(
        f"curl_cffi {curl_cffi_version} cannot impersonate {name!r}, and `curl-cffi update` "
        f"has installed no such fingerprint: it knows {', '.join(sorted(_KNOWN))}"
    )


def _known_fields(fingerprint: dict[str, object]) -> dict[str, object]:
    """Leave out what a later curl_cffi knows, as curl_cffi does."""
    if not hasattr(curl_cffi, "Fingerprint"):
        raise ProfileError(f"curl_cffi {curl_cffi_version} takes no fingerprints")
    known = {field.name for field in dataclasses.fields(curl_cffi.Fingerprint)}
    return {name: value for name, value in fingerprint.items() if name in known}
