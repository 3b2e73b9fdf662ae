#!/usr/bin/env bash
# Makes a virtual environment that simulates macOS, beside one that has all dependencies:
#
#   testkit/macos/setup.sh DIRECTORY PYTHON
#   DIRECTORY/bin/python -m pytest
set -euo pipefail

clone=$(cd "$(dirname "$0")/../.." && pwd)
ask='import sysconfig; print(sysconfig.get_path("purelib"))'
packages=$("$2" -c "$ask")
"$2" -m venv --without-pip "$1"
# Run at each start, also of a worker, whose environment is empty. The name puts it first.
cat > "$("$1/bin/python" -c "$ask")/0-macos.pth" << PTH
import site; site.addsitedir("$packages")
import sys; sys.path.append("$clone"); import testkit.macos.simulation
PTH
