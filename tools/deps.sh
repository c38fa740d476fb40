#!/usr/bin/env bash
# usage: tools/deps.sh GROUP...
#
# Installs the Debian packages of the groups build, test, demo, bench and deb that are missing. Runs
# apt-get as root or through sudo, only when something is missing, and says nothing otherwise.
set -euo pipefail

declare -A packages=(
    [build]="gcc libc6-dev meson ninja-build pkg-config libssl-dev libjansson-dev libevent-dev
        libhttp-parser-dev libsqlite3-dev libpq-dev libtss2-dev libcurl4-openssl-dev libsystemd-dev
        libcmocka-dev libmosquitto-dev mosquitto-dev"
    [test]="postgresql clang clang-format llvm g++ git swtpm tpm2-tools openssl python3-pytest
        python3-pytest-xdist python3-cryptography mandoc curl iproute2 util-linux procps systemd
        mosquitto mosquitto-clients rabbitmq-server debhelper dpkg-dev lintian mmdebstrap
        libfaketime"
    [demo]="swtpm tpm2-tools curl jq openssl mosquitto mosquitto-clients"
    [bench]="openssl procps postgresql mosquitto mosquitto-clients python3-cryptography"
    [deb]="debhelper dpkg-dev git"
)
# What may also come from elsewhere than Debian: a command, and the package that brings it.
declare -A commands=([test]="node:nodejs npm:npm")

missing=()
for group in "$@"; do
    for package in ${packages[$group]:?no such group: $group}; do
        status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
        [[ $status == "install ok installed" ]] || missing+=("$package")
    done
    for pair in ${commands[$group]:-}; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
done
if ((${#missing[@]} == 0)); then
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    as_root=(sudo)
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q --no-install-recommends "${missing[@]}")
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Package lists may be absent or too old to name what the mirror still has.
if ! "${install[@]}" >"$log" 2>&1 &&
    ! { "${as_root[@]}" apt-get update -q && "${install[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
