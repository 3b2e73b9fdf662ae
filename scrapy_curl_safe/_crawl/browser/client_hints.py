"""Client hints: what a Chromium sends to an origin that asked for more with Accept-CH.

Sources: RFC 8942, User-Agent Client Hints (https://wicg.github.io/ua-client-hints/), the recording
of Chromium 156 (the values that do not follow from the user agent, and the order in a navigation).
"""

from __future__ import annotations

import re
from functools import lru_cache

from .target import Target

#: Sent with every request to a trustworthy target.
LOW_ENTROPY = ("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform")

#: All hints, in the order that they have in Chromium's navigations.
NAVIGATION_ORDER = (
    "device-memory",
    "sec-ch-device-memory",
    "dpr",
    "sec-ch-dpr",
    "viewport-width",
    "sec-ch-viewport-width",
    "sec-ch-viewport-height",
    "rtt",
    "downlink",
    "ect",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-full-version",
    "sec-ch-ua-arch",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-model",
    "sec-ch-ua-bitness",
    "sec-ch-ua-wow64",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-form-factors",
    "sec-ch-prefers-color-scheme",
    "sec-ch-prefers-reduced-motion",
    "sec-ch-prefers-reduced-transparency",
)

#: The order in which the renderer sets them, see `blink_order`.
RENDERER_ORDER = (
    "device-memory",
    "sec-ch-device-memory",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "dpr",
    "sec-ch-dpr",
    "viewport-width",
    "sec-ch-viewport-width",
    "sec-ch-viewport-height",
    "rtt",
    "downlink",
    "ect",
    "sec-ch-ua-arch",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-model",
    "sec-ch-ua-full-version",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-bitness",
    "sec-ch-ua-wow64",
    "sec-ch-ua-form-factors",
    "sec-ch-prefers-color-scheme",
    "sec-ch-prefers-reduced-motion",
    "sec-ch-prefers-reduced-transparency",
)

# Builds of Chromium's branches, from the releases that Chromium published.
_BUILDS = {
    99: "4844.84",
    100: "4896.160",
    101: "4951.67",
    104: "5112.124",
    107: "5304.122",
    110: "5481.208",
    116: "5845.228",
    119: "6045.200",
    120: "6099.291",
    123: "6312.122",
    124: "6367.243",
    131: "6778.265",
    133: "6943.142",
    136: "7103.177",
    142: "7444.265",
    146: "7680.216",
    150: "7871.250",
    152: "7977.169",
    156: "8078.108",
}

_BRAND = re.compile(r'"((?:[^"\\]|\\.)*)"\s*;\s*v="(\d+)"')


def parse_accept_ch(header: str | None) -> tuple[str, ...]:
    """Return the known hints that an Accept-CH header asks for, in lower case.

    Args:
        header: the field's value, or several joined by commas; None if there is none.
    """
    asked = {token.strip().lower() for token in (header or "").split(",")}
    return tuple(name for name in NAVIGATION_ORDER if name in asked and name not in LOW_ENTROPY)


@lru_cache(64)
def hint_values(target: Target) -> dict[str, str]:
    """Return the values of all hints that can be asked of a target, by name.

    The values agree with its user agent. A hint whose value is unknown, such as the full version of
    a build that is not listed, is missing.
    """
    platform = (target.value("sec-ch-ua-platform") or "").strip('"')
    is_mobile = target.value("sec-ch-ua-mobile") == "?1"
    screen = _MOBILE if is_mobile else _DESKTOP
    values = {
        **_NETWORK,
        **screen,
        **_PLATFORMS.get(platform, {}),
        "sec-ch-ua-wow64": "?0",
        "sec-ch-prefers-color-scheme": "light",
        "sec-ch-prefers-reduced-motion": "no-preference",
        "sec-ch-prefers-reduced-transparency": "no-preference",
    }
    brands = target.value("sec-ch-ua")
    build = _BUILDS.get(target.major)
    if brands and build:
        version = f"{target.major}.0.{build}"
        values["sec-ch-ua-full-version"] = f'"{version}"'
        values["sec-ch-ua-full-version-list"] = _with_full_versions(brands, target.major, version)
    return values


def _with_full_versions(brands: str, major: int, version: str) -> str:
    """Return the brands with full versions. Chromium pads that of the invented brand with zeros."""

    def lengthen(match: re.Match[str]) -> str:
        name, short = match[1], match[2]
        return f'"{name}";v="{version if int(short) == major else f"{short}.0.0.0"}"'

    return _BRAND.sub(lengthen, brands)


_NETWORK = {"rtt": "50", "downlink": "10", "ect": "4g"}
_DESKTOP = {
    "device-memory": "8",
    "sec-ch-device-memory": "8",
    "dpr": "1",
    "sec-ch-dpr": "1",
    "viewport-width": "1920",
    "sec-ch-viewport-width": "1920",
    "sec-ch-viewport-height": "945",
    "sec-ch-ua-form-factors": '"Desktop"',
}
_MOBILE = {
    "device-memory": "8",
    "sec-ch-device-memory": "8",
    "dpr": "2.625",
    "sec-ch-dpr": "2.625",
    "viewport-width": "412",
    "sec-ch-viewport-width": "412",
    "sec-ch-viewport-height": "784",
    "sec-ch-ua-form-factors": '"Mobile"',
}
_PLATFORMS: dict[str, dict[str, str]] = {
    "Windows": {
        "sec-ch-ua-arch": '"x86"',
        "sec-ch-ua-bitness": '"64"',
        "sec-ch-ua-model": '""',
        "sec-ch-ua-platform-version": '"19.0.0"',
    },
    "macOS": {
        "sec-ch-ua-arch": '"arm"',
        "sec-ch-ua-bitness": '"64"',
        "sec-ch-ua-model": '""',
        "sec-ch-ua-platform-version": '"15.5.0"',
    },
    "Linux": {
        "sec-ch-ua-arch": '"x86"',
        "sec-ch-ua-bitness": '"64"',
        "sec-ch-ua-model": '""',
        "sec-ch-ua-platform-version": '""',
    },
    "Android": {
        "sec-ch-ua-arch": '""',
        "sec-ch-ua-bitness": '""',
        "sec-ch-ua-model": '"K"',
        "sec-ch-ua-platform-version": '"10.0.0"',
    },
}
