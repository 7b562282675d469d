#!/usr/bin/env bash
# build.sh FOLDER [PROGRAM...]: builds the programs of a release, by default all, and copies them to FOLDER.
#
# The result depends on the commit, the compilers and the libraries of the distribution, but not on the folders of the
# machine: paths of the repository, of cargo and of libtorch are replaced in messages and debug information. The linker
# gets a library path relative to the program instead of the one that scripts/libtorch.sh writes for development.
# scripts/release/reproduce.sh compares two builds. Each program contains the list of its dependencies (`cargo auditable`).
#
# The build has its own target folder, LOOKOUT_DIST_TARGET (target/dist), because other flags recompile everything.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=SCRIPTDIR/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

[[ $# -ge 1 ]] || die "usage: build.sh FOLDER [PROGRAM...]"
output="$1"
shift
[[ $# -gt 0 ]] && programs=("$@") || programs=("${LOOKOUT_PROGRAMS_ALL[@]}")

cd "$LOOKOUT_ROOT"
packages=()
for program in "${programs[@]}"; do
    package="$(package_of "$program")"
    packages+=(-p "$package")
done
auditable="$(cargo_auditable)"
target="${LOOKOUT_DIST_TARGET:-$LOOKOUT_ROOT/target/dist}"

# The last matching prefix wins, so the target folder, which is usually below the repository, comes after it.
replaced=("$LOOKOUT_ROOT=/lookout" "$target=/lookout/target" "${CARGO_HOME:-$HOME/.cargo}=/cargo"
    "$(rustc --print sysroot)=/rust")
libtorch="$(libtorch_folder)"
[[ -z "$libtorch" ]] || replaced+=("$libtorch=/libtorch")

# $ORIGIN is the folder of the program: PREFIX/bin finds PREFIX/lib/lookout.
rust=(-C "link-arg=-Wl,-rpath,\$ORIGIN/../lib/lookout")
c=""
for pair in "${replaced[@]}"; do
    [[ "$pair" != *[[:space:]]* ]] || die "the path ${pair%%=*} contains a blank, which compiler flags cannot contain"
    rust+=("--remap-path-prefix=$pair")
    c+=" -ffile-prefix-map=$pair"
done

# Settings of the user that would change the result.
unset RUSTFLAGS "${!CARGO_PROFILE_@}" CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER
CARGO_ENCODED_RUSTFLAGS="$(printf '%s\x1f' "${rust[@]}")"
CARGO_ENCODED_RUSTFLAGS="${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}"
# For C and C++ code that contains the time of the build. The image build has no git repository.
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export CARGO_ENCODED_RUSTFLAGS SOURCE_DATE_EPOCH
export CFLAGS="$c" CXXFLAGS="$c" LDFLAGS="" CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$target" LC_ALL=C TZ=UTC

log "building ${programs[*]} into $target"
PATH="$auditable:$PATH" cargo auditable build --release --locked "${packages[@]}"
mkdir -p "$output"
for program in "${programs[@]}"; do
    install --strip -t "$output" "$target/release/$program"
done
