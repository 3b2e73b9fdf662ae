"""Messages in the words of Scrapy's own handlers, which people's alerts on logs look for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from cryptography import x509
from scrapy import Request

from .._ipc.messages import SizeWarning, TooLarge

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def size_message(
    passed: SizeWarning | TooLarge, limit: Literal["warn", "max"], request: Request
) -> str:
    """Say that the body of a response passes a limit."""
    verb = "Expected to receive" if passed.expected else "Received"
    return (
        f"{verb} {passed.size} bytes which is larger than download {limit} size ({passed.limit}) "
        f"in request {request}."
    )


def too_large_for_memory_message(passed: TooLarge, request: Request) -> str:
    """Say that a body is larger than any that a worker holds in memory."""
    return (
        f"{size_message(passed, 'max', request)} No body in memory is larger; a file can be: "
        'meta["curl_safe"] = {"file": True}'
    )


def dataloss_message(url: str) -> str:
    """Say how to get responses whose body ended early. Logged once."""
    return (
        f"Got data loss in {url}. If you want to process broken responses set the setting "
        "DOWNLOAD_FAIL_ON_DATALOSS = False -- This message won't be shown in further requests"
    )


def key_log_message(path: str, error: OSError) -> str:
    """Say that the file that SSLKEYLOGFILE names cannot be written."""
    return f"Cannot write TLS session keys to {path}: {error}"


def tls_messages(host: str, tls: str, certificate: bytes | None) -> Iterator[str]:
    """Describe the TLS connection that a response came over.

    Args:
        tls: version and cipher, as a `ResponseHead` has them.
        certificate: of the origin, as DER.
    """
    version, _, rest = tls.partition(" / ")
    cipher = rest.partition(" / ")[0]
    yield f"SSL connection to {host} using protocol {version}, cipher {cipher}"
    if certificate is None:
        return
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        issuer, subject = _readable(parsed.issuer), _readable(parsed.subject)
    except ValueError as error:  # nothing has verified it
        yield f"SSL connection certificate cannot be read: {error}"
    else:
        yield f'SSL connection certificate: issuer "{issuer}", subject "{subject}"'


def _readable(name: x509.Name) -> str:
    """Return a name as RFC 4514 has it, without line breaks, which could forge lines of the log."""
    text = name.rfc4514_string()
    return _CONTROL_CHARACTER.sub(lambda found: f"\\{ord(found[0]):02x}", text)
