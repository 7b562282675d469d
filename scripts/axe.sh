#!/usr/bin/env bash
# Installs axe-core, which checks the monitor's page against the rules of WCAG, into the cache; prints the script's
# path.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A Python package that contains axe-core 4.12.1. Its dependencies (a browser driver) are not needed.
readonly PACKAGE=axe-playwright-python VERSION=0.1.8

fill() {
    log "fetching axe-core for the accessibility test of the page (0.2 MB)"
    python3 -m pip --disable-pip-version-check --quiet download --no-deps --dest "$1" "$PACKAGE==$VERSION" >&2 ||
        die "pip could not fetch $PACKAGE; is PyPI, or the mirror in pip's configuration, reachable?"
    unzip -q "$1"/*.whl -d "$1"
    rm "$1"/*.whl
    [[ -f "$1/axe_playwright_python/axe.min.js" ]] || die "$PACKAGE $VERSION has no axe.min.js"
}

need python3 "'make setup' installs it"
need unzip "'make setup' installs it"
dir="$LOOKOUT_CACHE/axe-$VERSION"
in_cache "$dir" fill
echo "$dir/axe_playwright_python/axe.min.js"
