#!/usr/bin/env bash
# reproduce.sh [PROGRAM...]: builds the programs twice, in two folders and with two folders of cargo, and compares them.
#
# Builds the commit HEAD, by default all programs, which takes twice as long as a full build. LOOKOUT_REPRODUCE is the
# folder for the two builds, by default target/reproduce, which is deleted first.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=SCRIPTDIR/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

[[ $# -gt 0 ]] && programs=("$@") || programs=("${LOOKOUT_PROGRAMS_ALL[@]}")
folder="${LOOKOUT_REPRODUCE:-$LOOKOUT_ROOT/target/reproduce}"
registry="${CARGO_HOME:-$HOME/.cargo}/registry"
commit="$(git -C "$LOOKOUT_ROOT" rev-parse HEAD)"
SOURCE_DATE_EPOCH="$(git -C "$LOOKOUT_ROOT" log -1 --format=%ct "$commit")"
export SOURCE_DATE_EPOCH
# Compiled here, since cargo has another folder below.
cargo_auditable >/dev/null

# build NAME: the lengths of the paths of the two builds differ as well.
build() {
    local root="$folder/$1/lookout"
    mkdir -p "$root" "$folder/$1/cargo/registry"
    git -C "$LOOKOUT_ROOT" archive "$commit" | tar -x -C "$root"
    if [[ -f "$LOOKOUT_ROOT/.cargo/config.toml" ]]; then
        install -D -t "$root/.cargo" "$LOOKOUT_ROOT/.cargo/config.toml"
    fi
    # The downloaded crates; cargo downloads what is missing.
    for part in index cache; do
        [[ ! -d "$registry/$part" ]] || cp -a "$registry/$part" "$folder/$1/cargo/registry/"
    done
    CARGO_HOME="$folder/$1/cargo" LOOKOUT_DIST_TARGET="$folder/$1/target" \
        "$root/scripts/release/build.sh" "$folder/$1/programs" "${programs[@]}"
}

rm -rf "$folder"
build first
build second-with-a-longer-name

differ=0
for program in "${programs[@]}"; do
    first="$folder/first/programs/$program"
    second="$folder/second-with-a-longer-name/programs/$program"
    sha256sum "$first" "$second"
    cmp "$first" "$second" || differ=1
    # Equal files can contain a path as well, one that is outside of the two folders.
    if grep --text --only-matching --max-count=3 "$HOME/[^ ]*" "$first"; then
        log "$program contains paths of the home folder"
        differ=1
    fi
done
[[ $differ == 0 ]] || die "the builds differ; compare them with: cmp --list FILE FILE, or diffoscope"
log "both builds are equal: ${programs[*]}"
