#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages with which Lookout is built, run and tested.
#
#   packages.sh build    packages for the build and the demo
#   packages.sh test     additional packages for the tests
#   packages.sh compose  a Docker engine and Compose, for `make test-compose`
#   packages.sh images   packages with which scripts/compose/base-images.sh makes base images
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build=(
    # compilers, and tools to fetch libtorch
    g++ make pkg-config curl ca-certificates unzip python3 python3-pip
    # ingest
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-tools gstreamer1.0-libav
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
    glib-networking # rtsps://
    # sim
    libgstrtspserver-1.0-dev
    # broker
    libcurl4-openssl-dev libssl-dev libsasl2-dev zlib1g-dev libzstd-dev
    # the demo's clip
    opencv-doc
)
tests=(default-jre-headless maven openssl python3-venv iproute2 kcat jq)
# A test validates docker-compose.yml with Compose, which needs no Docker engine. Ubuntu's package docker-compose does
# not start with Ubuntu's Python, and Ubuntu's Chromium is a snap, which does not run in a container. On Ubuntu, the
# test of the monitor's page therefore uses an installed Chromium, or reports that it is skipped.
compose=(docker.io)
if grep -q '^ID=ubuntu$' /etc/os-release 2>/dev/null; then
    tests+=(docker-compose-v2)
    compose+=(docker-compose-v2 docker-buildx)
else
    tests+=(docker-compose chromium chromium-driver)
    compose+=(docker-compose)
fi
images=(debootstrap default-jre-headless maven)

# present PACKAGE: succeeds if the package, or the tool that it provides, is installed. A tool from another source
# counts too, so that a machine with its own JDK or Python does not get a second one.
present() {
    case "$1" in
        chromium-driver) command -v chromedriver ;;
        chromium | curl | g++ | jq | kcat | make | openssl | pkg-config | python3 | unzip) command -v "$1" ;;
        default-jre-headless) java -version ;;
        docker-buildx) docker buildx version ;;
        docker-compose | docker-compose-v2) docker-compose version || docker compose version ;;
        docker.io) docker version || command -v dockerd ;;
        iproute2) command -v ip ;;
        maven) command -v mvn ;;
        python3-pip) python3 -m pip --version ;;
        python3-venv) python3 -c 'import ensurepip, venv' ;;
        *) [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1")" == installed ]] ;;
    esac >/dev/null 2>&1
}

install() {
    local as_root=()
    command -v apt-get >/dev/null 2>&1 ||
        die "this machine has no apt-get; install the equivalents of these Debian packages, then run make again: $*"
    if [[ "$(id -u)" -ne 0 ]]; then
        need sudo "become root, or install as root: apt-get install $*"
        as_root=(sudo)
    fi
    log "installing system packages: $*"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2
}

case "${1:-}" in
    build) wanted=("${build[@]}") ;;
    test) wanted=("${tests[@]}") ;;
    compose) wanted=("${compose[@]}") ;;
    images) wanted=("${images[@]}") ;;
    *) die "usage: packages.sh build|test|compose|images" ;;
esac
missing=()
for package in "${wanted[@]}"; do
    present "$package" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] || install "${missing[@]}"
