#!/usr/bin/env bash
# What HDF5 of four versions makes of our types and of files that its newest version writes. Seen:
#   float32 to float16, of 65504.5, 1 + 2^-11 (a tie), 2^-25 (a tie) and 3 * 2^-25 (a tie):
#     numpy 7bff 3c00 0000 0002   HDF5 1.12.2, 1.14.2 7bff 3c01 0001 0001   1.14.6, 2.0.0 7c00 3c00 0000 0002
#   an array of ml_dtypes' bfloat16 becomes |V2; the bfloat16 type of HDF5 2.0.0 is read exactly by all four;
#   of what 2.0.0 writes with libver="latest", the older ones cannot read datasets with a filter, and nothing else.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
try() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/pip" --disable-pip-version-check --quiet install "h5py==$1" "numpy==$2" ml_dtypes==0.5.4
    (cd "$work" && "$work/$1/bin/python" - <<'END'
import ctypes
from pathlib import Path
import h5py
import ml_dtypes
import numpy as np

def bits(halves):
    return " ".join(f"{x:04x}" for x in halves.view("u2"))

if h5py.version.hdf5_version == "2.0.0":  # runs first and writes what the others read
    library = ctypes.CDLL(str(next((Path(h5py.__file__).parents[1] / "h5py.libs").glob("libhdf5-*"))))
    library.H5open()
    for name, how in {"contiguous": {}, "chunks": {"chunks": (4,)}, "growing": {"chunks": (4,), "maxshape": (None,)},
                      "deflate": {"compression": "gzip"}, "shuffle": {"shuffle": True}, "fletcher32": {"fletcher32": True}}.items():
        with h5py.File(name + ".h5", "w", libver="latest") as file:
            file.create_dataset("x", data=np.arange(8.0), **how)
    with h5py.File("bfloat16.h5", "w") as file:
        kind = h5py.h5t.TypeFloatID(ctypes.c_int64.in_dll(library, "H5T_FLOAT_BFLOAT16LE_g").value)
        dataset = h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((3,)))
        values = (np.array([0xbfc0, 0x7f7f, 0x0001], "u4") << 16).view("f4")
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=h5py.h5t.NATIVE_FLOAT)

values = np.array([65504.5, 1 + 2**-11, 2**-25, 3 * 2**-25], "f4")
with h5py.File("own.h5", "w") as file:
    halves = file.create_dataset("halves", (4,), "f2")
    halves[:] = values
    file["ml_dtypes"] = np.zeros(2, ml_dtypes.bfloat16)
    print("HDF5", h5py.version.hdf5_version, "halves", bits(halves[:]), "numpy", bits(values.astype("f2")), file["ml_dtypes"].dtype, end="")
with h5py.File("bfloat16.h5") as file:
    found = file["x"][:].view("u4") >> 16
    print(" bfloat16", " ".join(f"{x:04x}" for x in found), end=" unreadable:")
for name in "contiguous chunks growing deflate shuffle fletcher32".split():
    try:
        with h5py.File(name + ".h5") as file:
            file["x"][:]
    except (KeyError, OSError):
        print("", name, end="")
print()
END
    )
}
seen=$(try 3.16.0 2.4.6; try 3.15.1 2.4.6; try 3.11.0 1.26.4; try 3.8.0 1.26.4)
echo "$seen"
own="numpy 7bff 3c00 0000 0002 |V2 bfloat16 bfc0 7f7f 0001 unreadable:"
[ "$seen" = "HDF5 2.0.0 halves 7c00 3c00 0000 0002 $own
HDF5 1.14.6 halves 7c00 3c00 0000 0002 $own deflate shuffle fletcher32
HDF5 1.14.2 halves 7bff 3c01 0001 0001 $own deflate shuffle fletcher32
HDF5 1.12.2 halves 7bff 3c01 0001 0001 $own deflate shuffle fletcher32" ]
