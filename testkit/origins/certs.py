from __future__ import annotations

import atexit
import functools
import shutil
import ssl
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)


class Certs:
    """Two certificate authorities: one that tests can trust, and one that they cannot."""

    ca_pem: Path

    def __init__(self) -> None:
        self._trusted = trustme.CA()
        self._unknown = trustme.CA()
        directory = Path(tempfile.mkdtemp(prefix="origin-certs-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        self.ca_pem = directory / "ca.pem"
        self._trusted.cert_pem.write_to_path(str(self.ca_pem))

    def files(self, *, trusted: bool = True) -> tuple[Path, Path]:
        """Return the files of a certificate chain for this machine and its key."""
        leaf = _leaf(self._trusted if trusted else self._unknown, LOOPBACK_NAMES, False)
        directory = self.ca_pem.parent
        chain, key = directory / f"chain-{trusted}.pem", directory / f"key-{trusted}.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return chain, key

    def server_context(
        self,
        *,
        alpn: Sequence[str] = ("http/1.1",),
        names: tuple[str, ...] = LOOPBACK_NAMES,
        trusted: bool = True,
        expired: bool = False,
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority = self._trusted if trusted else self._unknown
        _leaf(authority, names, expired).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@functools.cache
def _leaf(authority: trustme.CA, names: tuple[str, ...], expired: bool) -> trustme.LeafCert:
    return authority.issue_cert(*names, not_after=LONG_AGO if expired else None)


@functools.cache
def certs() -> Certs:
    return Certs()


def served_certificate(port: int) -> str:
    """Return the certificate (DER, in hexadecimal digits) that a server on 127.0.0.1 presents."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return ssl.PEM_cert_to_DER_cert(pem).hex()
