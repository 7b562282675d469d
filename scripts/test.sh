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

# By the first letter of a test program's name. Both select the whole workspace: with a part of it, cargo would unite the
# features of that part's dependencies only, and compile some of them again.
part a-to-h --workspace --lib --bins --test '[a-h]*' &
status=0
part i-to-z --workspace --test '[i-z]*' || status=1
wait "$!" || status=1
exit "$status"
