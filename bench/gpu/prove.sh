#!/usr/bin/env bash
# Usage: prove.sh [--rehearse] [--output DIR] [BUNDLE]. On a machine with an NVIDIA GPU: runs the tests that need one, then measures, and
# prints one table, in less than nine minutes. BUNDLE is an archive of `./lava bundle --kit` or the folder that it unpacks to (default: the
# one that this script lies in). Logs and what a step needs of another lie in DIR (default: prove); a second run goes on with the
# steps that did not end well. --rehearse goes the same way with tiny models on the CPU, where there is no GPU.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bundle="" output=prove rehearse=false only=""
fail() { echo "prove.sh: $*" >&2; exit "${status:-1}"; }
while (($#)); do
    case $1 in
    --rehearse) rehearse=true ;;
    --output) output=${2-} && shift $(($# > 1)) ;;
    --step) only=${2-} && shift $(($# > 1)) ;; # how this script starts each of its steps
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# //p}' "${BASH_SOURCE[0]}"; exit ;;
    -*) status=2 fail "unknown option '$1'; --help says what there is" ;;
    *) bundle=$1 ;;
    esac
    shift
done
[[ -n $output ]] || status=2 fail "--output: expected a folder"
mkdir -p "$output/logs" && output=$(cd "$output" && pwd) || fail "--output: $output cannot be made"

# tar may lack xz, Python's tarfile seldom does
if [[ -f $bundle ]]; then
    if [[ ! -d $output/bundle ]]; then
        rm -rf "$output/unpacked" && mkdir "$output/unpacked"
        tar -xf "$bundle" -C "$output/unpacked" 2>/dev/null ||
            python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$bundle" "$output/unpacked" ||
            fail "$bundle cannot be unpacked"
        mv "$output"/unpacked/*/ "$output/bundle"
    fi
    bundle=$output/bundle
fi
[[ -n $bundle ]] || bundle=$here/..
[[ -x $bundle/bin/lava-capture ]] || status=2 fail "expected a bundle with bin/lava-capture, found none in '$bundle'"
export PATH=$(cd "$bundle" && pwd)/bin:$(cd "$bundle" && pwd)/kit/bin:$PATH
begin=$SECONDS whole=530 # seconds of all steps together
if $rehearse; then device=cpu tokens=700 long=900 shapes=(tiny-llama tiny-qwen); else device=cuda tokens=32768 long=131072 shapes=(llama3-8b qwen3-8b); fi

result() { echo "RESULT $*"; }
# PROGRAM: whether this bundle has it; 77 says that a step is left out
has() { [[ -e $bundle/libexec/$1 ]] || { result "left out: the bundle has no $1"; exit 77; }; }

# --- steps: each ends with 0 where all is well, and prints a line that begins with RESULT

step_tests_attention() { gtest test_cuda_attention '*'; }
step_tests_replay() { gtest test_cuda_replay '*'; }
step_tests_cpu() { gtest test_compute '*'; }

# PROGRAM FILTER: on a GPU nothing may be skipped
gtest() {
    has "$1"
    "$1" --gtest_filter="$2" --gtest_brief=0 >"$output/$1.txt" 2>&1
    local ended=$? passed skipped
    grep -vE '^\[ +(OK|RUN) ' "$output/$1.txt"
    passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$output/$1.txt") skipped=$(grep -c '^\[  SKIPPED \] .*ms)' "$output/$1.txt")
    result "${passed:-0} passed, $skipped skipped"
    [[ $ended == 0 ]] && { $rehearse || [[ $1 == test_compute ]] || ((skipped == 0)); }
}

step_sanitizer() {
    has test_cuda_attention
    local tool
    command -v compute-sanitizer >/dev/null || { result "left out: no compute-sanitizer on PATH"; exit 77; }
    for tool in memcheck racecheck; do
        compute-sanitizer --tool "$tool" --error-exitcode 1 --target-processes all test_cuda_attention --gtest_filter='*DeviceAttention*/0' || return 1
    done
    result "memcheck and racecheck found nothing"
}

# SHAPE: its folder, made once
model() {
    local folder=$output/models/$1
    [[ -f $folder/config.json ]] || python3 "$here/make_model.py" "$1" "$folder" --tokens "$long"
}

# SHAPE TOKENS [OPTION...]: seconds that recording takes, loading included
seconds_of_capture() {
    local from=$EPOCHREALTIME ids=$output/ids-$2.json
    python3 -c 'import json, sys; json.dump(json.load(open(sys.argv[1]))[:int(sys.argv[2])], open(sys.argv[3], "w"))' \
        "$output/models/$1/prompt.json" "$2" "$ids" || return 1
    lava-capture --model "$output/models/$1" --ids "$ids" --device "$device" --dtype bfloat16 --continue 1 "${@:3}" >&2 || return 1
    awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f\n", b - a }'
}

capture() {
    model "$1" || return 1
    local short all size
    short=$(seconds_of_capture "$1" 256 -o "$output/short.h5") && all=$(seconds_of_capture "$1" "$2" -o "$output/$1-$2.h5") || return 1
    size=$(stat -c %s "$output/$1-$2.h5")
    lava-trace verify "$output/$1-$2.h5" >&2 || return 1
    awk -v a="$all" -v s="$short" -v t="$2" -v b="$size" 'BEGIN { printf "RESULT %d tokens: %.1f s, of which loading %.1f s; trace %.1f GB\n", t, a, s, b / 1e9 }'
}

step_capture_llama() { capture "${shapes[0]}" "$tokens"; }
step_capture_qwen() { capture "${shapes[1]}" "$tokens"; rm -f "$output/${shapes[1]}-$tokens.h5"; }
step_capture_long() { capture "${shapes[0]}" "$long"; local ended=$?; rm -f "$output/${shapes[0]}-$long.h5"; return $ended; }
step_plain_prefill() { model "${shapes[0]}" && python3 "$here/plain_prefill.py" "$output/models/${shapes[0]}/config.json" "$tokens" "$device"; }
step_kernels() { has lava-bench-cuda; lava-bench-cuda --tokens 32768 --runs 3 && result "see the log"; }

# The trace of step_capture_llama on the CPU and on the GPU
step_replay() {
    local trace=$output/${shapes[0]}-$tokens.h5 where from
    [[ -f $trace ]] || { result "left out: capture_llama made no trace"; exit 77; }
    for where in cpu "$device"; do
        from=$EPOCHREALTIME
        lava-replay "$trace" --no-verify --device "$where" -p lava -p snapkv -p h2o -p tova -b 20%,10%,5% --csv "$output/replay-$where.csv" >&2 || return 1
        awk -v w="$where" -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { printf "%s: %.1f s\n", w, b - a }'
    done
    python3 "$here/compare_tables.py" "$output/replay-cpu.csv" "$output/replay-$device.csv"
}

# --- what runs them

# NAME LIMIT: in a shell of its own, of which the log is kept; what ended well is not done again
step() {
    local name=$1 limit=$2 left=$((whole - (SECONDS - begin))) log=$output/logs/$1.log from=$SECONDS ended state
    if [[ $(head -n 1 "$output/logs/$name.state" 2>/dev/null) == ok* ]]; then return; fi
    ((limit <= left)) || limit=$left
    ((limit > 0)) || { echo "no time left" >"$output/logs/$name.state"; return; }
    echo "prove.sh: $name (at most $limit s)" >&2
    timeout -k 5 "$limit" bash "${BASH_SOURCE[0]}" "${again[@]}" --step "$name" >"$log" 2>&1
    ended=$?
    case $ended in 0) state=ok ;; 77) state="left out" ;; 124 | 137) state="over $limit s" ;; *) state="FAILED ($ended)" ;; esac
    printf '%s\n%s\n' "$state" $((SECONDS - from)) >"$output/logs/$name.state"
}

table() {
    local name log
    printf '\n%-16s %-12s %8s  %s\n' step state seconds result
    for name in "${steps[@]}"; do
        log=$output/logs/$name.log
        printf '%-16s %-12s %8s  %s\n' "$name" "$(sed -n 1p "$output/logs/$name.state")" "$(sed -n 2p "$output/logs/$name.state")" \
            "$( (grep '^RESULT ' "$log" || tail -n 1 "$log") 2>/dev/null | tail -n 1 | sed 's/^RESULT //' | cut -c 1-110)"
    done
}

if [[ -n $only ]]; then
    "step_$only"
    exit
fi
again=(--output "$output" "$bundle")
if $rehearse; then
    again+=(--rehearse)
else
    said=$(lava-capture --model "$bundle/share/lava/models/stories260K" --prompt x --continue 1 --device cuda -o "$output/first.h5" 2>&1 >/dev/null) ||
        fail "no GPU can be used: ${said##*$'\n'}"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$output/logs/gpu.txt"
fi
steps=(tests_attention tests_replay tests_cpu sanitizer kernels plain_prefill capture_llama replay capture_qwen capture_long)
limits=(60 60 60 40 60 30 90 60 90 120)
for at in "${!steps[@]}"; do step "${steps[at]}" "${limits[at]}"; done
table | tee "$output/table.txt"
! grep -qE 'FAILED|over [0-9]+ s|no time left' "$output/table.txt"
