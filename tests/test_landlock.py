"""Landlock: what a worker may open, tried from inside; the kernel is the real one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scrapy_curl_safe._platform.landlock import landlock_version
from testkit.crawling import ROOT
from testkit.origins.certs import certs

pytestmark = pytest.mark.processes

# In a process of its own: nobody leaves a sandbox again.
INSIDE = """
import os, sys, socket, curl_cffi, msgspec
from scrapy_curl_safe._platform.landlock import enter_sandbox
if not enter_sandbox():
    sys.exit(77)
def tried(action):
    try:
        action()
    except PermissionError:
        return "denied"
    except OSError as error:
        return type(error).__name__
    return "done"
{code}
"""


def inside(code: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", INSIDE.format(code=code)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_no_file_of_the_project_or_of_the_user_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "settings.py"
    secret.write_text("PASSWORD = 'hunter2'")
    for path in (secret, ROOT / "pyproject.toml", Path("/etc/passwd"), Path("/proc/1/environ")):
        assert inside(f"print(tried(lambda: open({str(path)!r})))") == "denied", path
    assert inside(f"print(tried(lambda: os.listdir({str(tmp_path)!r})))") == "denied"
    assert inside("print(tried(lambda: os.listdir('/')))") == "denied"


def test_libraries_and_authorities_are_read() -> None:
    read = f"""
import encodings.idna, importlib
importlib.import_module("curl_cffi.requests.websockets")
importlib.import_module("wave")
open({str(certs().ca_pem)!r}).read()
open("/etc/resolv.conf").read() if os.path.exists("/etc/resolv.conf") else None
print(len(os.listdir("/proc/self/fd")) > 2, socket.gethostbyname("localhost"))
"""
    assert inside(read, SSL_CERT_FILE=str(certs().ca_pem)) == "True 127.0.0.1"


def test_the_aliases_of_hosts_are_read(tmp_path: Path) -> None:
    aliases, others = tmp_path / "aliases", tmp_path / "others"
    aliases.write_text("site example.com")
    others.write_text("site example.org")
    ask = f"""
from scrapy_curl_safe._platform.redirects import redirects_problem
print(redirects_problem())
os.environ["HOSTALIASES"] = {str(others)!r}
print(redirects_problem())
"""
    before, after = inside(ask, HOSTALIASES=str(aliases)).splitlines()
    assert before == "None"
    assert after.startswith("HOSTALIASES: the workers cannot read the file that it names")
    assert str(others) in after


@pytest.mark.parametrize(
    "action",
    [
        "open({path!r}, 'w')",
        "open({path!r} + '/new', 'w')",
        "os.mkdir({path!r} + '/new')",
        "os.unlink({path!r} + '/old')",
        "os.symlink('x', {path!r} + '/link')",
        "open('/tmp/scrapy-curl-safe-test', 'w')",
        "open('/dev/shm/scrapy-curl-safe-test', 'w')",
        "os.execv('/bin/sh', ['sh', '-c', 'echo ran'])",
    ],
)
def test_nothing_is_written_and_nothing_is_run(tmp_path: Path, action: str) -> None:
    (tmp_path / "old").write_text("")
    action = action.format(path=str(tmp_path))
    assert inside(f"print(tried(lambda: {action}))") in ("denied", "IsADirectoryError")
    assert os.listdir(tmp_path) == ["old"]


def test_only_the_key_log_that_was_asked_for_is_written(tmp_path: Path) -> None:
    log, other = tmp_path / "keys.log", tmp_path / "other.log"
    code = f"""
print(tried(lambda: open({str(log)!r}, 'a')), tried(lambda: open({str(other)!r}, 'a')))
"""
    assert inside(code, SSLKEYLOGFILE=str(log)) == "done denied"


def test_nobody_else_is_signalled() -> None:
    code = f"print(tried(lambda: os.kill({os.getpid()}, 0)))"
    if landlock_version() < 6:
        pytest.skip("the kernel's Landlock knows no scopes")
    assert inside(code) == "denied"


def test_sockets_are_as_they_were() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"print(tried(lambda: socket.create_connection(('127.0.0.1', {port}))))"
        assert inside(code) == "done"
