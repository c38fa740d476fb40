# Completion of latchkey(1) for bash. Commands and options come from the program's own help.

_latchkey_commands() { # the words of a table of commands
    "$@" help 2>/dev/null | sed -n '/^commands:/,$s/^  \([a-z-]*\)  *.*/\1/p'
}

_latchkey() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local path=("${COMP_WORDS[0]}") words i

    for ((i = 1; i < COMP_CWORD && i < 3; i++)); do
        [[ ${COMP_WORDS[i]} == -* ]] && break
        path+=("${COMP_WORDS[i]}")
    done
    COMPREPLY=()
    case $prev in
    --*file | --connection-string | --config | --data-dir | --tls-cert | --tls-key)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --ek-recipe | --srk-recipe)
        words='persistent rsa2048 rsa2048-empty-unique ecc-p256'
        ;;
    --manifest)
        words='csv jsonl'
        ;;
    *)
        if [[ $cur == -* ]]; then
            words="$("${path[@]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]+' | sort -u)"
        elif ((COMP_CWORD == ${#path[@]} && COMP_CWORD <= 2)); then
            words=$(_latchkey_commands "${path[@]}")
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "${words:-}" -- "$cur")
    ((${#COMPREPLY[@]})) || [[ $cur == -* ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}

complete -o filenames -F _latchkey latchkey
