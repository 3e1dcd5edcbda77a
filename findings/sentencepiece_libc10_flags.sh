#!/usr/bin/env bash
# Debian 12's libsentencepiece (0.1.97-3+b1) and libc10 of torch 2.11.0 both export FLAGS_minloglevel: 32 bytes of the one, 4 of the other.
# Where libc10 was loaded first, sentencepiece's constructor takes c10's and writes over the flags behind it, without a message. One is
# caffe2_use_fatal_for_enforce, false by default: once it is true, an allocation that fails ends the process instead of throwing.
# Needs Debian 12 on x86-64 (apt-get, dpkg), nm and python3. Seen:
#   size of FLAGS_minloglevel: 4 in libc10, 32 in libsentencepiece
#   caffe2_use_fatal_for_enforce: false, with libsentencepiece loaded: true
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --disable-pip-version-check --quiet install --no-deps torch==2.11.0
apt-get download -qq libsentencepiece0=0.1.97-3+b1 2>/dev/null
dpkg -x libsentencepiece0_*.deb root
c10=$(echo "$work"/venv/lib/python3*/site-packages/torch/lib/libc10.so)
sentencepiece=$work/root/usr/lib/x86_64-linux-gnu/libsentencepiece.so.0
size() { echo $((16#$(nm -D -S "$1" | awk '$4 == "FLAGS_minloglevel" { print $2 }'))); }
seen="size of FLAGS_minloglevel: $(size "$c10") in libc10, $(size "$sentencepiece") in libsentencepiece
$(venv/bin/python - "$c10" "$sentencepiece" <<'END'
import ctypes
import sys

c10 = ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
flag = ctypes.c_ubyte.in_dll(c10, "FLAGS_caffe2_use_fatal_for_enforce")
names = ("false", "true")
before = names[flag.value != 0]
ctypes.CDLL(sys.argv[2], ctypes.RTLD_GLOBAL)
print(f"caffe2_use_fatal_for_enforce: {before}, with libsentencepiece loaded: {names[flag.value != 0]}")
END
)"
echo "$seen"
[ "$seen" = "size of FLAGS_minloglevel: 4 in libc10, 32 in libsentencepiece
caffe2_use_fatal_for_enforce: false, with libsentencepiece loaded: true" ]
