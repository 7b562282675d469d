#!/usr/bin/env bash
# Prints the path of a clip in the form that cameras send: 1920x1080, 30 frames/s, 10 s, H.264 at 4 Mbit/s with one key
# frame per second and no B frames, as a byte stream. It shows a road rendered by `lookout sim video`, and is cached.
#
# LOOKOUT_BIN is the folder of the programs; the default is target/release.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name=road-1080p30.h264

fill_clip() {
    local dir="$1" sim="${LOOKOUT_BIN:-$LOOKOUT_ROOT/target/release}/lookout-sim"
    need gst-launch-1.0 "'make setup' installs it"
    [[ -x "$sim" ]] || die "$sim is not built; run 'make build'"
    log "rendering and encoding the clip $name (2 minutes on two cores)"
    "$sim" video "$dir/drawn.mp4" --size 1920x1080 --fps 30 --seconds 10 --seed 900000 >&2
    gst-launch-1.0 --quiet filesrc location="$dir/drawn.mp4" ! qtdemux ! h264parse ! avdec_h264 ! videoconvert ! \
        x264enc speed-preset=fast bitrate=4000 vbv-buf-capacity=1000 key-int-max=30 bframes=0 \
        option-string=scenecut=0:open-gop=0 ! video/x-h264,profile=high ! h264parse config-interval=-1 ! \
        video/x-h264,stream-format=byte-stream,alignment=au ! filesink location="$dir/$name" >&2
    rm "$dir"/drawn.*
}

in_cache "$LOOKOUT_CACHE/gpu-clip-1" fill_clip
echo "$LOOKOUT_CACHE/gpu-clip-1/$name"
