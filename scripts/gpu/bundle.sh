#!/usr/bin/env bash
# Packs everything that Lookout needs on a GPU machine with an NVIDIA driver and a Python with PyTorch, but without
# network access, GStreamer or libglib (such as Ubuntu 24.04).
#
#   bundle.sh [--no-build] [--target-dir DIR] [OUTPUT_DIR]
#
#   --no-build        pack the existing binaries of the target folder
#   --target-dir DIR  cargo's target folder; default target/cuda
#   OUTPUT_DIR        default target/gpu-bundle; its folder `bundle` is replaced, and bundle.tar.xz is written into it
#
# The bundle has bin/ (stripped), lib/ (shared libraries other than those of glibc, libstdc++, PyTorch and CUDA),
# plugins/ (GStreamer's), clips/ and env.sh, which bash sources on the GPU machine. The FFmpeg libraries and the clip
# that are built for it are kept in ~/.cache/lookout.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

programs=(lookout lookout-lab lookout-worker lookout-sim)
packages=(-p lookout-cli -p lookout-lab -p lookout-worker -p lookout-sim)
# GStreamer plugins that the worker and lookout-sim use; `coreelements` is libgstcoreelements.so.
plugins=(
    coreelements app playback typefindfunctions videoconvertscale videorate videotestsrc
    rtp rtpmanager rtsp udp tcp sdpelem isomp4 matroska avi videoparsersbad
    nvcodec libav # decoders
    x264          # lookout-sim's encoder
)
# Libraries that the GPU machine has: glibc's, the compiler's (Ubuntu's are newer than Debian 12's), and the driver's.
provided='^(ld-linux-x86-64|lib(c|m|dl|rt|pthread|util|resolv|stdc\+\+|gcc_s|gomp|cuda|nvcuvid|nvidia-.*))\.so\..*$'
# Maximum size of a bundle that can be sent to the machine in addition to the checkout.
max_packed=$((26 << 20))

build=yes
target=''
output=''
while [[ $# -gt 0 ]]; do
    case "$1" in
        --no-build) build='' ;;
        --target-dir)
            target="${2:?--target-dir needs a folder}"
            shift
            ;;
        -*) die "usage: bundle.sh [--no-build] [--target-dir DIR] [OUTPUT_DIR]" ;;
        *) output="$1" ;;
    esac
    shift
done
[[ -z "$output" || "$output" == /* ]] || output="$PWD/$output"
[[ -z "$target" || "$target" == /* ]] || target="$PWD/$target"
output="${output:-$LOOKOUT_ROOT/target/gpu-bundle}"
target="${target:-$LOOKOUT_ROOT/target/cuda}"
x86_64_only "the bundle"
cd "$LOOKOUT_ROOT"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# Fetches libtorch with CUDA into the cache, and prints its folder. libtorch.sh also changes cargo's configuration,
# which would rebuild everything in target/release, so it runs in a copy of its folder.
libtorch_with_cuda() {
    mkdir -p "$scratch/checkout/scripts"
    cp scripts/lib.sh scripts/libtorch.sh "$scratch/checkout/scripts/"
    LOOKOUT_CUDA=1 "$scratch/checkout/scripts/libtorch.sh"
    sed -n 's/^LIBTORCH = "\(.*\)"$/\1/p' "$scratch/checkout/.cargo/config.toml"
}

# Prints the library folder of the libtorch that the worker was linked with: that of LIBTORCH, or the first one in the
# cache that has all libraries that the worker needs.
linked_libtorch() {
    local candidate wanted missing library
    wanted="$(readelf -d "$target/release/lookout-worker" | grep -oE 'lib(torch|c10)[a-z_]*\.so')"
    for candidate in ${LIBTORCH:+"$LIBTORCH"} "$LOOKOUT_CACHE"/libtorch-*/torch "$LOOKOUT_CACHE"/libtorch-*; do
        missing=''
        for library in $wanted; do
            [[ -e "$candidate/lib/$library" ]] || missing=yes
        done
        [[ -n "$missing" ]] || {
            echo "$candidate/lib"
            return
        }
    done
}

if [[ -n "$build" ]]; then
    # An existing LIBTORCH is used, so that a build with another libtorch or path does not compile everything again.
    LIBTORCH="${LIBTORCH:-$(libtorch_with_cuda)}"
    [[ -e "$LIBTORCH/lib/libtorch_cuda.so" ]] || die "$LIBTORCH does not contain a libtorch with CUDA"
    export LIBTORCH
    log "building with $LIBTORCH into $target"
    RUSTFLAGS="-C link-arg=-Wl,-rpath,$LIBTORCH/lib" CARGO_TARGET_DIR="$target" cargo build --release "${packages[@]}"
fi
for program in "${programs[@]}"; do
    [[ -x "$target/release/$program" ]] || die "$target/release/$program is not built; run this without --no-build"
done
torch_lib="$(linked_libtorch)"
[[ -n "$torch_lib" ]] || die "the libtorch that lookout-worker is linked with was not found; set LIBTORCH to its folder"
has_cuda=''
readelf -d "$target/release/lookout-worker" | grep -q 'libtorch_cuda' && has_cuda=yes
[[ -n "$has_cuda" ]] || log "warning: lookout-worker is not linked with libtorch_cuda.so and will not use a GPU"

libav="$(scripts/gpu/libav.sh)"
clip="$(LOOKOUT_BIN="$target/release" LD_LIBRARY_PATH="$torch_lib" scripts/gpu/clip.sh)"
plugin_dir="$(pkg-config --variable=pluginsdir gstreamer-1.0)"
scanner="$(pkg-config --variable=pluginscannerdir gstreamer-1.0)/gst-plugin-scanner"
[[ -x "$scanner" ]] || die "$scanner is missing; 'make setup' installs GStreamer"

bundle="$output/bundle"
log "packing $bundle"
rm -rf "$bundle"
mkdir -p "$bundle"/{bin,lib,plugins,clips}
for program in "${programs[@]}"; do
    strip -o "$bundle/bin/$program" "$target/release/$program"
done
cp -L "$scanner" "$bundle/bin/"
for plugin in "${plugins[@]}"; do
    [[ -f "$plugin_dir/libgst$plugin.so" ]] ||
        die "GStreamer's plugin libgst$plugin.so is missing from $plugin_dir; 'make setup' installs it"
    cp -L "$plugin_dir/libgst$plugin.so" "$bundle/plugins/"
done
cp "$clip" "$bundle/clips/"

# needed FILE...: prints "NAME PATH" for each library that the files load, directly or indirectly; PATH is `not` if the
# library is missing.
needed() {
    LD_LIBRARY_PATH="$libav:$torch_lib" ldd "$@" 2>/dev/null | awk '$2 == "=>" { print $1, $3 }' | sort -u
}

missing=()
while read -r name path; do
    if [[ "$name" =~ $provided || "$path" == "$torch_lib"/* || "$path" == */nvidia/*/lib/* ]]; then
        continue
    elif [[ "$path" == not ]]; then
        missing+=("$name")
    else
        cp -L "$path" "$bundle/lib/$name"
    fi
done < <(needed "$bundle"/bin/* "$bundle"/plugins/*)
[[ ${#missing[@]} -eq 0 ]] || die "these libraries are not installed: ${missing[*]}"
# The libraries from Debian are already stripped; the FFmpeg libraries built here are not.
strip --strip-unneeded "$bundle"/lib/libav* "$bundle"/lib/libsw* 2>/dev/null || true
cp scripts/gpu/env.sh "$bundle/env.sh"

# All libraries must come from the bundle, PyTorch or glibc.
log "checking where each library comes from"
stray="$(for file in "$bundle"/bin/* "$bundle"/plugins/* "$bundle"/lib/*; do
    LD_LIBRARY_PATH="$torch_lib:$bundle/lib" ldd "$file" 2>/dev/null |
        awk -v file="${file#"$bundle/"}" -v bundle="$bundle/lib/" -v torch="$torch_lib/" -v provided="$provided" '
            $2 != "=>" || $1 ~ provided || index($3, bundle) == 1 || index($3, torch) == 1 ||
                $3 ~ /\/nvidia\/[^\/]*\/lib\// { next }
            { print "  " file ": " $1 " => " $3 " " $4 }'
done)"
[[ -z "$stray" ]] || die "these libraries are loaded from elsewhere:
$stray"
# The glibc version that the symbols require: Ubuntu 24.04 has 2.39.
glibc="$(objdump -T "$bundle"/bin/* "$bundle"/plugins/* "$bundle"/lib/* 2>/dev/null |
    grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)"

log "compressing (1 to 3 minutes)"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$output" -cf - bundle |
    xz --x86 --lzma2=preset=9 >"$output/bundle.tar.xz.partial"
mv "$output/bundle.tar.xz.partial" "$output/bundle.tar.xz"

for part in bin lib plugins clips; do
    printf '%-10s %6s\n' "$part" "$(du -sh --apparent-size "$bundle/$part" | cut -f1)"
done
unpacked="$(du -sb "$bundle" | cut -f1)"
packed="$(stat -c %s "$output/bundle.tar.xz")"
awk -v unpacked="$unpacked" -v packed="$packed" -v path="$output/bundle.tar.xz" -v glibc="$glibc" 'BEGIN {
    printf "unpacked %9.1f MiB\npacked   %9.1f MiB  %s\nneeds glibc %s or newer\n", unpacked / 2^20, packed / 2^20,
        path, substr(glibc, 7) }'
((packed <= max_packed)) || die "the packed bundle is larger than $((max_packed >> 20)) MiB"
