#!/usr/bin/env bash
# Runs an unpacked bundle in a root directory that contains only glibc, libstdc++, libtorch and the bundle.
#
#   bare_root.sh [BUNDLE_DIR]        default target/gpu-bundle/bundle; needs root
#
# A worker decodes the clip as a file and over RTSP (from rtsp_server.py, which runs outside the root), and must publish
# records of both. LOOKOUT_TORCH is the folder with lib/libtorch_cpu.so of the libtorch that the bundle was linked with;
# the default is the one with CUDA in the cache.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

bundle="$(cd "${1:-$LOOKOUT_ROOT/target/gpu-bundle/bundle}" && pwd)"
torch="${LOOKOUT_TORCH:-$(printf '%s\n' "$LOOKOUT_CACHE"/libtorch-*/torch | head -n 1)}"
seconds=30
[[ "$(id -u)" -eq 0 ]] || die "run this as root: it uses chroot and mounts"
[[ -e "$torch/lib/libtorch_cpu.so" ]] || die "no libtorch in $torch/lib; set LOOKOUT_TORCH"

# The mounts are made in a separate mount namespace, which disappears when this script ends.
if [[ -z "${LOOKOUT_CHECK_INSIDE:-}" ]]; then
    LOOKOUT_CHECK_INSIDE=yes exec unshare --mount --propagation private "$0" "$bundle"
fi

root="$(mktemp -d)"
server=''
finish() {
    if [[ -n "$server" ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    umount --recursive --lazy "$root" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap finish EXIT
mount -t tmpfs tmpfs "$root"
mkdir -p "$root"/{proc,dev,tmp,etc,lib64,usr/lib,site/torch,site/nvidia,bundle}
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
for name in libc libm libdl librt libpthread libutil libresolv libstdc++ libgcc_s; do
    cp -L /lib/x86_64-linux-gnu/$name.so.[0-9] "$root/usr/lib/"
done
mkdir -p "$root/usr/lib/x86_64-linux-gnu" "$root/lib"
mv "$root"/usr/lib/*.so.* "$root/usr/lib/x86_64-linux-gnu/"
ln -s ../usr/lib/x86_64-linux-gnu "$root/lib/x86_64-linux-gnu"
mount --bind "$bundle" "$root/bundle"
mount --bind "$torch" "$root/site/torch"
nvidia="${torch%/torch}/nvidia"
[[ ! -d "$nvidia" ]] || mount --bind "$nvidia" "$root/site/nvidia"
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"

python3 "$LOOKOUT_ROOT/scripts/gpu/rtsp_server.py" "$bundle"/clips/*.h264 --cameras 1 >"$root/tmp/server" &
server=$!
until grep -q '^ready' "$root/tmp/server" 2>/dev/null; do
    kill -0 "$server" || die "rtsp_server.py did not start"
    sleep 0.1
done
cat >"$root/tmp/pipeline.toml" <<EOF
name = "check"
[model]
arch = "resnet18"
weights = "random:0"
device = "cpu"
[[camera]]
id = "file"
uri = "/bundle/clips/$(basename "$bundle"/clips/*.h264)"
file_fps = 30
fps = 1
[[camera]]
id = "rtsp"
uri = "rtsp://$(sed -n 's/^ready //p' "$root/tmp/server")/camera-1"
fps = 1
EOF

# env.sh is sourced here, because the bare root has no shell. Its paths are then mapped to those inside the root.
mapfile -t environment < <(
    # shellcheck source=SCRIPTDIR/env.sh
    LOOKOUT_TORCH="$torch" source "$bundle/env.sh"
    env | grep -E '^(LD_LIBRARY_PATH|GST_[A-Z_0-9]*)=' |
        sed -e "s|$bundle|/bundle|g; s|$nvidia|/site/nvidia|g; s|$torch|/site/torch|g"
)
bare() { timeout --signal=INT "$seconds" env -i HOME=/tmp "${environment[@]}" "$(command -v chroot)" "$root" "$@"; }

for program in "$bundle"/bin/lookout*; do
    log "$(bare "/bundle/bin/${program##*/}" --version 2>&1)"
done
bare /bundle/bin/lookout doctor /tmp/pipeline.toml || die "lookout doctor reported the problems above"
log "lookout run in a root with $(find "$root/usr" "$root/lib64" -type f | wc -l) libraries, for $seconds s"
bare /bundle/bin/lookout run /tmp/pipeline.toml --summary json >"$root/tmp/summary" 2>"$root/tmp/log" || {
    status=$?
    # 124: timeout has stopped the worker with SIGINT, because the RTSP camera does not end.
    [[ "$status" -eq 124 ]] || die "the worker ended with exit code $status: $(tail -n 20 "$root/tmp/log")"
}
cat "$root/tmp/summary"
python3 -c 'import json, sys
cameras = json.load(open(sys.argv[1]))["cameras"]
sys.exit(not all(cameras[name]["delivered"] for name in ("file", "rtsp")))' "$root/tmp/summary" ||
    die "the worker did not publish records of both cameras: $(tail -n 20 "$root/tmp/log")"
log "the bundle runs without other libraries"
