#!/usr/bin/env bash
# Usage: check_format.sh SOURCE_DIR. Fails where clang-format 14 would change a file; other versions format differently.
set -euo pipefail
cd "$1"
for formatter in clang-format-14 clang-format; do
    if "$formatter" --version 2>/dev/null | grep -q 'version 14\.'; then
        find analysis base bench capture compute docs gui model replay tests traces \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) ! -name 'LICENSE*' -print0 |
            xargs -0 "$formatter" --dry-run --Werror
        exit
    fi
done
echo "skipped: no clang-format 14 on this machine"
exit 77
