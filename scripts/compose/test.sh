#!/usr/bin/env bash
# Builds the images, runs docker-compose.yml and checks what docs/deploying.md promises. Stops and removes everything that
# it started; images and the build cache are kept. docs/deploying.md has the results of the last run.
#
#   LOOKOUT_PREVIOUS_IMAGES=TAG    for the test of an upgrade, uses the images with this tag instead of building those of
#                                  the commit before
#   LOOKOUT_CHECKS=NAME,...        runs only these parts, see scripts/compose/__main__.py
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

here="$LOOKOUT_ROOT/scripts/compose"
work="$(mktemp -d)"
started_engine=''
finish() {
    [[ -z "$started_engine" ]] || "$here/engine.sh" stop
    rm -rf "$work"
}
trap finish EXIT

mkdir -p "$LOOKOUT_CACHE"
exec 9>"$LOOKOUT_CACHE/compose.lock"
flock --nonblock 9 || die "another run of this test uses the same containers and ports"

"$here/engine.sh" status || started_engine=yes
DOCKER_HOST="$("$here/engine.sh" start)"
# Compose runs the first `docker` in PATH.
ln -s "$("$here/engine.sh" client)" "$work/docker"
export DOCKER_HOST PATH="$work:$PATH"
"$LOOKOUT_ROOT/scripts/packages.sh" compose
if docker compose version >/dev/null 2>&1; then
    export COMPOSE="docker compose"
else
    export COMPOSE=docker-compose
fi

"$here/base-images.sh"
if [[ -z "${LOOKOUT_PREVIOUS_IMAGES:-}" ]]; then
    "$here/images.sh" previous
fi
"$here/images.sh" current
python3 "$here"
