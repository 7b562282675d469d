#!/usr/bin/env bash
# Builds FFmpeg's libraries with only the video decoders that cameras need, into the cache; prints their folder.
#
# Debian's libavcodec depends on 130 libraries (encoders, filters, X11), 60 MiB compressed, which is too large for the
# bundle of a GPU machine. Debian's gst-libav works with this build, because it has the same version and the same symbol
# versions. The build takes 2 minutes on two cores.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

decoders=h264,hevc,mjpeg,mpeg4
parsers=h264,hevc,mjpeg,mpeg4video

# apt_sources DIR ARGS...: runs apt-get with this distribution's source packages and separate package lists in DIR.
apt_sources() {
    local dir="$1"
    shift
    apt-get -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$dir/lists" -o APT::Sandbox::User=root -qq "$@" >&2
}

fill_libav() {
    local dir="$1" version="$2" work="$1/work" codename
    # shellcheck source=/dev/null
    codename="$(source /etc/os-release && echo "$VERSION_CODENAME")"
    log "building the video decoders of FFmpeg $version (10 MB)"
    mkdir -p "$work/lists/partial"
    local signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
    printf '%s\n' "deb-src $signed http://deb.debian.org/debian $codename main" \
        "deb-src $signed http://deb.debian.org/debian-security $codename-security main" \
        "deb $signed http://deb.debian.org/debian $codename main" >"$work/sources.list"
    (
        cd "$work"
        apt_sources "$work" update
        apt_sources "$work" source --download-only "ffmpeg=$version"
        apt_sources "$work" download nasm
        dpkg-deb -x nasm_*.deb nasm
        mkdir source
        tar -xf ffmpeg_*.orig.tar.xz -C source --strip-components 1
        cd source
        PATH="$work/nasm/usr/bin:$PATH"
        ./configure --prefix="$dir/out" --disable-everything --disable-autodetect --disable-programs --disable-doc \
            --disable-network --disable-avdevice --disable-static --enable-shared --disable-debug \
            --enable-decoder="$decoders" --enable-parser="$parsers" >"$work/configure.log" ||
            die "FFmpeg's configure failed: $(tail -n 5 "$work/configure.log")"
        nice make -j"$(nproc)" install >"$work/make.log" 2>&1 ||
            die "FFmpeg does not build: $(tail -n 20 "$work/make.log")"
    )
    mv "$dir/out/lib" "$dir/lib"
    rm -r "$work" "$dir/out"
}

x86_64_only "FFmpeg"
need apt-get "this script downloads FFmpeg's source from Debian"
version="$(dpkg-query --show --showformat='${Version}' libavcodec59 2>/dev/null)" ||
    die "libavcodec59 is not installed: run this on Debian 12 after 'make setup'"
in_cache "$LOOKOUT_CACHE/libav-${version#*:}" fill_libav "$version"
echo "$LOOKOUT_CACHE/libav-${version#*:}/lib"
