"""One worker, one handshake with an origin on 127.0.0.1: does it work on this machine?"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scrapy import Request

from ..identity import make_profile
from ..pool.process import exit_text, start_process
from ..settings import Settings
from ..wire import (
    Done,
    Failed,
    Fetch,
    FromWorker,
    Hello,
    Ready,
    Refused,
    ToWorker,
    WireError,
    encode,
    encode_profile,
    from_worker_decoder,
)

# Seconds for each answer of a worker.
_PATIENCE = 30.0
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@dataclass(frozen=True)
class Trial:
    """As in `checks.Facts`."""

    libcurl: str | None = None
    worker_error: str | None = None
    target_error: str | None = None
    handshake_error: str | None = None


def try_worker(settings: Settings) -> Trial:
    profile = encode_profile(make_profile(Request("data:,"), {"verify": False}, settings))
    try:
        process, sock, memory = start_process()
    except OSError as error:
        return Trial(worker_error=str(error))
    with process, sock:
        try:
            return _try(_Talk(sock), profile)
        except (OSError, WireError) as error:
            if _has_ended(process, error):
                return Trial(worker_error=f"it ended: {exit_text(process.returncode)}")
            return Trial(worker_error=str(error) or type(error).__name__)
        finally:
            process.kill()
            if memory is not None:
                memory.close()


def _has_ended(process: subprocess.Popen[bytes], error: OSError | WireError) -> bool:
    if isinstance(error, ConnectionError):
        # A process that ends loses its socket a moment before its status can be had.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    return process.poll() is not None


def _try(talk: _Talk, profile: bytes) -> Trial:
    name = "CURL_SAFE_IMPERSONATE"
    talk.say(Hello(1.0, 1, 1, 0, [(name, profile)]))
    ready = talk.hear(Ready)
    assert isinstance(ready, Ready)
    if ready.problem is not None:
        return Trial(ready.curl, target_error=ready.problem)
    try:
        listener = socket.create_server(("127.0.0.1", 0))
    except OSError as error:
        return Trial(ready.curl, handshake_error=f"127.0.0.1: {error}")
    with _answering(listener) as url:
        talk.say(
            Fetch(
                id=1, method="GET", url=url, headers=[], profile=profile, timeout=10.0,
                maxsize=0, warnsize=0, keep_partial=False, stream=False, tell_tls=False,
                fresh=False,
            )
        )  # fmt: skip
        outcome = talk.hear(Done, Failed, Refused)
    if isinstance(outcome, (Failed, Refused)):
        return Trial(ready.curl, handshake_error=outcome.detail)
    return Trial(ready.curl)


class _Talk:
    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(_PATIENCE)
        self._sock = sock
        self._decoder = from_worker_decoder()
        self._heard: list[FromWorker] = []

    def say(self, message: ToWorker) -> None:
        self._sock.sendall(encode(message))

    def hear(self, *kinds: type[FromWorker]) -> FromWorker:
        """The next message of one of these kinds; others are passed over.

        Raises:
            OSError: the worker is gone, or says nothing.
            WireError: it makes no sense.
        """
        while True:
            while self._heard:
                message = self._heard.pop(0)
                if isinstance(message, kinds):
                    return message
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionError("it closed its socket")
            self._heard = [message for message, _ in self._decoder.feed(data)]


@contextlib.contextmanager
def _answering(listener: socket.socket) -> Iterator[str]:
    """An origin for one handshake and one answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        pem = Path(directory) / "origin.pem"
        pem.write_bytes(_certificate())
        context.load_cert_chain(pem)
    thread = threading.Thread(target=_answer_one, args=(listener, context), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.close()
        thread.join(_PATIENCE)


def _answer_one(listener: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        listener.settimeout(_PATIENCE)
        raw, _ = listener.accept()
        raw.settimeout(_PATIENCE)
        with raw, context.wrap_socket(raw, server_side=True) as sock:
            sock.recv(65536)
            sock.sendall(_ANSWER)


def _certificate() -> bytes:
    """A key and a certificate that it has signed itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
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
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
