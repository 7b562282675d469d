#!/usr/bin/env bash
# Builds the images of docker-compose.yml.
#
#   images.sh current     with `docker compose build`
#   images.sh previous    the images `worker` and `lookout` of LOOKOUT_PREVIOUS, a commit, by default the one before HEAD;
#                         their tag is `previous`
#
# On Debian 12, cargo compiles the programs outside of Docker, in target/, which `make build` and `make test` also use. On
# other systems they are compiled in the image build. LOOKOUT_PROGRAMS=FOLDER uses the programs in FOLDER instead.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

programs=(lookout lookout-worker lookout-lab)
packages=(-p lookout-cli -p lookout-worker -p lookout-lab)
target="${CARGO_TARGET_DIR:-$LOOKOUT_ROOT/target}"
export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1

# Succeeds if programs that are built on this machine run in the images.
is_debian_12() {
    grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release && [[ "$(uname -m)" == x86_64 ]]
}

# stage FOLDER ROOT: copies the programs of FOLDER to where the Dockerfile of ROOT expects them.
stage() {
    local program
    mkdir -p "$2/target/images"
    for program in "${programs[@]}"; do
        install --strip -t "$2/target/images" "$1/$program"
    done
}

# compile ROOT: compiles the programs of the source code in ROOT.
compile() {
    (cd "$1" && CARGO_TARGET_DIR="$target" cargo build --release --locked "${packages[@]}")
}

current() {
    local form=compiled services=(worker tail monitor cameras prometheus) compose
    read -ra compose <<<"${COMPOSE:-docker-compose}"
    # Without its base image, the image of Grafana cannot be built.
    if docker image inspect "$(grep -oE 'grafana/grafana:[^ ]+' "$LOOKOUT_ROOT/Dockerfile")" >/dev/null 2>&1; then
        services+=(grafana)
    fi
    if [[ -n "${LOOKOUT_PROGRAMS:-}" ]]; then
        form=prebuilt
        stage "$LOOKOUT_PROGRAMS" "$LOOKOUT_ROOT"
    elif is_debian_12; then
        form=prebuilt
        compile "$LOOKOUT_ROOT"
        stage "$target/release" "$LOOKOUT_ROOT"
    fi
    # A later build must not take these programs by mistake.
    trap 'rm -rf "$LOOKOUT_ROOT/target/images"' EXIT
    log "building the images, programs: $form"
    (cd "$LOOKOUT_ROOT" && "${compose[@]}" build --build-arg "PROGRAMS=$form" "${services[@]}")
}

previous() {
    # In this repository, so that cargo finds its .cargo/config.toml.
    local commit folder="$LOOKOUT_ROOT/target/previous" root kept form=compiled image
    root="$folder/source"
    commit="$(git -C "$LOOKOUT_ROOT" rev-parse --verify --quiet "${LOOKOUT_PREVIOUS:-HEAD^}^{commit}")" ||
        die "${LOOKOUT_PREVIOUS:-HEAD^} is not a commit; fetch the history, or set LOOKOUT_PREVIOUS"
    kept="$folder/$commit"
    rm -rf "$root"
    mkdir -p "$root"
    # --touch: cargo compares modification times with those of an earlier commit in this folder.
    git -C "$LOOKOUT_ROOT" archive "$commit" | tar -x --touch -C "$root"
    if [[ -n "${LOOKOUT_PROGRAMS:-}" ]] || is_debian_12; then
        form=prebuilt
        if [[ ! -d "$kept" ]]; then
            compile "$root"
            mkdir -p "$kept.partial"
            cp "${programs[@]/#/$target/release/}" "$kept.partial/"
            mv -T "$kept.partial" "$kept"
        fi
        stage "$kept" "$root"
    fi
    log "building the images of ${commit:0:12}, programs: $form"
    for image in worker lookout; do
        docker build --quiet --target "$image" --build-arg "PROGRAMS=$form" --tag "lookout/$image:previous" "$root" >&2
    done
    rm -rf "$root"
}

case "${1:-}" in
    current | previous) "$1" ;;
    *) die "usage: images.sh current|previous" ;;
esac
