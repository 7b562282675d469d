#!/usr/bin/env bash
# Debian's and Ubuntu's packages that Lookout is built, run and tested with.
#
#   packages.sh build    what the binaries and the demo need
#   packages.sh test     what the tests need besides
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build=(
    # the compilers, and the fetching of libtorch
    g++ make pkg-config curl ca-certificates unzip python3 python3-pip
    # ingest
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-tools gstreamer1.0-libav
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
    glib-networking # rtsps://
    # sim
    libgstrtspserver-1.0-dev
    # broker
    libcurl4-openssl-dev libssl-dev libsasl2-dev zlib1g-dev libzstd-dev
    # the clip of the demo
    opencv-doc
)
tests=(default-jre-headless maven openssl python3-venv iproute2 kcat jq)
# docker-compose.yml is read by Compose itself, for which no engine is needed. Ubuntu's package of the name that
# Debian has does not start with its Python, and its Chromium is a snap, for which a container has no use: there the
# test of the monitor's page runs with whatever Chromium is installed, or says that it is skipped.
if grep -q '^ID=ubuntu$' /etc/os-release 2>/dev/null; then
    tests+=(docker-compose-v2)
else
    tests+=(docker-compose chromium chromium-driver)
fi

# present PACKAGE: true where it, or the tool that it is wanted for, is already here. Tools count however
# they came: a machine with its own JDK or Python is not given a second one.
present() {
    case "$1" in
        chromium-driver) command -v chromedriver ;;
        chromium | curl | g++ | jq | kcat | make | openssl | pkg-config | python3 | unzip) command -v "$1" ;;
        default-jre-headless) java -version ;;
        docker-compose | docker-compose-v2) docker-compose version || docker compose version ;;
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
        die "this machine has no apt-get; install what these Debian packages hold, then run make again: $*"
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
    *) die "usage: packages.sh build|test" ;;
esac
missing=()
for package in "${wanted[@]}"; do
    present "$package" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] || install "${missing[@]}"
