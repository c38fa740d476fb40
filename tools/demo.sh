#!/usr/bin/env bash
# The main job on this machine, end to end, with software TPMs: from the factory to a hub, through a
# change of owner. Everything lives in a temporary folder and is gone at the end.
#
# usage: tools/demo.sh [BUILD-DIR]        KEEP=1 keeps the folder and tells where it is
set -euo pipefail
cd "$(dirname "$0")/.."

build=$(realpath "${1:-build}")
latchkey=$build/src/cli/latchkey
latchkeyd=$build/src/daemon/latchkeyd
work=$(mktemp -d "${TMPDIR:-/tmp}/latchkey-demo.XXXXXX")
config=$work/service/latchkeyd.conf
hub=hub.example.test
started=() # process ids, all our own

finish() {
    local status=$?
    trap - EXIT INT TERM
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [[ ${KEEP:-} ]]; then
        echo "kept: $work"
    else
        if ((status != 0)) && [[ -s $work/latchkeyd.log ]]; then
            echo "--- the end of the service's log:" >&2
            tail -n 5 "$work/latchkeyd.log" >&2
        fi
        rm -rf "$work"
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [[ -t 1 ]]; then
    bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
else
    bold='' dim='' plain=''
fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '   %s\n' "$*"; }
value() { printf '   %-22s %s\n' "$1" "$2"; }
exec 3>&1 # where commands are shown, wherever their own output goes
run() { # show a command as a user would type it, and run it
    local shown="$*"
    shown=${shown//$latchkey/latchkey}
    shown=${shown//$work\//}
    printf '   %s$ %s%s\n' "$dim" "$shown" "$plain" >&3
    "$@"
}
short() { # the two ends of a long value
    if ((${#1} > 40)); then
        printf '%s...%s (%d characters)' "${1:0:20}" "${1: -8}" "${#1}"
    else
        printf '%s' "$1"
    fi
}
die() {
    echo "demo: $*" >&2
    exit 1
}
wait_for() { # wait_for WHAT COMMAND...: at most 10 s
    local what=$1
    shift
    for _ in {1..100}; do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.1
    done
    die "$what did not come up; see $work"
}

# N ports in a row on loopback that nobody uses now.
free_ports() {
    /usr/bin/python3 - "$1" <<'PY'
import socket, sys
count = int(sys.argv[1])
for _ in range(200):
    held = []
    try:
        first = socket.socket(); held.append(first)
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        for i in range(1, count):
            s = socket.socket(); held.append(s)
            s.bind(("127.0.0.1", port + i))
        print(port)
        break
    except (OSError, OverflowError):
        continue
    finally:
        for s in held:
            s.close()
else:
    sys.exit("no free ports")
PY
}

start_tpm() { # start_tpm NAME PORT
    mkdir -p "$work/$1"
    swtpm socket --tpm2 --tpmstate "dir=$work/$1" \
        --server "type=tcp,port=$2,bindaddr=127.0.0.1,disconnect" \
        --ctrl "type=tcp,port=$(($2 + 1)),bindaddr=127.0.0.1" \
        --flags not-need-init,startup-clear >"$work/$1.log" 2>&1 &
    started+=($!)
    wait_for "the software TPM $1" tpm2_getrandom -T "swtpm:host=127.0.0.1,port=$2" 4
}

# The line of the operator's log about the last refusal.
log_reason() {
    local line
    line=$(grep '"event":"registration.refused"' "$work/latchkeyd.log" | tail -n 1)
    jq -r '"\(.event): reason \(.reason), request \(.request_id)"' <<<"$line"
}

device() { # device NAME-OF-TCTI-VARIABLE latchkey-device-arguments
    local tcti=$1
    shift
    run "$latchkey" device "$@" --tcti "$tcti"
}

register() { # register TCTI REGISTRATION-ID: the result goes to registered.json
    device "$1" register --url "$url" --scope "$scope" --ca-file "$work/service/tls/ca.pem" \
        --registration-id "$2" --deadline 60 --json >"$work/registered.json" 2>"$work/steps.txt"
}

show_steps() {
    sed 's/^/   /' "$work/steps.txt"
    value "assigned hub" "$(jq -r .assignedHub "$work/registered.json")"
    value "device id there" "$(jq -r .deviceId "$work/registered.json")"
    value "substatus" "$(jq -r .substatus "$work/registered.json")"
}

# Ask the hub registry, as a broker does, whether it takes a token. Prints its answer.
hub_check() {
    curl -sS -o "$work/check.json" -w '%{http_code}' -H 'Content-Type: application/json' \
        --data "$(jq -nc --arg hub "$hub" --arg token "$1" '{hub: $hub, token: $token}')" \
        "$admin/auth/device"
}

expect_refusal() { # expect_refusal COMMAND...: it must fail
    if "$@"; then
        die "that should have been refused"
    fi
    sed -n 's/^latchkey: /   device sees:           /p' "$work/steps.txt"
    value "operator's log" "$(log_reason)"
}

[[ -x $latchkey && -x $latchkeyd ]] || die "nothing is built in $build: run make"

cat <<'TEXT'
Latchkey: a device with a TPM 2.0, from its first boot to an IoT hub, with no human touch.

   !  The TPMs here are software (swtpm). A software TPM proves nothing about hardware: whoever
   !  copies its state is the device. It is good for prototypes and tests only.
TEXT

step "0. Set-up: a provisioning service and two TPMs"
ports=$(free_ports 6)
tpm="swtpm:host=127.0.0.1,port=$ports"
tpm2="swtpm:host=127.0.0.1,port=$((ports + 2))"
url=https://localhost:$((ports + 4))
admin=http://127.0.0.1:$((ports + 5))
start_tpm tpm "$ports"
start_tpm other-tpm $((ports + 2))
run "$latchkey" init --data-dir "$work/service" --host localhost --hub "$hub" \
    --listen "127.0.0.1:$((ports + 4))" --admin-listen "127.0.0.1:$((ports + 5))" \
    >"$work/init.txt"
scope=$("$latchkey" scope list --config "$config" --json | jq -r .scope)
"$latchkeyd" --config "$config" 2>"$work/latchkeyd.log" &
started+=($!)
wait_for latchkeyd curl -fsS "$admin/readyz"
value "service" "$url"
value "ID scope" "$scope"

step "1. Factory: read the TPM's public endorsement key, write a manifest line"
device "$tpm" show --json >"$work/shown.json" 2>/dev/null
value "TPM" "$(jq -r '"\(.tpm.manufacturer) \(.tpm.vendor), \(.tpm.kind)"' "$work/shown.json")"
value "endorsement key" "$(jq -r .endorsementKey.type "$work/shown.json"), $(
    jq -r .endorsementKey.recipe "$work/shown.json")"
value "its identity" "$(short "$(jq -r .endorsementKey.id "$work/shown.json")")"
value "its public area" "$(short "$(jq -r .endorsementKey.public "$work/shown.json")")"
device "$tpm" show --manifest csv --header --registration-id truck-0042 >"$work/manifest.csv"
value "manifest line" "$(tail -n 1 "$work/manifest.csv" | cut -c 1-60)..."
srk_before=$(jq -r .storageRootKey.public "$work/shown.json")

step "2. Operator: import the manifest as the enrollment list"
run "$latchkey" enrollment import --config "$config" "$work/manifest.csv" 2>&1 | sed 's/^/   /'

step "3. Device, first boot: it knows only the service's address and the ID scope"
register "$tpm" truck-0042
show_steps
say "The challenge was encrypted to the storage root key and then to the endorsement key; only"
say "this TPM could open it. The hub's key came the same way and never left the TPM."

step "4. The key in the TPM is the one that the hub's registry holds"
token=$("$latchkey" device token --tcti "$tpm" --hub "$hub" --device-id truck-0042 2>/dev/null)
value "token, signed in TPM" "$(short "$token")"
[[ $(hub_check "$token") == 200 ]] || die "the hub refused the token: $(cat "$work/check.json")"
value "hub's answer" "accepted: $(jq -c . "$work/check.json")"
# The same token for a later hour: its signature no longer fits.
forged=$(sed -E 's/se=[0-9]{9}/&9/' <<<"$token")
[[ $(hub_check "$forged") == 401 ]] || die "the hub accepted a token that was tampered with"
value "with another expiry" "refused: $(jq -c . "$work/check.json")"

step "5. Another TPM that claims the same registration ID is refused"
expect_refusal register "$tpm2" truck-0042

step "6. The device changes hands: TPM2_Clear"
run tpm2_clear -T "$tpm" -c l
if "$latchkey" device token --tcti "$tpm" --hub "$hub" --device-id truck-0042 \
    >/dev/null 2>"$work/steps.txt"; then
    die "the old hub credential survived the clear"
fi
value "old hub key" "$(sed -n 's/^latchkey: //p' "$work/steps.txt" | head -n 1)"
say "It registers again, and the operator does nothing:"
register "$tpm" truck-0042
show_steps
"$latchkey" device show --tcti "$tpm" --json >"$work/shown-again.json" 2>/dev/null
srk_after=$(jq -r .storageRootKey.public "$work/shown-again.json")
[[ $srk_before != "$srk_after" ]] || die "the storage root key is still the old one"
[[ $(jq -r .endorsementKey.id "$work/shown.json") == \
    $(jq -r .endorsementKey.id "$work/shown-again.json") ]] || die "another endorsement key"
value "endorsement key" "the same"
value "storage root key" "new: $(short "$srk_after")"
new=$("$latchkey" device token --tcti "$tpm" --hub "$hub" --device-id truck-0042 2>/dev/null)
[[ $(hub_check "$new") == 200 ]] || die "the hub refused the new key: $(cat "$work/check.json")"
value "new hub key" "accepted: $(jq -c . "$work/check.json")"
[[ $(hub_check "$token") == 401 ]] || die "the hub still accepts what the old owner kept"
value "old owner's token" "refused: $(jq -c . "$work/check.json")"

step "7. The operator disables the enrollment"
run "$latchkey" enrollment disable --config "$config" truck-0042 2>&1 | sed 's/^/   /'
expect_refusal register "$tpm" truck-0042

step "Everything above is in the audit record, hash-chained"
run "$latchkey" audit verify --config "$config" 2>&1 | sed 's/^/   /'

cat <<'TEXT'

Done: factory, import, registration, TPM-signed token, impostor, change of owner, ban.
Next: the README's "first device on your own hardware".
TEXT
