"""The rows of the table, in its order."""

from conformance.probe import registered

from . import limits, network, requests, responses, running  # noqa: F401

SECTIONS = (
    "Requests",
    "Responses",
    "Limits",
    "Signals",
    "TLS",
    "HTTP/2",
    "HTTP/3",
    "A browser's identity",
    "Proxies",
    "Local address",
    "Running",
)
PROBES = sorted(registered, key=lambda probe: SECTIONS.index(probe.section))
