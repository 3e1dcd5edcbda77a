#!/usr/bin/env bash
# Usage: make_bundle.sh SOURCE_DIR BUILD_DIR ARCHIVE [PROGRAM...]. Packs what BUILD_DIR installs, the libraries that it needs and more
# PROGRAMs of BUILD_DIR (paths from there, for the kit in bench/gpu) into one archive (.tar.xz, .tar.zst or .tar.gz), which runs from
# any folder. Not packed are the C library and LibTorch, which `launch` finds.
set -euo pipefail
source=$1 build=$2 archive=$3
shift 3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { echo "bundle: $*" >&2; exit 1; }
value_of() { sed -n "s|^$1:[A-Z]*=||p" "$build/CMakeCache.txt"; }

case $archive in
*.tar.xz) pack=(xz -T0 -6) ;;
*.tar.zst) pack=(zstd -q -T0 -15) ;;
*.tar.gz) pack=(gzip -9) ;;
*) fail "--output: expected a name that ends with .tar.xz, .tar.zst or .tar.gz, found '$archive'" ;;
esac
command -v "${pack[0]}" >/dev/null || fail "--output: $archive needs the program ${pack[0]}, found none"

version=$(value_of CMAKE_PROJECT_VERSION)
torch=$(value_of LAVA_TORCH_DIR)
work=$(mktemp -d "${TMPDIR:-/tmp}/lava-bundle.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/lava-$version-linux-$(uname -m)

# The installed tree, its programs behind the launcher
programs_behind_launcher() {
    cmake --install "$build" --prefix "$root" --strip >/dev/null
    mv "$root/bin" "$root/libexec"
    mkdir "$root/bin"
    for program in "$root"/libexec/*; do ln -s ../libexec/launch "$root/bin/${program##*/}"; done
    ((!$#)) || mkdir -p "$root/kit/bin"
    for program in "$@"; do
        cp "$build/$program" "$root/libexec/"
        strip "$root/libexec/${program##*/}"
        ln -s ../../libexec/launch "$root/kit/bin/${program##*/}"
    done
    printf 'foreach(file %s)\nfile(RPATH_REMOVE FILE "${file}")\nendforeach()\n' "$(printf '"%s" ' "$root"/libexec/*)" >"$work/rpath.cmake"
    linked_torch=$(for program in "$root"/libexec/*; do ! readelf -d "$program" | grep -q 'NEEDED.*libtorch' || echo "${program##*/}"; done)
}

# FILE...: the libraries of the system that they need, one a line, without the C library's; LibTorch's they find by their RUNPATHs
libraries_of() {
    local file
    for file in "$@"; do ldd "$file"; done |
        awk '/not found/ { print "bundle: " $1 " is needed and not found" > "/dev/stderr"; exit 1 } $2 == "=>" { print $3 }' | sort -u |
        grep -E '^(/usr)?/lib' | grep -vE '/(libc|libm|libdl|libpthread|librt|libresolv|libutil|libanl|libnsl|ld-linux[^/]*)\.so'
}

qt_plugins() {
    local plugins kind
    plugins=$(qmake6 -query QT_INSTALL_PLUGINS 2>/dev/null) || plugins=/usr/lib/$(uname -m)-linux-gnu/qt6/plugins
    [[ -e $plugins/platforms/libqoffscreen.so ]] || fail "Qt's plugins: expected platforms/libqoffscreen.so in $plugins, found none"
    for kind in platforms/libq{offscreen,minimal,xcb}.so iconengines/libqsvgicon.so imageformats/libqsvg.so xcbglintegrations/libqxcb-glx-integration.so; do
        [[ ! -e $plugins/$kind ]] || install -D -m 644 "$plugins/$kind" "$root/lib/qt6/plugins/$kind"
    done
    printf '[Paths]\nPrefix=..\nPlugins=lib/qt6/plugins\n' >"$root/libexec/qt.conf"
    install -D -m 644 -t "$root/share/fonts" /usr/share/fonts/truetype/dejavu/DejaVuSans{,-Bold,Mono}.ttf
    cat >"$root/share/fonts/fonts.conf" <<'END'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">.</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
END
}

libraries() {
    local library folder package
    mkdir -p "$root"/lib/{runtime,gl} "$root/share/doc/lava/licences"
    libraries_of $(find "$root/libexec" "$root/lib" -type f -not -name '*.conf' -size +1k) >"$work/libraries"
    while IFS= read -r library; do
        case ${library##*/} in
        libstdc++.* | libgcc_s.* | libgomp.*) folder=lib/runtime ;;
        libEGL.* | libGLX.* | libGLdispatch.* | libOpenGL.*) folder=lib/gl ;;
        *) folder=lib ;;
        esac
        install -m 644 -t "$root/$folder" "$library"
        package=$(dpkg-query -S "$(realpath "$library")" 2>/dev/null | cut -d: -f1) || continue
        cp -L "/usr/share/doc/$package/copyright" "$root/share/doc/lava/licences/$package" 2>/dev/null || true
    done <"$work/libraries"
}

# PREFIX: the latest symbol version with it that anything here asks for
latest() {
    { find "$root/libexec" "$root/lib" -type f -size +1k -not -path '*/runtime/*' -exec readelf -VW {} + 2>/dev/null || true; } |
        grep -oE "$1_[0-9.]+" | sort -uV | tail -n 1
}

what_was_linked() {
    local torch_version glibc
    torch_version=$(sed -n "s/^__version__ = '\([^'+]*\).*/\1/p" "$torch/version.py" 2>/dev/null || cut -d+ -f1 "$torch/build-version")
    glibc=$(latest GLIBC)
    printf '%s="%s"\n' torch_version "$torch_version" torch_programs "${linked_torch//$'\n'/ }" \
        glibc "${glibc#GLIBC_}" glibcxx "$(latest GLIBCXX)" >"$root/libexec/linked"
    sed "s/@version@/$version/; s/@machine@/$(uname -m)/; s/@glibc@/${glibc#GLIBC_}/; s/@torch@/$torch_version/g" "$here/README.txt" >"$root/README.txt"
}

programs_behind_launcher "$@"
if [[ -e $root/libexec/lava-gui ]]; then qt_plugins; fi
libraries
cmake -P "$work/rpath.cmake" >/dev/null 2>&1 || fail "the programs' RUNPATHs could not be removed"
install -m 755 "$here/launch" "$root/libexec/launch"
what_was_linked
mkdir -p "$root/share/lava/data"
cp -r "$source/models" "$root/share/lava/models"
cp "$source"/data/story* "$root/share/lava/data/"
if (($#)); then cp "$source"/bench/gpu/* "$root/kit/"; fi
find "$root" -name __pycache__ -prune -exec rm -rf {} +

tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf - "${root##*/}" | "${pack[@]}" >"$archive.part"
mv "$archive.part" "$archive"
echo "$archive: $(du -h --apparent-size "$archive" | cut -f1)B, $(du -sh --apparent-size "$root" | cut -f1)B unpacked"
