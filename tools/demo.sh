#!/usr/bin/env bash
# The main job on this machine, end to end, with software TPMs and a real Mosquitto: from the factory
# to a hub and telemetry, through a change of owner, to a ban. Everything lives in a temporary folder
# and is gone at the end; what else runs on this machine, a Mosquitto too, is left alone.
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
id=truck-0042
PATH=$PATH:/usr/sbin # where Debian has mosquitto
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
        if ((status != 0)); then
            for log in "$work"/latchkeyd.log "$work"/mosquitto.log; do
                [[ -s $log ]] || continue
                echo "--- the end of ${log##*/}:" >&2
                tail -n 5 "$log" >&2
            done
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
    local shown='' word
    for word in "$@"; do
        [[ $word != *[^[:alnum:]_./:=,@%+-]* ]] || word="'$word'"
        shown+=${shown:+ }$word
    done
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
wait_for() { # wait_for WHAT COMMAND...: at most 30 s, and as long as the command takes
    local what=$1
    shift
    for _ in {1..300}; do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.1
    done
    die "waited in vain for $what"
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

# Mosquitto with our plugin, as `latchkey hub mosquitto-config` sets it up, but in our folder and on
# loopback only; and its one operator, for whom it keeps telemetry from now on.
start_broker() {
    local secret
    mkdir -p "$work/broker"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -keyout "$work/broker/hub.key" -out "$work/broker/hub.pem" -subj "/CN=$hub" \
        -addext "subjectAltName=DNS:$hub,IP:127.0.0.1" 2>/dev/null
    secret=$(openssl rand -hex 16)
    (umask 077 && echo "archive:$secret" >"$work/broker/passwords")
    mosquitto_passwd -U "$work/broker/passwords"
    mqtt_settings operator <<END
-h 127.0.0.1
-p $operator_port
-u archive
-P $secret
-i op/archive
-c
-q 1
-t latchkey/#
END
    run "$latchkey" hub mosquitto-config "$hub" --config "$config" \
        --cert "$work/broker/hub.pem" --key "$work/broker/hub.key" --port "$mqtt_port" \
        --passwords "$work/broker/passwords" --operator-port "$operator_port" \
        --plugin "$build/src/mosquitto/latchkey_hub.so" >"$work/mosquitto-config.txt"
    {
        echo "user $(id -un)"
        sed -e "s|/var/lib/mosquitto/|$work/broker/|" -e "s|^listener $mqtt_port\$|& 127.0.0.1|" \
            "$work/mosquitto-config.txt"
    } >"$work/mosquitto.conf"
    mosquitto -c "$work/mosquitto.conf" 2>"$work/mosquitto.log" &
    started+=($!)
    wait_for mosquitto env XDG_CONFIG_HOME="$work/operator" mosquitto_sub -E
    wait_for "the service's link to it" grep -q '"event":"broker.ready"' "$work/latchkeyd.log"
}

# The last line of the operator's log about an event, with what it says of the reason.
logged() {
    local line
    line=$(grep "\"event\":\"$1\"" "$work/latchkeyd.log" | tail -n 1)
    jq -r '.event + (if .reason then ": reason \(.reason)" else "" end)
        + (if .request_id then ", request \(.request_id)" else "" end)' <<<"$line"
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

# Settings of Mosquitto's clients for WHO, one a line, in a file of WHO's own: an argument is no place
# for a password.
mqtt_settings() { # mqtt_settings WHO <SETTINGS
    (
        umask 077
        mkdir -p "$work/$1"
        tee "$work/$1/mosquitto_sub" >"$work/$1/mosquitto_pub"
    )
}

mqtt() { # mqtt WHO COMMAND...: run one of Mosquitto's clients with WHO's settings
    run env XDG_CONFIG_HOME="$work/$1" "${@:2}"
}

# What the device logs on to the hub with, the password signed in its TPM; see `latchkey device
# connect --print`. The broker is on this machine, where the hub's name has no address.
device_logs_on() {
    device "$tpm" connect --hub "$hub" --device-id "$id" --port "$mqtt_port" --json \
        >"$work/settings.json" 2>/dev/null
    jq -r --arg ca "$work/broker/hub.pem" '"-h 127.0.0.1", "-p \(.port)", "--cafile \($ca)",
        "-i \(.clientId)", "-u \(.userName)", "-P \(.password)", "-q 1"' \
        "$work/settings.json" | mqtt_settings device
    value "password" "$(short "$(jq -r .password "$work/settings.json")")"
}

telemetry() { # telemetry WHO BODY
    mqtt "$1" mosquitto_pub -t "devices/$id/messages/events/unit=C" -m "$2" 2>"$work/steps.txt"
}

show_telemetry() { # the next message that waits for the operator has to be this one
    local line
    line=$(mqtt operator mosquitto_sub -v -C 1 -W 30)
    [[ $line == "latchkey/$hub/$id/messages/events/unit=C $1" ]] ||
        die "the operator got another message: $line"
    value "operator sees" "${line% *}"
    value "" "$1"
}

expect_no_logon() { # expect_no_logon WHO: what it sends is not even looked at
    if telemetry "$1" '{"temperature":99.9}'; then
        die "the hub let $1 in"
    fi
    value "client sees" "$(head -n 1 "$work/steps.txt")"
    value "operator's log" "$(logged hub.device_refused)"
}

# Have the device wait for desired properties in the background, with words of mosquitto_sub.
device_listens() {
    mqtt device stdbuf -oL mosquitto_sub -d -F 'got %t %p' "$@" \
        -t '$iothub/twin/PATCH/properties/desired/#' >"$work/device.out" 2>&1 &
    listener=$!
    started+=("$listener")
    wait_for "the device's subscription" grep -q 'Subscribed (' "$work/device.out"
}

listener_ended() { ! kill -0 "$listener"; }

expect_refusal() { # expect_refusal COMMAND...: it must fail
    if "$@"; then
        die "that should have been refused"
    fi
    sed -n 's/^latchkey: /   device sees:           /p' "$work/steps.txt"
    value "operator's log" "$(logged registration.refused)"
}

[[ -x $latchkey && -x $latchkeyd ]] || die "nothing is built in $build: run make"

cat <<'TEXT'
Latchkey: a device with a TPM 2.0, from its first boot to an IoT hub, with no human touch.

   !  The TPMs here are software (swtpm). A software TPM proves nothing about hardware: whoever
   !  copies its state is the device. It is good for prototypes and tests only.
TEXT

step "0. Set-up: a provisioning service, Mosquitto as its hub, and two TPMs"
ports=$(free_ports 8)
tpm="swtpm:host=127.0.0.1,port=$ports"
tpm2="swtpm:host=127.0.0.1,port=$((ports + 2))"
url=https://localhost:$((ports + 4))
admin=http://127.0.0.1:$((ports + 5))
mqtt_port=$((ports + 6))
operator_port=$((ports + 7))
start_tpm tpm "$ports"
start_tpm other-tpm $((ports + 2))
run "$latchkey" init --data-dir "$work/service" --host localhost --hub "$hub" \
    --listen "127.0.0.1:$((ports + 4))" --admin-listen "127.0.0.1:$((ports + 5))" \
    >"$work/init.txt"
printf 'mqtt-socket = %s\n' "$work/hub.sock" >>"$config"
scope=$("$latchkey" scope list --config "$config" --json | jq -r .scope)
"$latchkeyd" --config "$config" 2>"$work/latchkeyd.log" &
started+=($!)
wait_for latchkeyd curl -fsS "$admin/readyz"
start_broker
value "service" "$url"
value "ID scope" "$scope"
value "hub" "$hub, at 127.0.0.1:$mqtt_port"

step "1. Factory: read the TPM's public endorsement key, write a manifest line"
device "$tpm" show --json >"$work/shown.json" 2>/dev/null
value "TPM" "$(jq -r '"\(.tpm.manufacturer) \(.tpm.vendor), \(.tpm.kind)"' "$work/shown.json")"
value "endorsement key" "$(jq -r .endorsementKey.type "$work/shown.json"), $(
    jq -r .endorsementKey.recipe "$work/shown.json")"
value "its identity" "$(short "$(jq -r .endorsementKey.id "$work/shown.json")")"
value "its public area" "$(short "$(jq -r .endorsementKey.public "$work/shown.json")")"
device "$tpm" show --manifest csv --header --registration-id "$id" >"$work/manifest.csv"
value "manifest line" "$(tail -n 1 "$work/manifest.csv" | cut -c 1-60)..."
srk_before=$(jq -r .storageRootKey.public "$work/shown.json")

step "2. Operator: import the manifest as the enrollment list"
run "$latchkey" enrollment import --config "$config" "$work/manifest.csv" 2>&1 | sed 's/^/   /'

step "3. Device, first boot: it knows only the service's address and the ID scope"
register "$tpm" "$id"
show_steps
say "The challenge was encrypted to the storage root key and then to the endorsement key; only"
say "this TPM could open it. The hub's key came the same way and never left the TPM."

step "4. It connects to its hub: Mosquitto, which asks the service about the TPM's signature"
device_logs_on
value "user name" "$(jq -r .userName "$work/settings.json" | cut -c 1-55)..."
telemetry device '{"temperature":21.5}' || die "not sent: $(cat "$work/steps.txt")"
show_telemetry '{"temperature":21.5}'
say "The same token for a later hour: its signature no longer fits."
mkdir -m 0700 "$work/forger"
sed -E 's/se=[0-9]{9}/&9/' "$work/device/mosquitto_pub" >"$work/forger/mosquitto_pub"
expect_no_logon forger

step "5. The operator wishes for something: a desired property"
device_listens -C 1
echo '{"properties":{"desired":{"interval":30}}}' >"$work/wish.json"
value "wish.json" "$(cat "$work/wish.json")"
run "$latchkey" hub twin set "$hub" "$id" --config "$config" --file "$work/wish.json" >/dev/null
wait_for "the desired property" grep -q '^got ' "$work/device.out"
value "device sees" "$(sed -n 's/^got //p' "$work/device.out")"

step "6. Another TPM that claims the same registration ID is refused"
expect_refusal register "$tpm2" "$id"

step "7. The device changes hands: TPM2_Clear"
run tpm2_clear -T "$tpm" -c l
if "$latchkey" device token --tcti "$tpm" --hub "$hub" --device-id "$id" \
    >/dev/null 2>"$work/steps.txt"; then
    die "the old hub credential survived the clear"
fi
value "old hub key" "$(sed -n 's/^latchkey: //p' "$work/steps.txt" | head -n 1)"
say "It registers again, and the operator does nothing:"
register "$tpm" "$id"
show_steps
"$latchkey" device show --tcti "$tpm" --json >"$work/shown-again.json" 2>/dev/null
srk_after=$(jq -r .storageRootKey.public "$work/shown-again.json")
[[ $srk_before != "$srk_after" ]] || die "the storage root key is still the old one"
[[ $(jq -r .endorsementKey.id "$work/shown.json") == \
    $(jq -r .endorsementKey.id "$work/shown-again.json") ]] || die "another endorsement key"
value "endorsement key" "the same"
value "storage root key" "new: $(short "$srk_after")"
say "The new owner's device connects, and from its first log-on the old key is no longer good:"
cp -r "$work/device" "$work/old-owner"
device_logs_on
telemetry device '{"temperature":4.5}' || die "not sent: $(cat "$work/steps.txt")"
show_telemetry '{"temperature":4.5}'
expect_no_logon old-owner

step "8. The device is stolen while it is connected: the operator bans it"
device_listens
run "$latchkey" enrollment disable --config "$config" "$id" --ban --reason "reported stolen" 2>&1 |
    sed 's/^/   /'
wait_for "the end of the device's session" listener_ended
value "operator's log" "$(logged hub.session_cut)"
value "device sees" "its connection ends, and then: $(sed -n 's/^Connection error: //p' "$work/device.out")"
value "operator's log" "$(logged hub.device_refused)"
say "It cannot register anew either:"
expect_refusal register "$tpm" "$id"

step "Everything above is in the audit record, hash-chained"
run "$latchkey" audit verify --config "$config" 2>&1 | sed 's/^/   /'

cat <<'TEXT'

Done: factory, import, registration, telemetry with a TPM-signed token, desired property, impostor,
change of owner, ban.
Next: the README's "first device on your own hardware".
TEXT
