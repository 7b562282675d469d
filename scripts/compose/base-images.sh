#!/usr/bin/env bash
# Provides the base images of Dockerfile and docker-compose.yml: pulls them, or makes stand-ins under the same names
# where a registry cannot be reached.
#
#   base-images.sh
#
# A stand-in has the label lookout.stand-in=1. It is made from Debian's packages, Maven Central and the installed Rust
# toolchain, which takes 4 minutes on two cores. A stand-in contains the way in which this machine reaches its package
# registries: apt's sources and settings, pip's and cargo's settings, and additional CA certificates. Never push it.
# There is no stand-in for Grafana. LOOKOUT_PULL=0 pulls nothing.
# shellcheck disable=SC2016 # The placeholders of `apt-get indextargets` are not expanded by the shell.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

here="$LOOKOUT_ROOT/scripts/compose/stand-ins"
mark=(--label lookout.stand-in=1)
export DOCKER_BUILDKIT=1
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# image NAME: prints the image with its tag, as the Dockerfile or docker-compose.yml names it.
image() {
    grep -hoE "\b$1:[^ ]+" "$LOOKOUT_ROOT/Dockerfile" "$LOOKOUT_ROOT/docker-compose.yml" | head -n 1
}

debian="$(image debian)"
rust="$(image rust)"
kafka="$(image apache/kafka)"
cameras="$(image bluenviron/mediamtx)"
prometheus="$(image prom/prometheus)"
grafana="$(image grafana/grafana)"

# build IMAGE CONTEXT [ARG...]: builds a stand-in.
build() {
    local image="$1" context="$2" proxies=() name
    shift 2
    for name in http_proxy https_proxy no_proxy; do
        [[ -z "${!name:-}" ]] || proxies+=(--build-arg "$name")
    done
    docker build --quiet "${mark[@]}" "${proxies[@]}" --build-arg "DEBIAN=$debian" --tag "$image" "$@" "$context" >&2
}

# The same content as the official image, which is made with debootstrap too, except for this machine's settings.
make_debian() {
    local root="$work/debian" mirror=
    if grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release; then
        mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Release: bookworm' 'Component: main' | head -n 1)"
    fi
    mirror="${mirror:-http://deb.debian.org/debian}"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "${mirror%/}" >&2
    make_slim "$root"
    add_settings "$root"
    tar -C "$root" -c . | docker import --change 'CMD ["bash"]' --change 'LABEL lookout.stand-in=1' - "$1" >&2
    rm -rf "$root"
}

# make_slim ROOT: removes what debian:*-slim does not contain, and configures dpkg to not install it.
make_slim() {
    local root="$1"
    cat >"$root/etc/dpkg/dpkg.cfg.d/docker" <<'CONF'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
CONF
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
    # apt keeps neither packages nor its binary caches in an image.
    cat >"$root/etc/apt/apt.conf.d/docker-clean" <<'CONF'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
CONF
    # Services of packages are not started.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    find "$root/usr/share/doc" -mindepth 1 -not -name copyright -not -type d -delete
    rm -rf "$root"/usr/share/{groff,info,linda,lintian,locale,man}/* "$root"/var/cache/apt/archives/*.deb \
        "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root/etc/resolv.conf"
}

# add_settings ROOT: copies the settings with which this machine reaches its package registries.
add_settings() {
    local root="$1" key value
    if grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release; then
        apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
            grep -E ' bookworm(-updates|-security)? main$' | sort -u >"$work/sources.list"
        [[ ! -s "$work/sources.list" ]] || cp "$work/sources.list" "$root/etc/apt/sources.list"
    fi
    apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries)' >"$root/etc/apt/apt.conf.d/99registries" || true
    {
        echo '[global]'
        for key in index-url extra-index-url trusted-host proxy; do
            value="$(python3 -m pip config get "global.$key" 2>/dev/null ||
                python3 -m pip config get ":env:.$key" 2>/dev/null)" || continue
            echo "$key = $value"
        done
        echo 'cert = /etc/ssl/certs/ca-certificates.crt'
    } >"$root/etc/pip.conf"
    if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
        cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
        chroot "$root" update-ca-certificates >/dev/null 2>&1
    fi
}

# The minimal profile of the toolchain, as in the official image: without clippy, rustfmt and documentation.
make_rust() {
    local context="$work/rust" version toolchain name
    version="$(sed -n 's/.*rust:\([0-9.]*\)-.*/\1/p' <<<"$1")"
    toolchain="$version-x86_64-unknown-linux-gnu"
    need rustup "install Rust first: https://rustup.rs"
    mkdir -p "$context/cargo/bin" "$context/rustup/toolchains"
    cp --dereference "$(command -v rustup)" "$context/cargo/bin/"
    for name in cargo rustc rustdoc; do ln -s rustup "$context/cargo/bin/$name"; done
    if [[ -f "${CARGO_HOME:-$HOME/.cargo}/config.toml" ]]; then
        cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$context/cargo/"
    fi
    cp -aL "$(rustup run "$version" rustc --print sysroot)" "$context/rustup/toolchains/$toolchain"
    printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n' "$toolchain" >"$context/rustup/settings.toml"
    for name in clippy rustfmt rust-docs; do
        RUSTUP_HOME="$context/rustup" CARGO_HOME="$context/cargo" RUSTUP_TOOLCHAIN="$toolchain" \
            rustup component remove "$name" >&2 || true # it may not be installed
    done
    build "$1" "$context" --file "$here/rust/Dockerfile" --build-arg "RUST_VERSION=$version"
}

make_kafka() {
    local context="$work/kafka"
    cp -r "$here/kafka" "$context"
    mvn --quiet --batch-mode --file "$context/pom.xml" "-Dkafka.version=${1#*:}" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$context/jars" >&2
    build "$1" "$context"
}

make_cameras() { build "$1" "$here/cameras"; }
make_prometheus() { build "$1" "$here/prometheus"; }

# provide IMAGE MAKE: pulls the image, or calls MAKE, unless the image exists.
provide() {
    local image="$1" make="$2"
    docker image inspect "$image" >/dev/null 2>&1 && return 0
    if [[ "${LOOKOUT_PULL:-1}" == 1 ]] && timeout 600 docker pull --quiet "$image" >/dev/null 2>&1; then
        return 0
    fi
    if [[ "$make" == none ]]; then
        log "$image cannot be pulled and has no stand-in; its service is not tested"
        return 0
    fi
    log "$image cannot be pulled; making a stand-in"
    "$LOOKOUT_ROOT/scripts/packages.sh" images
    "$make" "$image"
}

provide "$debian" make_debian
provide "$rust" make_rust
provide "$kafka" make_kafka
provide "$cameras" make_cameras
provide "$prometheus" make_prometheus
provide "$grafana" none
