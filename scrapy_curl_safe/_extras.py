"""Packages that only some settings need: the extras of `pip install scrapy-curl-safe[...]`."""

from __future__ import annotations

import importlib
from importlib.metadata import version

# The first one whose histograms take buckets.
_OPENTELEMETRY = (1, 30)


def missing(
    setting: str, value: object, package: str, extra: str, error: ImportError, instead: str = ""
) -> ValueError:
    """Return the error of a setting that takes a package which cannot be imported.

    Args:
        setting: its name.
        extra: that brings the package.
        error: of the import.
        instead: what the setting would take without the package.
    """
    otherwise = f", or {instead}" if instead else ""
    return ValueError(
        f"{setting} is {value!r}: it takes the package {package}, which is not there "
        f"(pip install scrapy-curl-safe[{extra}]){otherwise}: {error}"
    )


def check_opentelemetry(setting: str) -> None:
    """Check that OpenTelemetry can be used, which a setting has turned on.

    Raises:
        ValueError: it cannot.
    """
    package = "opentelemetry-api"
    try:
        for module in ("metrics", "propagate", "trace"):
            importlib.import_module(f"opentelemetry.{module}")
        found = version(package)
    except ValueError as error:  # OTEL_PROPAGATORS names one that is not installed
        raise ValueError(f"{setting} is True, and OpenTelemetry cannot begin: {error}") from None
    except ImportError as error:
        raise missing(setting, True, package, "opentelemetry", error) from error
    if tuple(map(int, found.split(".")[:2])) < _OPENTELEMETRY:
        least = ".".join(map(str, _OPENTELEMETRY))
        raise ValueError(
            f"{setting} is True: it takes {package} {least} or newer, and {found} is there"
        )
