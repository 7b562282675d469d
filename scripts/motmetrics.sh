#!/usr/bin/env bash
# The Python with motmetrics, which judges the tracker, in the cache; prints the path of its interpreter.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements="$LOOKOUT_ROOT/scripts/motmetrics/requirements.txt"
venv="$LOOKOUT_CACHE/motmetrics-$(sha256sum "$requirements" | cut -c1-12)"

fetch() {
    log "fetching motmetrics, which judges the tracker (a download of 70 MB)"
    python3 -m venv "$1" ||
        die "python3 cannot make a virtual environment; 'make setup' installs python3-venv"
    "$1/bin/python" -m pip --disable-pip-version-check --quiet install --requirement "$requirements" >&2 ||
        die "pip could not fetch motmetrics; is PyPI, or the mirror in pip's configuration, reachable?"
}

need python3 "'make setup' installs it"
in_cache "$venv" fetch
echo "$venv/bin/python"
