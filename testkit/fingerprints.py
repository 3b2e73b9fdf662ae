"""The fingerprints by which servers recognize a client: JA3, JA4, and its HTTP/2 opening."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5
from typing import Any

from scrapy_curl_safe.commands.show.client_hello import (
    KEY_SHARE,
    Reader,
    is_grease,
    ja4,
    key_shares,
    parse_client_hello,
    protocols,
)
from testkit.origins.hello import ja3, parse_h2_opening

COMPRESS_CERTIFICATE = 27
ALPS, OLD_ALPS = 17613, 17513

_EXTENSIONS = {
    0: "server_name",
    5: "status_request",
    10: "supported_groups",
    11: "ec_point_formats",
    13: "signature_algorithms",
    16: "alpn",
    18: "sct",
    21: "padding",
    23: "ems",
    27: "compress_certificate",
    28: "record_size_limit",
    34: "delegated_credential",
    35: "session_ticket",
    41: "pre_shared_key",
    42: "early_data",
    43: "supported_versions",
    45: "psk_key_exchange_modes",
    51: "key_share",
    OLD_ALPS: "alps(17513)",
    ALPS: "alps(17613)",
    0xCA34: "trust_anchors(0xca34)",
    0xFE0D: "ech",
    0xFF01: "renegotiation_info",
}
_GROUPS = {
    0x0017: "P-256",
    0x0018: "P-384",
    0x0019: "P-521",
    0x001D: "X25519",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x11EC: "X25519MLKEM768",
    0x6399: "X25519Kyber768",
}


def describe_hello(raw: bytes) -> dict[str, Any]:
    """Return the content of a ClientHello, in the form of the browsers' recordings."""
    hello = parse_client_hello(raw)
    shares = key_shares(hello.data.get(KEY_SHARE))
    compression = hello.data.get(COMPRESS_CERTIFICATE)
    return {
        "ja3": _md5(ja3(hello)),
        "ja3n": _md5(ja3(hello, sort_extensions=True)),
        "ja4": ja4(hello),
        "ciphers": _named({}, hello.ciphers),
        "extensions": _named(_EXTENSIONS, hello.extensions),
        "groups": _named(_GROUPS, hello.groups),
        "key_shares": [[*_named(_GROUPS, [group]), size] for group, size in shares],
        "sigalgs": [f"{each:04x}" for each in hello.signature_algorithms],
        "alpn": list(hello.alpn),
        "alps": {
            str(kind): list(protocols(hello.data[kind]))
            for kind in (OLD_ALPS, ALPS)
            if kind in hello.data
        },
        "cert_compression": list(Reader(compression).vector(1).numbers(2)) if compression else [],
        "versions": _named({}, hello.supported_versions),
    }


def describe_h2(raw: bytes) -> str:
    """Return the fingerprint of an HTTP/2 client's opening: settings, window, priority frames (no
    browser sends any now), and the order of the pseudo-headers."""
    opening = parse_h2_opening(raw)
    settings = ";".join(f"{name}:{value}" for name, value in opening.settings)
    pseudo = ",".join(name[1] for name in opening.pseudo_headers)
    return f"{settings}|{opening.window_update or 0}|0|{pseudo}"


def _named(names: dict[int, str], values: Iterable[int]) -> list[str]:
    return ["GREASE" if is_grease(value) else names.get(value, f"{value:04x}") for value in values]


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
