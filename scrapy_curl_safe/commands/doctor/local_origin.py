"""An HTTPS origin on 127.0.0.1 with a self-signed certificate."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..._platform.system import system

HOST = "127.0.0.1"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@contextlib.asynccontextmanager
async def run_local_origin() -> AsyncIterator[str]:
    """Run an origin, and yield its URL.

    Raises:
        OSError: this machine does not allow listening there.
    """
    server = await asyncio.start_server(_respond, HOST, 0, ssl=make_tls_context())
    try:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_RESPONSE)
        await writer.drain()
    writer.close()


def make_tls_context() -> ssl.SSLContext:
    """Make a server's context with a certificate for this machine, which nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = _key_and_certificate()
    # In a container, there may be no file system that can be written.
    memory = system.create_shared_memory(len(pem))
    if memory is not None:
        try:
            os.write(memory, pem)
            context.load_cert_chain(f"/proc/self/fd/{memory}")
            return context
        except OSError:  # there is no /proc
            pass
        finally:
            os.close(memory)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "origin.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)
    return context


def _key_and_certificate() -> bytes:
    """Create a key and a self-signed certificate, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
