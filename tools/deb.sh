#!/usr/bin/env bash
# Builds the Debian packages of this working copy, from the files that git knows.
#
# usage: tools/deb.sh [FOLDER [VERSION]]
#
# FOLDER gets the packages (build-deb). The version is meson.build's; another one, for tests of
# upgrades, is built from what the last run compiled.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(realpath -m "${1:-build-deb}")
version=$(sed -n "s/^ *version: '\([^']*\)',/\1/p" meson.build | head -n 1)
packaged=$(dpkg-parsechangelog -S Version)
if [[ $packaged != "$version" ]]; then
    echo "debian/changelog is of version $packaged, meson.build of $version" >&2
    exit 1
fi

tree=$out/latchkey
args=(-b -uc -us)
if (($# < 2)); then
    rm -rf "$out"
    mkdir -p "$tree"
    git ls-files -z | tar --null --files-from=- -cf - | tar -xf - -C "$tree"
else
    args+=(-nc)
    {
        printf 'latchkey (%s) bookworm; urgency=medium\n\n  * Another version.\n\n' "$2"
        printf ' -- %s  %s\n\n' "$(dpkg-parsechangelog -S Maintainer)" "$(date -R)"
        cat debian/changelog
    } >"$tree/debian/changelog"
fi
cd "$tree"
exec dpkg-buildpackage "${args[@]}"
