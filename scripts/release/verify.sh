#!/usr/bin/env bash
# verify.sh DIR: verifies the signature and the checksums of a release, its bills of materials, and that the programs of
# the archive contain the crates that the bill lists.
#
# LOOKOUT_RELEASE_PUBKEY is the public key, by default minisign.pub of this repository. LOOKOUT_RELEASE_TRIAL=1 accepts
# files without a signature.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=SCRIPTDIR/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

[[ $# == 1 && -n "$1" ]] || die "usage: make verify-release DIR=FOLDER"
[[ -f "$1/SHA256SUMS" ]] || die "$1 is not a release: it has no file SHA256SUMS"
folder="$(cd "$1" && pwd)"
pubkey="${LOOKOUT_RELEASE_PUBKEY:-$LOOKOUT_ROOT/minisign.pub}"

cd "$folder"
if [[ -f SHA256SUMS.minisig ]]; then
    need minisign "install the package minisign"
    [[ -f "$pubkey" ]] || die "there is no public key $pubkey; set LOOKOUT_RELEASE_PUBKEY"
    minisign -V -p "$pubkey" -m SHA256SUMS || die "the signature of SHA256SUMS is not valid"
else
    [[ "${LOOKOUT_RELEASE_TRIAL:-0}" == 1 ]] || die "SHA256SUMS is not signed; LOOKOUT_RELEASE_TRIAL=1 accepts that"
    log "trial: SHA256SUMS is not signed"
fi
sha256sum --check --strict SHA256SUMS || die "a file differs from its checksum"
# A file without a checksum could have been added by anybody.
unlisted="$(comm -23 <(find . -type f ! -name 'SHA256SUMS*' -printf '%P\n' | sort) <(cut -c 67- SHA256SUMS | sort))"
[[ -z "$unlisted" ]] || die "files without a checksum: $unlisted"

python="$(release_python)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
for bom in *.cdx.json; do
    programs=()
    archive="${bom%.cdx.json}.tar.zst"
    [[ -f "$archive" ]] || die "$bom has no archive $archive"
    if [[ "$bom" != lookout-image-* ]]; then
        need zstd "install the package zstd"
        zstd --quiet --decompress --stdout "$archive" | tar -x -C "$work" --wildcards '*/bin/*' '*/sbom.cdx.json'
        cmp "$work"/*/share/doc/lookout/sbom.cdx.json "$bom" || die "the archive contains another bill of materials"
        programs=("$work"/*/bin/*)
    fi
    "$python" "$LOOKOUT_ROOT/scripts/release/sbom.py" check "$bom" "${programs[@]}"
done
log "$folder is valid"
