#!/usr/bin/env bash
# Usage: run_completions.sh FOLDER. What bash offers for half a command with the completions in FOLDER/bash-completion/completions, and
# that FOLDER/man/man1 has a page of every program which groff reads without a warning.
set -euo pipefail
share=$1
failed=false

# LINE: what is offered at its end, sorted, in one line
offered() {
    local program=${1%% *}
    (
        set +eu
        source "$share/bash-completion/completions/$program"
        compopt() { :; } # known only where bash itself completes
        COMP_LINE=$1 COMP_POINT=${#1}
        "_${program//-/_}"
        ((${#COMPREPLY[@]})) && printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
    )
}

# LINE EXPECTED
expect() {
    local found
    found=$(offered "$1" || true)
    [[ $found == "$2" ]] || { echo "'$1': expected '$2', found '$found'"; failed=true; }
}

expect "lava-replay --li" "--list-policies"
expect "lava-replay trace.h5 --match r" "retained"
expect "lava-replay trace.h5 --match=n" "nominal"
expect "lava-replay trace.h5 -p layer-d" "layer-defensivekv layer-defensivekv@official layer-defensivekv@paper"
expect "lava-replay trace.h5 --policy h2o@o" "official" # bash replaces what stands behind its word breaks, @ is one
expect "lava-replay trace.h5 -p nothing-of-that-name" ""
expect "lava-trace ver" "verify"
expect "lava-trace synth --head-" "--head-dim"
expect "lava-trace info --head-" ""
expect "lava-analyze table report.h5 -f c" "csv"
expect "lava-prompts -t needle-k" "needle-keys"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/models" && touch "$folder/more.h5"
expect "lava-capture --model $folder/mo" "$folder/models"
expect "lava-trace info $folder/more" "$folder/more.h5"

for program in "$share"/bash-completion/completions/*; do
    name=${program##*/}
    for file in "$share/man/man1/$name.1" "$share/zsh/site-functions/_$name"; do
        [[ -s $file ]] || { echo "$file: expected a file, found none"; failed=true; }
    done
done
if command -v groff >/dev/null; then
    warnings=$(for page in "$share"/man/man1/*.1; do groff -man -Tutf8 -ww -z "$page" 2>&1; done)
    [[ -z $warnings ]] || { echo "$warnings"; failed=true; }
fi
! $failed
