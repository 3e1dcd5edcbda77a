#!/usr/bin/env bash
# Usage: run_installed.sh CMAKE SOURCE_DIR BUILD_DIR CONFIG. Installs to a prefix of its own and does the main job there, with nothing
# of the build's on any path: record, verify, replay, tabulate, draw; then looks for the other files that users are promised.
set -euo pipefail
cmake=$1 source=$2 build=$3 config=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$cmake" --install "$build" --prefix "$folder/usr" --config "$config" >/dev/null

cd "$folder"
run() { env -i PATH=/usr/bin:/bin HOME="$folder" QT_QPA_PLATFORM=offscreen "$folder/usr/bin/$@"; }
programs=(lava-trace lava-capture lava-prompts lava-replay lava-analyze)
[[ ! -e $build/gui/lava-gui ]] || programs+=(lava-gui)
[[ $(cd usr/bin && echo lava-*) == "$(printf '%s\n' "${programs[@]}" | sort | paste -sd ' ')" ]] ||
    { echo "usr/bin: expected ${programs[*]}, found $(cd usr/bin && echo *)"; exit 1; }
for program in "${programs[@]}"; do
    [[ $(run "$program" --version) == "$program "* ]] || { echo "$program --version: expected its name"; exit 1; }
done
run lava-capture --model "$source/models/stories260K" --prompt-file "$source/data/story.txt" --continue 4 -o trace.h5 >/dev/null
run lava-trace verify trace.h5 >/dev/null
run lava-replay trace.h5 -p lava -p snapkv -b 20% -o report.h5 >/dev/null
run lava-analyze table report.h5 | grep snapkv >/dev/null
[[ ! -e usr/bin/lava-gui ]] || run lava-gui report.h5 --screenshot window.png >/dev/null
[[ ! -e usr/bin/lava-gui || -s window.png ]] || { echo "lava-gui: expected window.png"; exit 1; }

if [[ -e $build/help ]]; then # written where there was a Python
    for program in "${programs[@]}"; do
        for file in "man/man1/$program.1" "bash-completion/completions/$program" "zsh/site-functions/_$program"; do
            [[ -s usr/share/$file ]] || { echo "usr/share/$file: expected a file, found none"; exit 1; }
        done
    done
fi
for file in LICENSE README.md CHANGELOG.md docs/{guide,policies,method,glossary}.md traces/FORMAT.md analysis/FORMAT.md; do
    cmp "usr/share/doc/lava/$file" "$source/$file"
done
for python in /usr/bin/python3 python3; do # the one that has the h5py that apt installs
    if "$python" -c 'import h5py' 2>/dev/null; then
        PYTHONPATH=usr/share/lava/python "$python" -c 'import lava_trace; assert lava_trace.read_trace("trace.h5").layers'
        env -i PATH=/usr/bin:/bin PYTHONPATH=usr/share/lava/python "$python" -c 'import lava_kv
assert len(lava_kv.replay("trace.h5", "lava", "20%").policies[0].budgets) == 1' # the programs are those of the same prefix
        break
    fi
done
python3 -m py_compile usr/share/lava/python/lava_capture.py usr/share/lava/python/lava_kv/*.py # they import torch, which may not be here
[[ ! -L usr/share/lava/python/lava_kv/trace.py ]] || { echo "lava_kv/trace.py: expected a file, found a link"; exit 1; }
if python3 -c 'import torch, transformers' 2>/dev/null; then python3 usr/share/lava/python/lava_capture.py --help >/dev/null; fi
python3 -m py_compile usr/share/lava/convert/*.py
