#!/usr/bin/env bash
# usage: tools/check-man.sh [BUILD-DIR]
#
# Compares the programs with their manual pages, so that neither drifts: every command has a page,
# every option of a --help text is in the page and the reverse, every option of a --help text is
# taken by its command, and liblatchkey(3) names exactly what the library exports. Then mandoc reads
# each page.
set -uo pipefail # so no grep -q behind a pipe: it ends early, and its writer fails
cd "$(dirname "$0")/.."
build=${1:-build}
latchkey=$build/src/cli/latchkey
latchkeyd=$build/src/daemon/latchkeyd
failed=0

fail() {
    echo "$*" >&2
    failed=1
}

# Options in a --help text, but for other commands that it quotes in `...`. --help itself is in
# latchkey(1) for all.
help_options() {
    tr '\n' ' ' | sed 's/`[^`]*`//g' | grep -oE -- '--[a-z][a-z-]+' | sort -u | grep -vx -- --help
}

# Options in a page, but for examples, which show other commands too.
page_options() { # page_options FILE
    sed '/^\.nf/,/^\.fi/d; s/\\-/-/g' "$1" | grep -oE -- '--[a-z][a-z-]+' | sort -u | grep -vx -- --help
}

# Names in the table that a command without arguments' "help" prints.
table() {
    "$@" help | sed -n 's/^  \([a-z-]*\)  *.*/\1/p'
}

# Every option that the help text of the command names has to be known to it. The option that does
# not exist ends the run before it does anything.
check_taken() { # check_taken OPTIONS COMMAND...
    local options=$1 option
    shift
    for option in $options; do
        if "$@" "$option" --no-such-option --no-such-option 2>&1 </dev/null |
            grep -F -- "no option \"$option\"" >/dev/null; then
            fail "$*: --help names $option, which it does not take"
        fi
    done
}

compare() { # compare PAGE HELP-OPTIONS
    local line
    if [[ ! -f $1 ]]; then
        fail "$1 is missing"
        return
    fi
    while read -r line; do
        fail "$1: $line"
    done < <(diff <(echo "$2") <(page_options "$1") |
        sed -n 's/^< /lacks /p; s/^> /names what no --help text does: /p')
}

# The help texts of a command, or of all below it, are added to $texts; each has its synopsis.
walk() { # walk PAGE WORD...
    local page=$1 sub text
    shift
    if "$latchkey" "$@" help 2>/dev/null | grep '^commands:' >/dev/null; then
        for sub in $(table "$latchkey" "$@"); do
            walk "$page" "$@" "$sub"
        done
        return
    fi
    text=$("$latchkey" "$@" --help) || fail "latchkey $* --help fails"
    check_taken "$(help_options <<<"$text")" "$latchkey" "$@"
    texts+=$text$'\n'
    (($# == 1)) || sed 's/\\-/-/g' "$page" 2>/dev/null |
        grep -E "^\.B.*latchkey ${*:1:$#-1} (.*[^a-z-])?${*: -1}([^a-z-]|\$)" >/dev/null ||
        fail "$page: no synopsis of latchkey $*"
}

check_command() { # check_command NAME
    local name=$1 page=doc/man/latchkey-$1.1 texts=''
    walk "$page" "$name"
    compare "$page" "$(help_options <<<"$texts")"
    grep -q "latchkey\\\\-$name (1)" doc/man/latchkey.1 || fail "latchkey(1) lacks latchkey-$name(1)"
}

for name in $(table "$latchkey"); do
    [[ $name == version ]] || check_command "$name"
done

if [[ -x $latchkeyd ]]; then
    compare doc/man/latchkeyd.8 "$("$latchkeyd" --help | help_options)"
fi

diff <(sed -n '/global:/,/local:/s/^ *\(lk_[a-z0-9_]*\);/\1/p' src/device/latchkey.map | sort -u) \
    <(grep -oE '\blk_[a-z0-9_]+( "?\()' doc/man/liblatchkey.3 | grep -oE 'lk_[a-z0-9_]+' | sort -u) \
    >/tmp/check-man.$$ || fail "liblatchkey(3) and latchkey.map differ:"$'\n'"$(cat /tmp/check-man.$$)"
rm -f /tmp/check-man.$$

for page in doc/man/*.[1-9]; do
    grep -qF "man/${page##*/}" doc/meson.build || fail "$page is not installed (doc/meson.build)"
    warnings=$(mandoc -T lint -W warning "$page" 2>&1 | grep -v 'missing date, using ""')
    [[ -z $warnings ]] || fail "$warnings"
done
exit $failed
