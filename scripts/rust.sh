#!/usr/bin/env bash
# Installs the Rust toolchain of rust-toolchain.toml if it is missing, and checks its version.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$LOOKOUT_ROOT"
need cargo "install Rust first: https://rustup.rs"
wanted="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
# Newer versions of rustup install a toolchain only on request.
if command -v rustup >/dev/null 2>&1 && ! cargo --version >/dev/null 2>&1; then
    log "installing the Rust toolchain of rust-toolchain.toml"
    rustup toolchain install >&2
fi
version="$(rustc --version | cut -d ' ' -f 2)"
[[ "$(printf '%s\n' "$wanted" "$version" | sort --version-sort | head -n 1)" == "$wanted" ]] ||
    die "Rust $wanted or newer is needed, this is $version; rustup selects the right one by itself: https://rustup.rs"
