#!/usr/bin/env bash
# Usage: run_readme.sh SOURCE_DIR BUILD_DIR. Runs README.md's ```sh blocks, in order and in one shell, then its ```python
# block, in a folder of its own that looks like the repository. Blocks without a language install, build or fetch.
set -euo pipefail
source=$1 build=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$source"/* "$folder"
rm -f "$folder/build" "$folder/demo"
mkdir "$folder/build"
ln -s "$build" "$folder/build/release"

blocks() { awk -v opening="\`\`\`$1" '/^```/ {inside = $0 == opening; next} inside' "$source/README.md"; }
blocks sh >"$folder/commands.sh"
blocks python >"$folder/program.py"
[[ -s $folder/commands.sh && -s $folder/program.py ]] || { echo "README.md: expected \`\`\`sh and \`\`\`python blocks"; exit 1; }

cd "$folder"
QT_QPA_PLATFORM=offscreen bash -euxo pipefail commands.sh </dev/null
for python in /usr/bin/python3 python3; do # the one that has the h5py that apt installs
    if "$python" -c 'import h5py' 2>/dev/null; then
        PYTHONPATH=$source/traces/python "$python" program.py
        exit
    fi
done
echo "README.md: the python block needs a python3 with h5py"
exit 1
