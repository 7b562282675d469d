# shellcheck shell=bash
# What the scripts share: where fetched things are kept, how they speak, and how a folder is put into
# the cache so that an interrupted download leaves nothing behind that looks finished.

# The public functions of this file are used by the scripts that source it.
# shellcheck disable=SC2034

LOOKOUT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
LOOKOUT_CACHE="${LOOKOUT_CACHE:-$HOME/.cache/lookout}"
# Absolute, for it becomes part of the binaries: they find libtorch by it.
[[ "$LOOKOUT_CACHE" == /* ]] || LOOKOUT_CACHE="$PWD/$LOOKOUT_CACHE"

log() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need COMMAND HINT: stops with HINT where COMMAND is not installed.
need() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is not installed; $2"
}

# x86_64_only WHAT: stops where the prebuilt binaries of WHAT do not run.
x86_64_only() {
    [[ "$(uname -s)-$(uname -m)" == Linux-x86_64 ]] ||
        die "$1 is fetched for Linux on x86_64 only; this is $(uname -s) on $(uname -m)"
}

# in_cache DIR FILL [ARG...]: fills the cache folder DIR by calling `FILL TMP ARG...`, once.
# TMP lies beside DIR, so that the last step is a rename: DIR is whole or it is not there. A lock keeps
# two `make` runs from fetching the same thing side by side.
in_cache() {
    local dir="$1" fill="$2" tmp
    shift 2
    [[ -d "$dir" ]] && return 0
    mkdir -p "$(dirname "$dir")"
    (
        flock 9
        [[ -d "$dir" ]] && exit 0
        # The lock is ours, so whatever lies here was left by a run that was cut off.
        tmp="$dir.partial"
        rm -rf "$tmp"
        mkdir "$tmp"
        "$fill" "$tmp" "$@"
        mv -T "$tmp" "$dir"
    ) 9>"$dir.lock"
}

# python_env NAME WHAT SIZE [FILE]: the Python with scripts/NAME/requirements.txt, or with FILE, in the cache; prints
# the path of its interpreter. WHAT it is and the download's SIZE are told where it has to be fetched.
python_env() {
    local requirements="${4:-$LOOKOUT_ROOT/scripts/$1/requirements.txt}" venv
    venv="$LOOKOUT_CACHE/$1-$(sha256sum "$requirements" | cut -c1-12)"
    need python3 "'make setup' installs it"
    in_cache "$venv" fill_python_env "$requirements" "$2" "$3"
    echo "$venv/bin/python"
}

fill_python_env() {
    log "fetching $3 (a download of $4)"
    python3 -m venv "$1" ||
        die "python3 cannot make a virtual environment; 'make setup' installs python3-venv"
    "$1/bin/python" -m pip --disable-pip-version-check --quiet install --requirement "$2" >&2 ||
        die "pip could not fetch $3; is PyPI, or the mirror in pip's configuration, reachable?"
}

# has_nvidia_gpu: true where a driver answers; LOOKOUT_CUDA=1 or 0 overrides.
has_nvidia_gpu() {
    case "${LOOKOUT_CUDA:-}" in
        1) return 0 ;;
        0) return 1 ;;
        "") nvidia-smi -L 2>/dev/null | grep -q '^GPU' ;;
        *) die "LOOKOUT_CUDA is '$LOOKOUT_CUDA'; it takes 1 (with CUDA), 0 (without), or is left unset" ;;
    esac
}
