#!/usr/bin/env bash
# Measures one worker with many live 1080p30 H.264 cameras: how many records it publishes, and how old they are.
#
#   source bundle/env.sh; scripts/gpu/cameras.sh --cameras 60 --seconds 60 --fps 10
#
# rtsp_server.py serves the cameras on this machine, with RTCP sender reports. The age of a record is therefore the time
# from the moment at which the frame was due to its hand-over to the Kafka client. The worker publishes to the embedded
# broker, from which `lookout tail` reads the records. cameras_report.py computes the figures from the records that were
# published during the measurement. All processes that the script starts are stopped at the end.
#
# Exit code: 0 the figures are written, 1 something failed (the cause and the end of the worker's log are printed),
# 2 wrong arguments.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: cameras.sh [OPTIONS]

  --cameras N       number of cameras [16]
  --seconds S       duration of the measurement, after the warm-up [30]
  --warm-up S       seconds from the time at which all cameras publish records to the measurement [5]
  --fps F           frame rate per camera, the pipeline's key `fps` [10]
  --arch ARCH       [retinanet_resnet50_fpn]
  --weights W       [random:0]
  --input WxH       the network's input [640x640]
  --max-batch B     the pipeline's `batch.max_size` [32]
  --max-age-ms MS   the pipeline's `batch.max_age_ms` [500]
  --device D        auto, cuda, cuda:N or cpu [auto]
  --precision P     auto, fp32, bf16 or fp16 [auto]
  --decoder D       the cameras' key `decoder`: auto, gpu or cpu [auto]
  --clip FILE       H.264 byte stream that the cameras send [the bundle's]
  --timeout S       maximum duration of the run [warm-up + seconds + 120]
  --output FILE     output file for the figures, one line of JSON [cameras.json]
  --keep FOLDER     keep logs, metrics and records in this folder
EOF
}

log() { printf '==> %s\n' "$*" >&2; }
wrong() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
declare -A option=(
    [cameras]=16 [seconds]=30 [warm-up]=5 [fps]=10 [arch]=retinanet_resnet50_fpn [weights]=random:0 [input]=640x640
    [max-batch]=32 [max-age-ms]=500 [device]=auto [precision]=auto [decoder]=auto [clip]='' [timeout]=''
    [output]=cameras.json [keep]=''
)
while [[ $# -gt 0 ]]; do
    name="${1#--}"
    [[ "$name" != help && "$1" != -h ]] || { usage; exit 0; }
    [[ "$1" == --* && -n "${option[$name]+set}" ]] || { usage >&2; wrong "unknown option $1"; }
    [[ $# -ge 2 ]] || wrong "$1 needs a value"
    option[$name]="$2"
    shift 2
done
for name in cameras seconds max-batch max-age-ms; do
    [[ "${option[$name]}" =~ ^[1-9][0-9]*$ ]] ||
        wrong "--$name is '${option[$name]}'; it must be a whole number above 0"
done
[[ "${option[warm-up]}" =~ ^[0-9]+$ ]] || wrong "--warm-up is '${option[warm-up]}'; it must be a whole number"
option[timeout]="${option[timeout]:-$((option[warm-up] + option[seconds] + 120))}"
[[ "${option[timeout]}" =~ ^[1-9][0-9]*$ ]] ||
    wrong "--timeout is '${option[timeout]}'; it must be a whole number above 0"
[[ "${option[decoder]}" =~ ^(auto|cpu|gpu)$ ]] ||
    wrong "--decoder is '${option[decoder]}'; it must be auto, gpu or cpu"
lookout="$(command -v lookout)" || lookout="$here/../../target/release/lookout"
[[ -x "$lookout" ]] || wrong "lookout is not on PATH; source the bundle's env.sh"
clip="${option[clip]:-${LOOKOUT_BUNDLE:-/nonexistent}/clips/road-1080p30.h264}"
[[ -f "$clip" ]] ||
    wrong "the clip $clip does not exist; source the bundle's env.sh, or pass --clip \"\$(scripts/gpu/clip.sh)\""
weights="${option[weights]}"
[[ "$weights" != */* || "$weights" == /* ]] || weights="$PWD/$weights"

# Python runs with the libraries of the machine, not with those of the bundle. An array, so that `$!` is the pid of
# Python.
python=(env -u LD_LIBRARY_PATH python3)

folder="$(mktemp -d)"
declare -A running=()
finished=''
stop() {
    local pid="${running[$1]:-}" tries
    [[ -n "$pid" ]] || return 0
    unset "running[$1]"
    kill "${2:--TERM}" "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 150; tries++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    exit_code=0
    wait "$pid" 2>/dev/null || exit_code=$?
}
finish() {
    local status=$? name
    trap - EXIT INT TERM
    for name in "${!running[@]}"; do
        [[ "$name" == worker || "$name" == cameras ]] || stop "$name"
    done
    stop worker -INT
    stop cameras
    if [[ -n "${option[keep]}" ]]; then
        mkdir -p "${option[keep]}"
        cp "$folder"/* "${option[keep]}/" 2>/dev/null || true
    fi
    rm -rf "$folder"
    [[ -n "$finished" || "$status" -ne 0 ]] || status=1
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf 'error: %s\n' "$*" >&2
    if [[ -s "$folder/worker.log" ]]; then
        printf -- '--- last lines of the worker log\n' >&2
        tail -n 30 "$folder/worker.log" >&2
    fi
    if [[ -s "$folder/cameras.log" ]]; then
        printf -- '--- last lines of the RTSP server log\n' >&2
        tail -n 5 "$folder/cameras.log" >&2
    fi
    exit 1
}
deadline=$((SECONDS + option[timeout]))
is_running() { kill -0 "${running[$1]}" 2>/dev/null; }

# line_of NAME FILE TEXT: waits until FILE, which the process NAME writes, has a line with TEXT; sets `line` to it.
line_of() {
    local runs=yes
    while :; do
        is_running "$1" || runs=''
        line="$(grep -m 1 -e "$3" "$2" 2>/dev/null || true)"
        [[ -z "$line" ]] || return 0
        [[ -n "$runs" ]] || fail "$1 ended before it wrote '$3'"
        ((SECONDS < deadline)) || fail "no '$3' from $1 within ${option[timeout]} s"
        sleep 0.2
    done
}

# pause SECONDS: sleeps; fails if a process ends in the meantime.
pause() {
    local until=$((SECONDS + $1))
    while ((SECONDS < until)); do
        is_running worker || fail "the worker ended during the run"
        is_running cameras || fail "the RTSP server ended during the run"
        is_running tail || fail "lookout tail ended during the run: $(tail -n 3 "$folder/tail.log")"
        ((SECONDS < deadline)) || fail "the run took longer than ${option[timeout]} s"
        sleep 0.2
    done
}

# Each camera needs a connection in both processes, and each GStreamer pipeline opens more file descriptors.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

"${python[@]}" "$here/rtsp_server.py" "$clip" --cameras "${option[cameras]}" --fps 30 \
    >"$folder/cameras.out" 2>"$folder/cameras.log" &
running[cameras]=$!
line_of cameras "$folder/cameras.out" '^ready '
rtsp="${line#ready }"
log "${option[cameras]} cameras at rtsp://$rtsp/camera-1 to camera-${option[cameras]}"

http="127.0.0.1:$("${python[@]}" -c 'import socket
print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')"
{
    cat <<EOF
name = "gpu-cameras"

[model]
arch = "${option[arch]}"
weights = "$weights"
input = "${option[input]}"
device = "${option[device]}"
precision = "${option[precision]}"

[batch]
max_size = ${option[max-batch]}
max_age_ms = ${option[max-age-ms]}

[kafka]
brokers = "embedded"

[worker]
id = "gpu"
http = "$http"
EOF
    for ((n = 1; n <= option[cameras]; n++)); do
        printf '\n[[camera]]\nid = "camera-%d"\nuri = "rtsp://%s/camera-%d"\nfps = %s\n' \
            "$n" "$rtsp" "$n" "${option[fps]}"
        printf 'decoder = "%s"\n' "${option[decoder]}"
    done
} >"$folder/pipeline.toml"

log "lookout run with ${option[arch]} at ${option[input]}, ${option[fps]} frames/s per camera"
"$lookout" run "$folder/pipeline.toml" --summary text >"$folder/summary" 2>"$folder/worker.log" &
running[worker]=$!
line_of worker "$folder/worker.log" 'embedded broker at'
broker="$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$line" | head -n 1)"
"$lookout" tail --brokers "$broker" --json >"$folder/records.jsonl" 2>"$folder/tail.log" &
running[tail]=$!
line_of worker "$folder/worker.log" 'all cameras publish records'
log "$(sed -n 's/.*network loaded/network loaded/p' "$folder/worker.log" | head -n 1)"

if command -v nvidia-smi >/dev/null 2>&1; then
    nvidia-smi --query-gpu=utilization.gpu,utilization.decoder,memory.used --format=csv,noheader,nounits \
        --loop-ms=1000 >"$folder/gpu.csv" 2>/dev/null &
    running[gpu]=$!
fi
pause "${option[warm-up]}"
log "measuring for ${option[seconds]} s"
"${python[@]}" "$here/cameras_report.py" snapshot "$http" "${running[worker]}" "${running[cameras]}" >"$folder/before.json" ||
    fail "the worker's metrics cannot be read"
pause "${option[seconds]}"
"${python[@]}" "$here/cameras_report.py" snapshot "$http" "${running[worker]}" "${running[cameras]}" >"$folder/after.json" ||
    fail "the worker's metrics cannot be read"
# Waits for the records that were published last to reach `lookout tail`.
pause 1
stop tail
[[ -z "${running[gpu]:-}" ]] || stop gpu
stop worker -INT
worker_exit_code="$exit_code"
stop cameras

settings=()
for name in cameras seconds fps arch weights input max-batch max-age-ms device precision decoder; do
    settings+=("$name=${option[$name]}")
done
"${python[@]}" "$here/cameras_report.py" report "$folder" "${option[output]}" "${settings[@]}" ||
    fail "no figures could be computed"
((worker_exit_code == 0)) || fail "the worker ended with exit code $worker_exit_code"
finished=yes
log "the figures are in ${option[output]}"
