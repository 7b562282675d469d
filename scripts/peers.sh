#!/usr/bin/env bash
# The Python that `make bench` measures Lookout against, in the cache; prints the path of its interpreter.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements="$LOOKOUT_ROOT/scripts/peers/requirements.txt"
venv="$LOOKOUT_CACHE/peers-$(sha256sum "$requirements" | cut -c1-12)"

fetch() {
    log "fetching PyTorch, OpenVINO and ONNX Runtime for the comparison (a download of 3.5 GB)"
    python3 -m venv "$1" ||
        die "python3 cannot make a virtual environment; 'make setup' installs python3-venv"
    "$1/bin/python" -m pip --disable-pip-version-check --quiet install --requirement "$requirements" >&2 ||
        die "pip could not fetch the peers; is PyPI, or the mirror in pip's configuration, reachable?"
}

x86_64_only "the comparison"
need python3 "'make setup' installs it"
in_cache "$venv" fetch
echo "$venv/bin/python"
