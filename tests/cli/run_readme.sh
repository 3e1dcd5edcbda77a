#!/usr/bin/env bash
# Usage: run_readme.sh SOURCE_DIR BUILD_DIR. Runs the ```sh blocks of README.md and docs/guide.md, each page's in order and in one
# shell, in a folder of its own that looks like the repository, and compares what a page shows behind a block with what the block
# prints; then runs ```python blocks. Blocks without a language install, build or fetch, or show.
set -euo pipefail
source=$1 build=$2
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# PAGE: runs it
run_page() {
    local work=$folder/${1//\//-}
    mkdir "$work"
    ln -s "$source"/* "$work"
    rm -f "$work/build" "$work/demo"
    mkdir "$work/build"
    ln -s "$build" "$work/build/release"
    python3 "$here/page_blocks.py" split "$source/$1" "$work"
    echo "--- $1"
    (cd "$work" && QT_QPA_PLATFORM=offscreen bash -euxo pipefail commands.sh </dev/null >printed.txt)
    python3 "$here/page_blocks.py" compare "$source/$1" "$work/printed.txt"
    [[ ! -s $work/program.py ]] || run_python "$work"
}

# FOLDER: runs its program.py
run_python() {
    local python
    for python in /usr/bin/python3 python3; do # the one that has the h5py that apt installs
        if "$python" -c 'import h5py' 2>/dev/null; then
            (cd "$1" && PYTHONPATH=$source/traces/python "$python" program.py)
            return
        fi
    done
    echo "the python block needs a python3 with h5py"
    return 1
}

run_page README.md
run_page docs/guide.md
