#!/usr/bin/env bash
# Provides a Docker engine for the tests.
#
#   engine.sh start    prints DOCKER_HOST: of the engine that is reachable, or else of an engine that is installed if
#                      necessary and started as root
#   engine.sh status   succeeds if an engine is reachable, so that `start` would not start one
#   engine.sh stop     stops the engine that `start` started, and no other
#   engine.sh client   prints the path of a Docker client that can build with BuildKit
#
# An engine that `start` starts has its data (images and build cache, about 12 GB) in ~/.cache/lookout/docker
# (LOOKOUT_CACHE), and keeps them for the next run.
set -euo pipefail
# shellcheck source=SCRIPTDIR/../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

folder="$LOOKOUT_CACHE/docker"
pid_file="$folder/run/docker.pid"
# The path of a socket is limited to 108 characters, so it is not in the cache.
socket="/run/lookout-docker/docker.sock"
log_file="$folder/dockerd.log"

usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

# reachable [HOST]: succeeds if an engine answers.
reachable() {
    local client
    for client in $(clients); do
        DOCKER_HOST="${1:-${DOCKER_HOST:-}}" timeout 20 "$client" version --format '{{.Server.Version}}' \
            >/dev/null 2>&1 && return 0
    done
    return 1
}

clients() { type -ap docker || true; }

# Up to version 20.10 the client contains BuildKit's client. Later versions need the plugin buildx and refuse
# DOCKER_BUILDKIT=1 without it.
client() {
    local client version
    for client in $(clients); do
        version="$("$client" version --format '{{.Client.Version}}' 2>/dev/null || "$client" --version | tr -dc '0-9. ')"
        version="${version#"${version%%[0-9]*}"}"
        if "$client" buildx version >/dev/null 2>&1 || [[ "${version%%.*}" -lt 23 ]]; then
            echo "$client"
            return 0
        fi
    done
    die "no Docker client with BuildKit; install docker-buildx (Ubuntu), or docker.io (Debian)"
}

# Prints the process id of the engine that `start` started, if it runs.
own_engine() {
    local pid
    pid="$(cat "$pid_file" 2>/dev/null)" || return 1
    [[ "$(cat "/proc/$pid/comm" 2>/dev/null)" == dockerd ]] || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$pid_file" || return 1
    echo "$pid"
}

# Prints the DOCKER_HOST of an engine that is reachable.
running() {
    local host
    for host in "${DOCKER_HOST:-unix:///var/run/docker.sock}" "unix://$socket"; do
        if reachable "$host"; then
            echo "$host"
            return 0
        fi
    done
    return 1
}

status() { running >/dev/null; }

start() {
    if running; then
        return 0
    fi
    [[ "$(id -u)" -eq 0 ]] || die "no Docker engine is reachable; start one, or run as root so that this script can"
    "$LOOKOUT_ROOT/scripts/packages.sh" compose
    # The installation may have started the engine.
    if running; then
        return 0
    fi
    mkdir -p "$folder/run" "$(dirname "$socket")"
    rm -f "$pid_file" "$socket"
    log "starting a Docker engine with its data in $folder"
    setsid dockerd --data-root "$folder/data" --exec-root "$folder/run/exec" --pidfile "$pid_file" \
        --host "unix://$socket" >"$log_file" 2>&1 </dev/null 9>&- & # 9: a lock of the caller
    local _
    for _ in {1..120}; do
        if running; then
            return 0
        fi
        sleep 0.5
    done
    tail -n 5 "$log_file" >&2
    die "the Docker engine does not start; its log is $log_file"
}

stop() {
    local pid
    pid="$(own_engine)" || return 0
    log "stopping the Docker engine"
    kill "$pid"
    # dockerd stops its containers first.
    timeout 120 tail --pid="$pid" --follow /dev/null || die "the Docker engine $pid does not stop"
}

case "${1:-}" in
    start | status | stop | client) "$1" ;;
    *) usage ;;
esac
