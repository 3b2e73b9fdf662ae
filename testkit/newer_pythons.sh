#!/usr/bin/env bash
# Run `nox` with Pythons that this system does not have: those of Debian's testing suite, in the
# folder $1, which must be outside of the repository. Needs root and debootstrap. The report goes to
# the file $2, and what follows to nox.
#
#     sudo testkit/newer_pythons.sh /var/tmp/forky report.json --pythons 3.15 -- tests/test_crawl.py
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(realpath --canonicalize-missing "$1")
report=$(realpath --canonicalize-missing "$2")
shift 2
pythons=(3.14 3.15)
case " $* " in *" --pythons "*) ;; *) set -- --pythons "${pythons[@]}" "$@" ;; esac

if [ ! -x "$root/usr/bin/gcc" ]; then
    # "sid" is the script: an older debootstrap has none of forky's own. With a compiler, since not
    # every package has a wheel for the newest Python.
    debootstrap --variant=minbase \
        --include="ca-certificates,gcc,libc6-dev$(printf ',python%s-dev' "${pythons[@]}")$(
            printf ',python%s-venv' "${pythons[@]}")" \
        forky "$root" http://deb.debian.org/debian sid
fi
mountpoint --quiet "$root/proc" || mount -t proc proc "$root/proc"
mountpoint --quiet "$root/dev" || mount --bind /dev "$root/dev"
trap 'umount "$root/dev" "$root/proc"' EXIT
cp /etc/resolv.conf /etc/hosts "$root/etc/"
# The authorities of this machine, should it be behind a proxy that has its own.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
rm -rf "$root/src/repository" "$root/src/report.json"
git clone --quiet . "$root/src/repository"
status=0
chroot "$root" env -C /src/repository bash -euc '
    [ -d /src/nox ] || python3.14 -m venv /src/nox
    /src/nox/bin/python -m pip install --quiet --upgrade "pip>=25.1"
    /src/nox/bin/python -m pip install --quiet --group matrix
    /src/nox/bin/nox --envdir /src/environments --report /src/report.json "$@"
' "$0" "$@" || status=$?
cp "$root/src/report.json" "$report"
exit "$status"
