#!/usr/bin/env bash
# Make the environment of `make scrapy-suite` in the directory $1: the tests of the Scrapy team as
# their source distribution has them, this package, newest curl_cffi, and mitmproxy in a virtual
# environment of its own, since its pins conflict with Scrapy's.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
suite=scrapy-download-handlers-incubator
version=0.7.0

"$PYTHON" -m venv "$venv"
# As venv itself does since Python 3.13.
echo "*" > "$venv/.gitignore"
"$venv/bin/python" -m pip install --quiet --upgrade pip
"$venv/bin/python" -m pip download --quiet --no-deps --no-binary "$suite" \
    --dest "$venv" "$suite==$version"
mkdir -p "$venv/suite"
tar -xzf "$venv/${suite//-/_}-$version.tar.gz" -C "$venv/suite" --strip-components 1
# Beside its siblings, where the suite's fixtures are found.
ln -sf "$PWD/scrapy_suite/test_handler_curl_safe.py" "$venv/suite/tests/"
"$venv/bin/python" -m pip install --quiet --upgrade --editable . \
    "$venv/suite[curl-cffi,httpx]" "Twisted[http2]" \
    "pytest>=9,<9.2" pytest-asyncio pytest-rerunfailures pytest-twisted pytest-xdist
"$PYTHON" -m venv "$venv/mitmproxy"
"$venv/mitmproxy/bin/python" -m pip install --quiet mitmproxy
