#!/usr/bin/env bash
# HDF5 1.12.2 and 1.14.2 (h5py 3.8.0, 3.11.0): a file that the process holds open with file locking off cannot be reached
# through an external link, even from a file opened with locking off too. HDF5 2.0.0 (h5py 3.16.0) follows that link, but
# refuses where one file was opened with locking on and the other with the default, which the older ones follow.
# Columns: locking of the linked file, of the file with the link. Seen:
#   h5py 3.8.0  HDF5 1.12.2  off/off refused  default/on followed
#   h5py 3.11.0 HDF5 1.14.2  off/off refused  default/on followed
#   h5py 3.16.0 HDF5 2.0.0   off/off followed default/on refused
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset HDF5_USE_FILE_LOCKING
try() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/pip" --disable-pip-version-check --quiet install "h5py==$1" "numpy==$2"
    "$work/$1/bin/python" - "$work" <<'END'
import sys
import h5py

folder = sys.argv[1]
with h5py.File(folder + "/linked.h5", "w") as file:
    file["x"] = [1, 2, 3]
with h5py.File(folder + "/main.h5", "w") as file:
    file["x"] = h5py.ExternalLink("linked.h5", "/x")

def follow(held, main):
    with h5py.File(folder + "/linked.h5", "r", **held), h5py.File(folder + "/main.h5", "r", **main) as file:
        try:
            return "followed" if file["x"][:].tolist() == [1, 2, 3] else "other"
        except KeyError:
            return "refused"

off, on = {"locking": False}, {"locking": True}
print(h5py.__version__, h5py.version.hdf5_version, "off/off", follow(off, off), "default/on", follow({}, on))
END
}
seen=$(try 3.8.0 1.26.4; try 3.11.0 1.26.4; try 3.16.0 2.4.6)
echo "$seen"
[ "$seen" = "3.8.0 1.12.2 off/off refused default/on followed
3.11.0 1.14.2 off/off refused default/on followed
3.16.0 2.0.0 off/off followed default/on refused" ]
