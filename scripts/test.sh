#!/usr/bin/env bash
# Runs all tests of the workspace, which are to be built: in two halves side by side, since most of their time is spent on
# waiting for cameras, brokers and browsers. What a part printed comes when it has ended.
#
# There are no documentation tests, and none are run.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$LOOKOUT_ROOT"

LOOKOUT_CLIP="$(scripts/clip.sh)"
export LOOKOUT_CLIP
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

# part NAME CARGO_ARGUMENTS...
part() {
    local name="$1" code=0
    shift
    cargo test --release --no-fail-fast --color never "$@" 2>&1 | tee "$folder/$name" |
        sed -un "s/^ *Running /==> $name: /p" >&2 || code=1
    cat "$folder/$name"
    return "$code"
}

# Half of the time is that of tests/tests, whose first letter decides which half they are of.
first() {
    local code=0
    part crates --workspace --exclude lookout-tests --lib --bins --tests --examples || code=1
    part a-to-h --package lookout-tests --lib --test '[a-h]*' || code=1
    return "$code"
}

first &
status=0
part i-to-z --package lookout-tests --test '[i-z]*' || status=1
wait "$!" || status=1
exit "$status"
