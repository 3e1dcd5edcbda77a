#!/usr/bin/env bash
# Types that safetensors 0.8.0 reads and those that its numpy side saves, and what becomes of arrays that do not lie in C order. Seen:
#   headers: all of 0.7.0's (BOOL U8 I8 U16 I16 U32 I32 U64 I64 F16 BF16 F32 F64 C64 F8_E4M3 F8_E5M2 F8_E8M0 F6_E2M3 F6_E3M2 F4) and
#     F8_E4M3FNUZ F8_E5M2FNUZ;
#   BF16 and F8 are saved but not loaded again by the numpy side of the same version (KeyError);
#   transposed, strided and reversed arrays: 0.7.0 saves their values, 0.8.0 others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
try() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/pip" --disable-pip-version-check --quiet install "safetensors==$1" numpy==2.4.6 ml_dtypes==0.5.4
    "$work/$1/bin/python" - <<'END'
import json
import ml_dtypes
import numpy as np
import safetensors
from safetensors.numpy import load, save

def known(name, bits):
    header = json.dumps({"x": {"dtype": name, "shape": [8], "data_offsets": [0, bits]}}).encode()
    try:
        safetensors.deserialize(len(header).to_bytes(8, "little") + header + bytes(bits))
        return True
    except safetensors.SafetensorError:
        return False

def loses(kind):
    try:
        load(save({"x": np.zeros(2, getattr(ml_dtypes, kind))}))
        return False
    except KeyError:
        return True

kinds = {"BOOL": 8, "C64": 64, "C128": 128, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
         "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "I4": 4, "U4": 4,
         **{f"{sign}{size}": size for sign in "IU" for size in (8, 16, 32, 64)}}
print(safetensors.__version__, "unknown", *(name for name, bits in kinds.items() if not known(name, bits)))
print("saved, not loaded", *(kind for kind in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu") if loses(kind)))
a = np.arange(6, dtype="f4").reshape(2, 3)
for name, view in {"transposed": a.T, "strided": a[:, ::2], "reversed": a[::-1]}.items():
    print(name, "kept" if np.array_equal(load(save({"x": view}))["x"], view) else "changed", end=" ")
print()
END
}
seen=$(try 0.7.0; try 0.8.0)
echo "$seen"
[ "$seen" = "0.7.0 unknown C128 F8_E4M3FNUZ F8_E5M2FNUZ I4 U4
saved, not loaded bfloat16 float8_e4m3fn float8_e5m2 float8_e8m0fnu
transposed kept strided kept reversed kept 
0.8.0 unknown C128 I4 U4
saved, not loaded bfloat16 float8_e4m3fn float8_e5m2 float8_e8m0fnu
transposed changed strided changed reversed changed " ]
