# shellcheck shell=bash
# Functions shared by the scripts of a release. scripts/lib.sh must have been sourced before.

# The programs of a release. lookout-sim is for tests and demonstrations of other installations.
LOOKOUT_PROGRAMS_ALL=(lookout lookout-worker lookout-lab lookout-sim)

# package_of PROGRAM: prints the crate that contains the program.
package_of() {
    case "$1" in
        lookout) echo lookout-cli ;;
        lookout-worker | lookout-lab | lookout-sim) echo "$1" ;;
        *) die "$1 is not a program of Lookout; the programs are: ${LOOKOUT_PROGRAMS_ALL[*]}" ;;
    esac
}

# libtorch_folder: prints the folder to which .cargo/config.toml points, or nothing.
libtorch_folder() {
    sed -n 's/^LIBTORCH = "\(.*\)"$/\1/p' "$LOOKOUT_ROOT/.cargo/config.toml" 2>/dev/null || true
}

# cargo_tool NAME VERSION: compiles a tool from crates.io into the cache, unless it is there; prints its folder.
cargo_tool() {
    local dir="$LOOKOUT_CACHE/$1-$2"
    in_cache "$dir" fill_cargo_tool "$1" "$2"
    echo "$dir/bin"
}

fill_cargo_tool() {
    log "compiling $2 $3"
    cargo install --quiet --locked --root "$1" "$2@$3" >&2 || die "cargo could not install $2 $3 from crates.io"
}

# cargo_auditable: prints the folder that contains cargo-auditable.
cargo_auditable() { cargo_tool cargo-auditable 0.7.7; }

# release_python: prints a Python interpreter that has the packages of scripts/release/requirements.txt.
release_python() { python_env release "debsbom and cyclonedx-python-lib" "6 MB"; }

# debsbom PYTHON [ARG...]: runs debsbom, without its warnings about packages that name no supplier. Its program in the
# virtual environment does not start, because the environment was moved after its creation.
debsbom() {
    local python="$1"
    shift
    "$python" -c 'import sys; from debsbom.cli import main; sys.exit(main())' "$@" 2> >(grep -v ^WARNING >&2)
}
