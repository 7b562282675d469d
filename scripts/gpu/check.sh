#!/usr/bin/env bash
# Checks and measures Lookout on a GPU machine. The most important parts run first.
#
#   source bundle/env.sh; scripts/gpu/check.sh [SECONDS] [FOLDER]
#
# SECONDS (480) is the time budget. Parts that would exceed it are skipped, which the last table shows. The results, one
# JSON file per part, and logs are written to FOLDER (gpu-check). The tables are printed at the end.
#
# torch.compile takes minutes to select its kernels. The correctness checks run meanwhile; the parts that measure time
# run after it, when nothing else uses the GPU.
#
# LOOKOUT_PARTS="cameras pipeline" runs only these parts. The names are those in the last table, and `compile`.
#
# Exit code: 0 if all parts succeeded, 1 if one failed.
set -uo pipefail

budget="${1:-480}"
folder="${2:-gpu-check}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
lab="$(command -v lookout-lab)" || { echo "error: lookout-lab is not on the PATH; source the bundle's env.sh" >&2; exit 1; }
device="${LOOKOUT_DEVICE:-cuda:0}"
cameras="${LOOKOUT_CAMERAS:-52}"
# Python runs with the libraries of libtorch, but not with those of the bundle.
export PYTHON_LIBRARIES="${LOOKOUT_TORCH:?source the env.sh of the bundle}/lib" PYTHONUNBUFFERED=1
python() { LD_LIBRARY_PATH="$PYTHON_LIBRARIES" python3 "$@"; }
export -f python
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
started=$SECONDS
status=0
parts=()

left() { echo $((budget - (SECONDS - started))); }

# wanted NAME: succeeds if the part is selected.
wanted() { [[ -z "${LOOKOUT_PARTS:-}" || " $LOOKOUT_PARTS " == *" $1 "* ]]; }

# part NAME LONGEST COMMAND...: runs a part for at most LONGEST seconds, and writes its output to NAME.txt and NAME.err.
part() {
    local name="$1" longest="$2" begun=$SECONDS code
    shift 2
    wanted "$name" || return 0
    if (($(left) < longest)); then
        parts+=("$(printf '%-28s %6s  skipped: %s s are left, it may take %s s' "$name" - "$(left)" "$longest")")
        return 0
    fi
    echo "==> [$((SECONDS - started)) s] $name" >&2
    timeout "$longest" "$@" >"$folder/$name.txt" 2>"$folder/$name.err"
    code=$?
    parts+=("$(printf '%-28s %6s  exit code %s' "$name" "$((SECONDS - begun)) s" "$code")")
    ((code == 0)) || { status=1; tail -n 5 "$folder/$name.err" >&2; }
}

bench() { "$lab" bench --weights random:0 --device "$device" --json "$@"; }
resnet50() { bench --arch resnet50 --precision bf16 --batch 1,8,32,128 --seconds 1; }
export -f bench resnet50
export lab device

# With 1 % of the GPU's memory, batches must be split and the program must not fail.
little_memory() {
    local said
    said="$(PYTORCH_CUDA_ALLOC_CONF=per_process_memory_fraction:0.01 "$lab" bench --arch resnet50 --weights random:0 \
        --device "$device" --precision fp32 --batch 128 --seconds 1 2>&1)" || { echo "$said" >&2; return 1; }
    echo "$said" | cut -c1-200
    [[ "$said" == *"not enough GPU memory for a batch"* ]]
}
no_such_gpu() {
    "$lab" bench --device cuda:99 --weights random:0 2>&1 | tee /dev/stderr | grep -q 'there is no GPU 99'
}
export -f little_memory no_such_gpu

peers=''
if wanted compile && (($(left) > 200)); then
    LD_LIBRARY_PATH="$PYTHON_LIBRARIES" python3 "$here/peers.py" --mode compile --batches 1,8,32,128 --dir "$folder" --timeout "$budget" \
        >"$folder/compile.txt" 2>"$folder/compile.err" &
    peers=$!
fi
part torchvision 120 env LD_LIBRARY_PATH="$PYTHON_LIBRARIES" python3 "$here/torchvision_check.py" --lab "$lab" --device "$device" --json "$folder/torchvision.json"
part devices 120 "$lab" check-device --device "$device" --precision fp32,bf16,fp16 --batch 1,3,8,32 --input 320x320 \
    --batches 10000
part little-memory 60 bash -c little_memory
part no-such-gpu 20 bash -c no_such_gpu
# Wait until each batch size is compiled or has failed.
while [[ -n "$peers" ]] && kill -0 "$peers" 2>/dev/null && (($(left) > 60)); do
    ready=$(find "$folder" -name 'compile-*.ready' -o -name 'compile-*.error' | wc -l)
    ((ready < 4)) || break
    sleep 0.5
done
echo "==> [$((SECONDS - started)) s] torch.compile: $(cd "$folder" && echo compile-*.ready)" >&2
part bench-resnet50-a 25 bash -c resnet50
part eager 25 env LD_LIBRARY_PATH="$PYTHON_LIBRARIES" python3 "$here/peers.py" --mode eager --batches 1,8,32,128 --dir "$folder"
for batch in 1 8 32 128; do
    [[ -e "$folder/compile-$batch.ready" ]] || continue
    touch "$folder/go-$batch"
    for _ in $(seq 100); do
        [[ ! -e "$folder/compile-$batch.json" && ! -e "$folder/compile-$batch.error" ]] || break
        sleep 0.1
    done
done
[[ -z "$peers" ]] || kill "$peers" 2>/dev/null
part bench-resnet50-b 20 bash -c resnet50
part pipeline 40 bash -c "bench --arch resnet50 --precision bf16 --batch 64,128 --cameras 64 --seconds 2"
part bench-retinanet 50 bash -c "bench --arch retinanet_resnet50_fpn --precision bf16 --input 640x640 --batch 1,8,16,32 --seconds 1"
part bench-fp16 30 bash -c "bench --arch resnet50 --precision fp16,fp32 --batch 128 --seconds 1"
part decoders 60 "$here/decoders.sh"
part worker 120 env LD_LIBRARY_PATH="$PYTHON_LIBRARIES" BUNDLE_LIBRARIES="$LD_LIBRARY_PATH" \
    python3 "$here/worker_check.py" --device "$device"
part cameras 100 "$here/cameras.sh" --cameras "$cameras" --fps 30 --seconds 15 --warm-up 5 --max-age-ms 150 \
    --device "$device" --decoder "${LOOKOUT_DECODER:-auto}" --timeout 95 --output "$folder/cameras.json" --keep "$folder/cameras"
cp "$folder/bench-resnet50-a.txt" "$folder/bench-a.json" 2>/dev/null
cp "$folder/bench-resnet50-b.txt" "$folder/bench-b.json" 2>/dev/null

table() { echo; echo "## $1"; tail -n "${3:-60}" "$folder/$2" 2>/dev/null; }
table "torchvision on the same GPU" torchvision.txt
table "comparison with the CPU in fp32" devices.txt
table "1 % of the GPU memory" little-memory.txt 3
for name in pipeline bench-retinanet bench-fp16; do
    echo; echo "## $name"
    python - "$folder/$name.txt" <<'PYTHON'
import json, sys
try:
    results = json.load(open(sys.argv[1]))["results"]
except (OSError, ValueError) as error:
    sys.exit(f"no figures: {error}")
for r in results:
    latency = r["latency_ms"]
    print(f'{r["arch"]:<24} {r["precision"]:<5} {r["input"]["width"]}x{r["input"]["height"]:<5} batch {r["batch"]:<4} '
          f'cameras {r.get("cameras", "-"):<4} {r["images_per_s"]:>10.0f} images/s  p50 {latency["p50"]:.2f} ms  p95 {latency["p95"]:.2f} ms')
PYTHON
done
table "frames of the GPU decoder compared with those of the CPU decoder" decoders.txt
table "second stage, TorchScript and a failing kernel" worker.txt
table "cameras" cameras.txt
echo; echo "## ResNet-50 compared with PyTorch"
python "$here/throughput_report.py" "$folder" || status=1
echo
echo "## Parts"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
printf '%s\n' "${parts[@]}"
exit "$status"
