#!/usr/bin/env bash
# scan.sh DIR: lists the known vulnerabilities of the Debian packages in the images of a release. Downloads the database of
# Debian's security tracker, unless LOOKOUT_TRACKER_DB is a file that contains it. `make advisories` checks the crates.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=SCRIPTDIR/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

[[ $# == 1 ]] || die "usage: scan.sh DIR"
python="$(release_python)"
database="${LOOKOUT_TRACKER_DB:-$LOOKOUT_CACHE/security-tracker.json}"
options=(--db "$database" --distro bookworm)
[[ -n "${LOOKOUT_TRACKER_DB:-}" ]] || options+=(--update-db)
for bom in "$1"/lookout-image-*.cdx.json; do
    [[ -f "$bom" ]] || die "$1 has no bills of materials of images"
    log "$(basename "$bom")"
    debsbom "$python" sec-scan "${options[@]}" --min-urgency medium "$bom" ||
        die "cannot scan $bom; is Debian's security tracker reachable?"
done
