#!/usr/bin/env bash
# Usage: run_bundle.sh ARCHIVE SITE_PACKAGES [ROOT]. Unpacks a bundle elsewhere and does the main job there, with an empty environment
# but for the torch of SITE_PACKAGES; and without one, and with one of another version, says so in a sentence.
# ROOT is the folder of a system without anything of ours, as `debootstrap --variant=minbase --include=python3-minimal bookworm ROOT`
# makes; then all runs inside it, which takes root.
set -euo pipefail
archive=$1 site=$2 root=${3-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tar -xf "$archive" -C "$folder"
mv "$folder"/lava-* "$folder/some where else"
mkdir -p "$folder"/{work,other/torch/lib}
touch "$folder"/other/torch/{__init__.py,lib/libtorch_cpu.so}
echo "__version__ = '1.2.3+cpu'" >"$folder/other/torch/version.py"

# COMMAND: with the bundle's bin on PATH, the folder as $at; in ROOT where there is one
run() {
    local given=(PATH="/usr/sbin:/usr/bin:/sbin:/bin" HOME=/tmp QT_QPA_PLATFORM=offscreen PYTHONDONTWRITEBYTECODE=1)
    if [[ -z $root ]]; then
        env -i "${given[@]}" at="$folder" site="$site" bash -euc "cd '$folder/work'; PATH=\"\$at/some where else/bin:\$PATH\"; $1"
    else
        root=$root folder=$folder torch=$site unshare -m bash -euc '
            mkdir -p "$root/mnt/lava" "$root/mnt/site"
            mount --bind "$folder" "$root/mnt/lava"
            mount --bind -o ro "$torch" "$root/mnt/site"
            [[ -e $root/proc/self ]] || mount -t proc proc "$root/proc"
            exec chroot "$root" env -i "$@"' run "${given[@]}" at=/mnt/lava site=/mnt/site \
            bash -euc "cd /mnt/lava/work; PATH=\"\$at/some where else/bin:\$PATH\"; $1"
    fi
}

# COMMAND STATUS SENTENCE: ends so, and says this in one line on stderr
refuses() {
    local status=0 said
    said=$(run "$1" 2>&1 >/dev/null) || status=$?
    [[ $status == "$2" && $said == *"$3"* && $(wc -l <<<"$said") == 1 ]] ||
        { echo "$1: expected exit status $2 and a line with '$3', found $status and '$said'"; exit 1; }
}

# Debian's python3 has no torch of its own in ROOT; elsewhere -I keeps the user's out of sight
if [[ -n $root ]]; then refuses "lava-trace --version" 1 "lava-trace: needs LibTorch "; fi
refuses 'PYTHONPATH=$at/other lava-replay --version' 1 "found 1.2.3+cpu in"
refuses 'LAVA_TORCH=/tmp lava-replay --version' 1 "LAVA_TORCH: expected a folder with lib/libtorch_cpu.so, found '/tmp'"
run 'lava-analyze --version && lava-gui --version' # these need none

run 'export PYTHONPATH=$site
share="$at/some where else/share/lava"
lava-capture --model "$share/models/stories260K" --prompt-file "$share/data/story.txt" --continue 4 -o trace.h5
lava-trace verify trace.h5 >/dev/null
lava-replay trace.h5 -p lava -p snapkv -b 20% -o report.h5
lava-replay trace.h5 -p lava -b 20% --closed-loop --model "$share/models/stories260K" -o closed.h5 >/dev/null
lava-analyze table report.h5
lava-analyze plot report.h5 -o charts >/dev/null
lava-gui report.h5 --screenshot window.png'
[[ -s $folder/work/window.png && -n $(ls "$folder/work/charts") ]] || { echo "lava-gui: expected pictures, found none"; exit 1; }
if ! nvidia-smi >/dev/null 2>&1; then
    refuses 'PYTHONPATH=$site lava-replay trace.h5 --device cuda -o cuda.h5' 1 "lava-replay: --device cuda"
    refuses 'PYTHONPATH=$site lava-capture --model "$at/some where else/share/lava/models/stories260K" --prompt x --device cuda -o x.h5' 2 \
        "lava-capture: --device: LibTorch finds no CUDA device"
fi
echo "the bundle runs${root:+ in $root}"
