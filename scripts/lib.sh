# shellcheck shell=bash
# Functions shared by the scripts: the location of the download cache, log and error messages, and filling a folder of
# the cache so that an interrupted download is never mistaken for a complete one.

# The public functions of this file are used by the scripts that source it.
# shellcheck disable=SC2034

LOOKOUT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
LOOKOUT_CACHE="${LOOKOUT_CACHE:-$HOME/.cache/lookout}"
# The path must be absolute, because it becomes part of the binaries (the rpath of libtorch).
[[ "$LOOKOUT_CACHE" == /* ]] || LOOKOUT_CACHE="$PWD/$LOOKOUT_CACHE"

log() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need COMMAND HINT: exits with an error that contains HINT if COMMAND is not installed.
need() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is not installed; $2"
}

# x86_64_only WHAT: exits with an error if the prebuilt binaries of WHAT do not run on this platform.
x86_64_only() {
    [[ "$(uname -s)-$(uname -m)" == Linux-x86_64 ]] ||
        die "$1 is fetched for Linux on x86_64 only; this is $(uname -s) on $(uname -m)"
}

# in_cache DIR FILL [ARG...]: fills the cache folder DIR by calling `FILL TMP ARG...`, unless DIR exists. TMP has the
# same parent as DIR and is renamed to DIR in the last step, so that DIR is either complete or missing. A lock prevents
# concurrent `make` runs from fetching the same files.
in_cache() {
    local dir="$1" fill="$2" tmp
    shift 2
    [[ -d "$dir" ]] && return 0
    mkdir -p "$(dirname "$dir")"
    (
        flock 9
        [[ -d "$dir" ]] && exit 0
        # This process holds the lock, so an existing TMP is a leftover of an interrupted run.
        tmp="$dir.partial"
        rm -rf "$tmp"
        mkdir "$tmp"
        "$fill" "$tmp" "$@"
        mv -T "$tmp" "$dir"
    ) 9>"$dir.lock"
}

# python_env NAME WHAT SIZE [FILE]: installs scripts/NAME/requirements.txt, or FILE, into a virtual environment in the
# cache; prints the path of its interpreter. WHAT and SIZE are the contents and size of the download, for the log.
python_env() {
    local requirements="${4:-$LOOKOUT_ROOT/scripts/$1/requirements.txt}" venv
    venv="$LOOKOUT_CACHE/$1-$(sha256sum "$requirements" | cut -c1-12)"
    need python3 "'make setup' installs it"
    in_cache "$venv" fill_python_env "$requirements" "$2" "$3"
    echo "$venv/bin/python"
}

fill_python_env() {
    log "fetching $3 ($4)"
    python3 -m venv "$1" ||
        die "python3 cannot create a virtual environment; 'make setup' installs python3-venv"
    "$1/bin/python" -m pip --disable-pip-version-check --quiet install --requirement "$2" >&2 ||
        die "pip could not fetch $3; is PyPI, or the mirror in pip's configuration, reachable?"
}

# has_nvidia_gpu: succeeds if nvidia-smi lists a GPU. LOOKOUT_CUDA=1 or 0 overrides the result.
has_nvidia_gpu() {
    case "${LOOKOUT_CUDA:-}" in
        1) return 0 ;;
        0) return 1 ;;
        "") nvidia-smi -L 2>/dev/null | grep -q '^GPU' ;;
        *) die "LOOKOUT_CUDA is '$LOOKOUT_CUDA'; it must be 1 (with CUDA), 0 (without) or unset" ;;
    esac
}
