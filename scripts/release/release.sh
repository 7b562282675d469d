#!/usr/bin/env bash
# Makes the files of a release in release/VERSION: the programs, the images, bills of materials, checksums, a signature.
#
#   LOOKOUT_RELEASE_KEY=FILE         the secret key of minisign; without it, the files are not signed
#   LOOKOUT_RELEASE_IMAGES="..."     targets of the Dockerfile ("worker lookout monitor"); "" for none
#   LOOKOUT_RELEASE_TRIAL=1          warns instead of failing if the commit is not a release, and writes VERSION-trial
#   LOOKOUT_RELEASE_PROGRAMS="..."   in a trial: only these programs
#   LOOKOUT_RELEASE_BUILT=FOLDER     in a trial: does not build, takes the programs that build.sh put into FOLDER
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=SCRIPTDIR/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

triple=x86_64-unknown-linux-gnu
trial="${LOOKOUT_RELEASE_TRIAL:-0}"

# require MESSAGE COMMAND...: exits if the command fails; in a trial, logs the message.
require() {
    local message="$1"
    shift
    "$@" >/dev/null 2>&1 && return 0
    [[ "$trial" == 1 ]] || die "$message; LOOKOUT_RELEASE_TRIAL=1 makes a trial release"
    log "trial: $message"
}

is_clean() { [[ -z "$(git status --porcelain)" ]]; }
is_tagged() { git tag --points-at HEAD | grep -qxF "v$version"; }
has_section() { grep -qE "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md; }

# has NAME WORD...: succeeds if NAME is one of the words.
has() {
    local name="$1"
    shift
    [[ " $* " == *" $name "* ]]
}

# cargo_boms: writes WORK/cdx/PROGRAM.json for each program, from the metadata of cargo.
cargo_boms() {
    local source="$work/source" program package
    mkdir -p "$source" "$work/cdx"
    # cargo-cyclonedx writes its output beside each Cargo.toml.
    git archive HEAD | tar -x -C "$source"
    log "listing the crates"
    (cd "$source" && PATH="$cyclonedx:$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 \
        --target "$triple" --no-build-deps --describe binaries >&2)
    for program in "${programs[@]}"; do
        package="$(package_of "$program")"
        cp "$source/crates/${package#lookout-}/${program}_bin.cdx.json" "$work/cdx/$program.json"
    done
}

# bom OUT KIND NAME FOLDER LIBTORCH [CDX...]: writes the bill of an artifact with the programs in FOLDER, with LIBTORCH
# unless it is empty, and with other bills.
bom() {
    local out="$1" kind="$2" name="$3" folder="$4" torch="$5" parts=("${@:6}") program part
    for program in "${programs[@]}"; do
        [[ -f "$folder/$program" ]] || continue
        part="$work/part-$program.cdx.json"
        "$python" scripts/release/sbom.py program "$folder/$program" "$work/cdx/$program.json" "$part"
        parts+=("$part")
    done
    if [[ -n "$torch" ]]; then
        "$python" scripts/release/sbom.py libtorch "$torch" "$work/part-libtorch.cdx.json"
        parts+=("$work/part-libtorch.cdx.json")
    fi
    debsbom "$python" merge -t cdx --distro-name "$name" --distro-version "$label" \
        --out "$out" "${parts[@]}"
    "$python" scripts/release/sbom.py finish "$out" "$kind" "$name" "$label"
    "$python" scripts/release/sbom.py check "$out" "$folder"/lookout* >&2
}

# pack FOLDER NAME OUT: the same files give the same archive.
pack() {
    tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw \
        -C "$1" "$2" | zstd --quiet -12 -T0 -o "$3"
}

archive() {
    local name="lookout-$label-$triple" torch="" folder doc
    folder="$work/archive/$name"
    doc="$folder/share/doc/lookout"
    mkdir -p "$folder/bin" "$doc"
    cp "$work"/programs/lookout* "$folder/bin/"
    if has lookout-worker "${programs[@]}" || has lookout-lab "${programs[@]}"; then
        torch="$libtorch"
        mkdir -p "$folder/lib/lookout"
        cp "$torch"/lib/*.so* "$folder/lib/lookout/"
        cp -r "$torch/licenses" "$doc/libtorch-licenses"
    fi
    bom "$output/$name.cdx.json" application lookout "$folder/bin" "$torch"
    python3 scripts/release/licenses.py "$output/$name.cdx.json" >"$doc/CRATE_LICENSES.txt"
    cp LICENSE THIRD_PARTY_NOTICES.md "$doc/"
    cp "$output/$name.cdx.json" "$doc/sbom.cdx.json"
    log "packing $name"
    pack "$work/archive" "$name" "$output/$name.tar.zst"
}

# image TARGET: builds an image, adds its bill and the licenses of the crates, and saves it.
image() {
    local target="$1" tag="lookout/$1:$label" name="lookout-image-$1-$label" root="$work/root-$1" container torch=""
    local form=compiled
    # Programs that were built on Debian 12 run in the images.
    grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release && form=prebuilt
    log "building the image $tag, programs: $form"
    docker build --quiet --target "$target" --tag "$tag-base" --build-arg "PROGRAMS=$form" \
        --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" --label "org.opencontainers.image.version=$label" \
        --label "org.opencontainers.image.revision=$commit" --label "org.opencontainers.image.created=$created" . >&2
    container="$(docker create "$tag-base")"
    mkdir -p "$root"
    docker export "$container" >"$root.tar"
    docker rm "$container" >/dev/null
    tar -x -C "$root" -f "$root.tar" --wildcards 'usr/local/bin/lookout*'
    tar -x -C "$root" -f "$root.tar" opt/lookout 2>/dev/null || true
    [[ ! -d "$root/opt/lookout" ]] || torch="$(find "$root/opt/lookout" -name licenses -printf '%h\n' -quit)"
    debsbom "$python" generate --root "$root.tar" -t cdx --with-licenses \
        --no-recommends-deps --distro-version 12 --out "$root.cdx.json"
    bom "$output/$name.cdx.json" container "lookout/$target" "$root/usr/local/bin" "$torch" "$root.cdx.json"
    mkdir -p "$work/layer-$target"
    cp "$output/$name.cdx.json" "$work/layer-$target/sbom.cdx.json"
    python3 scripts/release/licenses.py "$output/$name.cdx.json" >"$work/layer-$target/CRATE_LICENSES.txt"
    printf 'FROM %s\nCOPY sbom.cdx.json CRATE_LICENSES.txt /usr/share/doc/lookout/\n' "$tag-base" |
        docker build --quiet --tag "$tag" --file - "$work/layer-$target" >&2
    docker save "$tag" | zstd --quiet -12 -T0 -o "$output/$name.tar.zst"
    docker rmi "$tag-base" >/dev/null
    rm -rf "$root" "$root.tar"
}

cd "$LOOKOUT_ROOT"
x86_64_only "a release"
need zstd "install the package zstd"
version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
[[ -n "$version" ]] || die "Cargo.toml has no version in [workspace.package]"
require "the working tree has uncommitted changes" is_clean
require "CHANGELOG.md has no dated section for version $version" has_section
require "the commit does not have the tag v$version" is_tagged

label="$version" programs=("${LOOKOUT_PROGRAMS_ALL[@]}") built=""
if [[ "$trial" == 1 ]]; then
    label="$version-trial"
    built="${LOOKOUT_RELEASE_BUILT:-}"
    [[ -z "${LOOKOUT_RELEASE_PROGRAMS:-}" ]] || read -ra programs <<<"$LOOKOUT_RELEASE_PROGRAMS"
fi
read -ra images <<<"${LOOKOUT_RELEASE_IMAGES-worker lookout monitor}"
key="${LOOKOUT_RELEASE_KEY:-}"
if [[ -n "$key" ]]; then
    [[ -r "$key" ]] || die "cannot read the key LOOKOUT_RELEASE_KEY=$key"
    need minisign "install the package minisign"
fi
libtorch="$(libtorch_folder)"
if has lookout-worker "${programs[@]}" || has lookout-lab "${programs[@]}"; then
    [[ -d "$libtorch/licenses" ]] ||
        die "libtorch ($libtorch) lacks the license texts of its wheels; delete that folder, and run 'make setup'"
    [[ ! -e "$libtorch/lib/libtorch_cuda.so" ]] ||
        die "the archive is released with libtorch for the CPU; run 'LOOKOUT_CUDA=0 make setup' first"
fi

commit="$(git rev-parse HEAD)"
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
created="$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
export SOURCE_DATE_EPOCH DOCKER_BUILDKIT=1
cyclonedx="$(cargo_tool cargo-cyclonedx 0.5.9)"
python="$(release_python)"
output="$LOOKOUT_ROOT/release/$label"
mkdir -p "$LOOKOUT_ROOT/target"
work="$(mktemp -d "$LOOKOUT_ROOT/target/release-files.XXXXXX")"
trap 'rm -rf "$work" "$LOOKOUT_ROOT/target/images"' EXIT
rm -rf "$output"
mkdir -p "$output"

if [[ -n "$built" ]]; then
    mkdir -p "$work/programs"
    cp "${programs[@]/#/$built/}" "$work/programs/"
else
    scripts/release/build.sh "$work/programs" "${programs[@]}"
fi
cargo_boms
archive
if [[ ${#images[@]} -gt 0 ]] && docker info >/dev/null 2>&1; then
    # The Dockerfile copies the programs from here. lookout-sim needs libraries that the images do not have.
    rm -rf target/images
    cp -r "$work/programs" target/images
    rm -f target/images/lookout-sim
    for target in "${images[@]}"; do
        image "$target"
    done
else
    log "no images: LOOKOUT_RELEASE_IMAGES is empty, or no Docker engine answers"
    images=()
fi

cd "$output"
sha256sum -- lookout-* >SHA256SUMS
if [[ -n "$key" ]]; then
    minisign -S -s "$key" -m SHA256SUMS -t "Lookout $label, commit $commit"
else
    log "LOOKOUT_RELEASE_KEY is not set: the files are not signed"
fi
cd "$LOOKOUT_ROOT"
ls -l "release/$label" >&2
cat <<END
The release is in release/$label. Verify it with:
    make verify-release DIR=release/$label
or without this repository:
    minisign -V -p minisign.pub -m SHA256SUMS && sha256sum --check --strict SHA256SUMS
END
for target in "${images[@]}"; do
    echo "    zstd --decompress --stdout lookout-image-$target-$label.tar.zst | docker load"
done
