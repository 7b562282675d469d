#!/usr/bin/env bash
# typos, which checks spelling, in the cache; prints the program's path.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly VERSION=1.52.0

fill() {
    log "fetching typos, which checks spelling (a download of 6 MB)"
    python3 -m pip --disable-pip-version-check --quiet download --no-deps --dest "$1" "typos==$VERSION" >&2 ||
        die "pip could not fetch typos; is PyPI, or the mirror in pip's configuration, reachable?"
    unzip -q "$1"/*.whl -d "$1"
    rm "$1"/*.whl
    mv "$1"/typos-*.data/scripts/typos "$1/typos"
    chmod +x "$1/typos"
}

need python3 "'make setup' installs it"
need unzip "'make setup' installs it"
dir="$LOOKOUT_CACHE/typos-$VERSION"
in_cache "$dir" fill
echo "$dir/typos"
