#!/usr/bin/env bash
# Run tests with Pythons that this system does not have: those of Debian's testing suite, in the
# folder $1, which must be outside of the repository. Needs root and debootstrap. What follows goes
# to pytest; without it, the tests that start no process are run.
#
#     sudo testkit/newer_pythons.sh /var/tmp/forky -m "not slow" tests/test_crawl.py
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(realpath --canonicalize-missing "$1")
shift
[ $# -gt 0 ] || set -- -m "not slow and not processes"
pythons=(3.14 3.15)

if [ ! -x "$root/usr/bin/python3.15" ]; then
    # "sid" is the script: an older debootstrap has none of forky's own.
    debootstrap --variant=minbase \
        --include="ca-certificates$(printf ',python%s-venv' "${pythons[@]}")" \
        forky "$root" http://deb.debian.org/debian sid
fi
mountpoint --quiet "$root/proc" || mount -t proc proc "$root/proc"
mountpoint --quiet "$root/dev" || mount --bind /dev "$root/dev"
trap 'umount "$root/dev" "$root/proc"' EXIT
cp /etc/resolv.conf /etc/hosts "$root/etc/"
# The authorities of this machine, should it be behind a proxy that has its own.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
rm -rf "$root/src/repository"
git clone --quiet . "$root/src/repository"
for python in "${pythons[@]}"; do
    echo "Python $python"
    chroot "$root" env -C /src/repository bash -euc '
        [ -d "$0" ] || "python$1" -m venv "$0"
        "$0/bin/python" -m pip install --quiet --upgrade "pip>=25.1"
        "$0/bin/python" -m pip install --quiet --group test --editable .
        "$0/bin/python" -m pytest -n "$(nproc)" "${@:2}"
    ' "/src/$python" "$python" "$@"
done
