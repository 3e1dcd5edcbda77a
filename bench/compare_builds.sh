#!/usr/bin/env bash
# Usage: bench/compare_builds.sh COMMIT [TARGET]. Builds TARGET (default: programs) of COMMIT and of HEAD from nothing, at the same time,
# one job each on a core of its own, without CUDA, and prints what each took. LibTorch is that of build/release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $# -ge 1 ]] || { echo "Usage: bench/compare_builds.sh COMMIT [TARGET]" >&2; exit 2; }
target=${2:-programs}
torch=$(sed -n 's/^LAVA_TORCH_DIR:PATH=//p' build/release/CMakeCache.txt)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# NAME COMMIT CORE
build() {
    git clone --quiet . "$work/$1"
    git -C "$work/$1" checkout --quiet "$2"
    cd "$work/$1"
    cmake -G Ninja --preset release -DLAVA_WITH_CUDA=OFF -DLAVA_TORCH_DIR="$torch" >/dev/null
    TIMEFORMAT="$1 ($2): %R s, of it %U s user and %S s system"
    time taskset -c "$3" ninja -j1 -C build/release "$target" >"$work/$1.log"
    tail -n 1 "$work/$1.log" | sed "s/^/$1: /"
}
build before "$1" 0 &
build after "$(git rev-parse --short HEAD)" 1 &
wait
