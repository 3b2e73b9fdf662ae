"""nginx as an origin: TLS with an ECDSA certificate, and HTTP/2 or HTTP/1.1 as the client asks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil
import trustme

from benchmarks.pages import all_pages
from benchmarks.server import Server, free_ports
from testkit.processes import children

CONFIG = """
daemon off; pid {directory}/pid; error_log stderr error;
worker_processes auto;
events {{ worker_connections 30000; }}
http {{
    access_log off; default_type text/html; keepalive_timeout 600s; server_tokens off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    ssl_certificate {directory}/chain.pem; ssl_certificate_key {directory}/key.pem;
    ssl_session_cache shared:tls:10m; ssl_session_tickets on;
    root {directory}/pages;
    server {{
        # All of 127.0.0.0/8, so that there can be many origins.
        listen {warm} ssl http2 backlog=16384; keepalive_requests 1000000;
        http2_max_concurrent_streams 128;
        location ~ ^/(?<encoding>gzip|br|zstd)/ {{ add_header Content-Encoding $encoding; }}
        # A POST gets the page, too.
        error_page 405 =200 $uri;
    }}
    server {{
        # A new connection, and so a new handshake, for each request.
        listen 127.0.0.1:{fresh} ssl http2 backlog=16384; keepalive_requests 1;
    }}
    server {{
        listen 127.0.0.1:{held} ssl http2 backlog=16384; http2_max_concurrent_streams 128;
        location / {{ proxy_pass http://127.0.0.1:{holder}; proxy_read_timeout 300s; }}
    }}
    server {{
        listen 127.0.0.1:{held1} ssl backlog=16384;
        location / {{ proxy_pass http://127.0.0.1:{holder}; proxy_read_timeout 300s; }}
    }}
}}
"""


class Nginx(Server):
    """A context manager. `url(name)` is the origin of one of its servers: warm, fresh, held
    (HTTP/2) or held1 (HTTP/1.1). The last two pass requests on to the port `holder`.

    Raises:
        FileNotFoundError: there is no nginx on this machine.
    """

    name, package = "nginx", "nginx-light"

    def __init__(self, holder: int = 9) -> None:
        super().__init__()
        self._holder = holder

    def url(self, server: str) -> str:
        return f"https://127.0.0.1:{self._ports[server]}"

    @property
    def version(self) -> str:
        said = subprocess.run([self._program, "-v"], capture_output=True, text=True, check=True)
        return said.stderr.strip().removeprefix("nginx version: ")

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that serve requests."""
        return children(self._process.pid)

    def _prepare(self, directory: Path) -> tuple[Sequence[str | Path], Sequence[int]]:
        certificate = trustme.CA().issue_cert("127.0.0.1", "localhost")
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        (directory / "chain.pem").write_bytes(chain)
        (directory / "key.pem").write_bytes(certificate.private_key_pem.bytes())
        (directory / "pages").mkdir()
        for name, page in all_pages().items():
            path = directory / "pages" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(page)
        self._ports = dict(zip(("warm", "fresh", "held", "held1"), free_ports(4), strict=True))
        config = CONFIG.format(directory=directory, holder=self._holder, **self._ports)
        if os.geteuid() == 0:
            # Otherwise its workers would run as a user that cannot read root's directory.
            config = "user root;" + config
        (directory / "nginx.conf").write_text(config)
        arguments = ["-p", str(directory), "-c", str(directory / "nginx.conf")]
        return arguments, list(self._ports.values())


if __name__ == "__main__":
    with Nginx() as origin:
        print(origin.url("warm"), origin.url("fresh"), os.getpid(), flush=True)
        input()
