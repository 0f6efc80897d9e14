#!/usr/bin/env bash
# Install the Debian packages that a list names and this machine lacks; start no service.
# usage: system_packages.sh LIST
#
# Where packages cannot be installed (not root, not Debian or Ubuntu), it says in one sentence what
# is missing and ends well: what needs them says so itself.
set -euo pipefail

mapfile -t wanted < <(sed -e 's/#.*//' "$1" | tr -s '[:space:]' '\n' | sed '/^$/d')
say() { printf '%s\n' "$*" >&2; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

by_hand() {
    say "packages: $1; install by hand what this machine lacks of: ${wanted[*]}"
    exit 0
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || by_hand "this is not Debian or Ubuntu"

missing=()
for package in "${wanted[@]}"; do
    installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    say "packages: not root, so these were not installed: ${missing[*]}"
    say "packages: run 'sudo apt-get install --no-install-recommends ${missing[*]}', then this again"
    exit 0
fi

# Debian asks this file whether a package may start its service; 101 is no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi

log=$(mktemp)
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" \
        >"$log" 2>&1 </dev/null
}

say "packages: installing ${missing[*]}"
apt update || say "packages: the package lists could not be refreshed; trying with those at hand"
if ! apt install -y --no-install-recommends "${missing[@]}"; then
    # One name unknown to this release must not keep the others away.
    for package in "${missing[@]}"; do
        apt install -y --no-install-recommends "$package" ||
            say "packages: $package could not be installed: $(grep -m1 '^E:' "$log" || tail -n1 "$log")"
    done
fi
rm -f "$log"
