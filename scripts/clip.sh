#!/usr/bin/env bash
# Prints the path of the demo's clip: people walking, 768x576, 795 frames, from Debian's opencv-doc.
#
# Container images often configure dpkg to skip documentation, so that the clip can be missing although the package is
# installed. In this case the clip is unpacked into the cache.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

data=usr/share/doc/opencv-doc/examples/data

# find_in ROOT: prints the path of the clip under ROOT, after decompressing it if necessary.
find_in() {
    local clip="$1/$data/vtest.avi"
    if [[ -f "$clip" ]]; then
        echo "$clip"
    elif [[ -f "$clip.gz" ]]; then
        mkdir -p "$LOOKOUT_CACHE"
        gunzip --stdout "$clip.gz" >"$LOOKOUT_CACHE/vtest.avi.partial"
        mv "$LOOKOUT_CACHE/vtest.avi.partial" "$LOOKOUT_CACHE/vtest.avi"
        echo "$LOOKOUT_CACHE/vtest.avi"
    else
        return 1
    fi
}

fetch() {
    local root="$1"
    need apt-get "set LOOKOUT_CLIP to a video of your own instead"
    log "fetching the demo's clip (Debian's opencv-doc)"
    mkdir "$root/package"
    # apt's sandbox user has no write access to the cache.
    (cd "$root/package" && apt-get -o APT::Sandbox::User=root download -qq opencv-doc >&2) ||
        die "apt-get could not download opencv-doc; set LOOKOUT_CLIP to a video of your own instead"
    dpkg-deb --fsys-tarfile "$root/package"/opencv-doc_*.deb |
        tar -x -C "$root" --wildcards "./$data/vtest.avi*"
    rm -r "$root/package"
}

if [[ -n "${LOOKOUT_CLIP:-}" ]]; then
    [[ -f "$LOOKOUT_CLIP" ]] || die "LOOKOUT_CLIP is not a file: $LOOKOUT_CLIP"
    echo "$LOOKOUT_CLIP"
elif ! find_in ""; then
    in_cache "$LOOKOUT_CACHE/opencv-doc" fetch
    find_in "$LOOKOUT_CACHE/opencv-doc"
fi
