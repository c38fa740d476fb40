# Completion of latchkey(1) for bash. Commands and options come from the program's own help.

_latchkey_commands() { # the words of a table of commands; none of a command by itself
    "$@" --help 2>/dev/null | sed -n '/^commands:/,$s/^  \([a-z-]*\)  *.*/\1/p'
}

_latchkey() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local path=("${COMP_WORDS[0]}") words i

    for ((i = 1; i < COMP_CWORD && i < 4; i++)); do
        [[ ${COMP_WORDS[i]} == -* ]] && break
        path+=("${COMP_WORDS[i]}")
    done
    COMPREPLY=()
    case $prev in
    --profile)
        words=$(sed -n 's/^ *\[ *\([A-Za-z0-9._-]*\) *\].*/\1/p' \
            "${XDG_CONFIG_HOME:-$HOME/.config}/latchkey/profiles.conf" 2>/dev/null)
        ;;
    --*file | --config | --connection-string | --connection | --data-dir | --tls-cert | --tls-key | --certificate | \
        --signing-certificate | --signature | --initial-twin)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --ek-recipe | --srk-recipe)
        words='persistent rsa2048 rsa2048-empty-unique ecc-p256'
        ;;
    --manifest | --format)
        words='csv jsonl'
        ;;
    --reprovision)
        words='migrate reset never'
        ;;
    --allocation)
        words='hashed geoLatency static custom default'
        ;;
    --rights)
        words='ServiceConfig EnrollmentRead EnrollmentWrite DeviceConnect RegistrationStatusRead
            RegistrationStatusWrite'
        ;;
    *)
        if [[ $cur == -* ]]; then
            words="$("${path[@]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]+' | sort -u)"
        elif ((COMP_CWORD == ${#path[@]} && COMP_CWORD <= 3)); then
            words=$(_latchkey_commands "${path[@]}")
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "${words:-}" -- "$cur")
    ((${#COMPREPLY[@]})) || [[ $cur == -* ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}

complete -o filenames -F _latchkey latchkey
