"""Messages that alerts on logs look for: word for word those of Scrapy's own handlers."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scrapy import Request
from scrapy.utils import _download_handlers as scrapys

from scrapy_curl_safe._crawl.scrapys_words import dataloss_message, size_message, tls_messages
from scrapy_curl_safe._ipc.messages import SizeWarning, TooLarge, TransferStats

REQUEST = Request("https://example.com/a?b=c", method="POST")


@pytest.mark.parametrize("expected", [True, False])
def test_a_body_above_the_size_to_warn_of(expected: bool) -> None:
    warning = SizeWarning(id=1, size=35, limit=10, expected=expected)
    words = scrapys.get_warnsize_msg(35, 10, REQUEST, expected=expected)
    assert size_message(warning, "warn", REQUEST) == words


@pytest.mark.parametrize("expected", [True, False])
def test_a_body_above_the_maximum(expected: bool) -> None:
    too_large = TooLarge(id=1, stats=TransferStats(), size=35, limit=10, expected=expected)
    words = scrapys.get_maxsize_msg(35, 10, REQUEST, expected=expected)
    assert size_message(too_large, "max", REQUEST) == words


def test_a_body_that_ended_early() -> None:
    assert dataloss_message(REQUEST.url) == scrapys.get_dataloss_msg(REQUEST.url)


TLS = "TLSv1.3 / TLS_AES_128_GCM_SHA256 / X25519 / RSASSA-PSS"
CONNECTION = "SSL connection to a.test using protocol TLSv1.3, cipher TLS_AES_128_GCM_SHA256"


def certificate(organization: str) -> bytes:
    """Make one that the key of an organization signed for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "IE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, "a.test"),
        ]
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("organization", "logged"),
    [
        ("Scrapy", "Scrapy"),
        ("A, B", r"A\, B"),
        ("Größe", "Größe"),
        ("x\n2026-01-01 ERROR: y\x1b[0m", r"x\0a2026-01-01 ERROR: y\1b[0m"),
    ],
)
def test_a_tls_connection(organization: str, logged: str) -> None:
    name = f"CN=a.test,O={logged},C=IE"
    assert list(tls_messages("a.test", TLS, certificate(organization))) == [
        CONNECTION,
        f'SSL connection certificate: issuer "{name}", subject "{name}"',
    ]


def test_a_tls_connection_whose_certificate_is_not_known() -> None:
    assert list(tls_messages("a.test", TLS, None)) == [CONNECTION]


def test_a_tls_connection_whose_certificate_is_broken() -> None:
    first, second = tls_messages("a.test", TLS, certificate("Scrapy")[:-9])
    assert first == CONNECTION
    assert second.startswith("SSL connection certificate cannot be read: ")
