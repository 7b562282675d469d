#!/usr/bin/env python3
"""Runs `lookout run` on a clip and checks three features of a worker that `lookout-lab` does not cover.

    source bundle/env.sh; scripts/gpu/check.sh with LOOKOUT_PARTS=worker, or
    scripts/gpu/worker_check.py --device cpu --clip FILE, with `lookout` on the PATH

| check | requirement |
|---|---|
| second stage | a detector with `[classify]` in fp32: the device finds at least 98 % of the CPU's detections, with the same class from the classifier |
| TorchScript | a module in fp32: its classes are those of the built-in network with the same weights, and its scores differ by at most 1e-3 of the score |
| failing kernel | a module that reads outside of its memory from the 21st batch on: the worker publishes records before that, exits with code 1, and logs that the device is lost |

The last check needs a GPU: on the CPU such a module raises an error, and the worker reloads it.

Exit code: 0 if every requirement is met, 1 otherwise.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# Lookout's programs run with the libraries of the bundle, Python with those of the machine.
LOOKOUT_ENVIRONMENT = dict(os.environ)
if "BUNDLE_LIBRARIES" in os.environ:
    LOOKOUT_ENVIRONMENT["LD_LIBRARY_PATH"] = os.environ["BUNDLE_LIBRARIES"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Number of times that the clip is repeated: `lookout tail` takes a second to connect, in which a fast device would
# finish a short clip.
REPEATS = 8
MIN_SHARE = 0.98
MIN_IOU = 0.95
MAX_SCORE_DIFFERENCE = 1e-3
BATCHES_BEFORE_FAILURE = 20


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    bundle = pathlib.Path(os.environ.get("LOOKOUT_BUNDLE", "/nonexistent"))
    parser.add_argument("--clip", type=pathlib.Path, default=bundle / "clips/road-1080p30.h264")
    parser.add_argument("--frames", type=int, default=60, help="number of frames of the clip that each run processes")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for each run")
    parser.add_argument("--part", action="append", choices=list(CHECKS), help="run this check only")
    return parser.parse_args()


def make_modules(folder):
    """Writes the TorchScript modules and the weights."""
    import torch
    import torchvision

    sys.path.insert(0, str(ROOT / "crates/model/tests/goldens"))
    import hash_fill

    class Failing(torch.nn.Module):
        def __init__(self, limit: int):
            super().__init__()
            self.calls = 0
            self.limit = limit
            self.register_buffer("table", torch.zeros(1000))

        def forward(self, x):
            self.calls += 1
            logits = self.table.repeat(x.size(0), 1) + x.mean()
            if self.calls > self.limit:
                logits = logits + self.table[(x.flatten()[:1] * 0 + 1_000_000).long()]
            return logits

    net = hash_fill.fill(torchvision.models.resnet50(weights=None), 7).eval()
    torch.save(net.state_dict(), folder / "resnet50.pth")
    torch.jit.trace(net, torch.zeros(1, 3, 224, 224)).save(folder / "resnet50.ts")
    torch.jit.script(Failing(BATCHES_BEFORE_FAILURE)).save(folder / "failing.ts")


def run_worker(model, args, more="", clip=None):
    """Runs a worker on the clip; returns its exit code, its log and its frame records by sequence number."""
    with tempfile.TemporaryDirectory(prefix="worker-check-") as folder:
        pipeline = pathlib.Path(folder, "pipeline.toml")
        keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in model.items())
        pipeline.write_text(
            f'name = "worker-check"\n[model]\n{keys}\n{more}\n[kafka]\nbrokers = "embedded"\n'
            f'[[camera]]\nid = "clip"\nuri = {json.dumps(str(clip or args.clip))}\ndecoder = "cpu"\n'
            f"[infer]\ninterval = {max(1, 300 // args.frames)}\n"
        )
        worker = subprocess.Popen(
            ["lookout", "run", str(pipeline), "--summary", "text"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=LOOKOUT_ENVIRONMENT,
        )
        tail, log = None, []
        for line in worker.stderr:
            log.append(line)
            found = re.search(r"embedded broker at (127\.0\.0\.1:\d+)", line)
            if found and tail is None:
                tail = subprocess.Popen(
                    ["lookout", "tail", "--brokers", found.group(1), "--json"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env=LOOKOUT_ENVIRONMENT,
                )
        code = worker.wait(args.timeout)
        records = {}
        if tail:
            # The embedded broker ended with the worker; `lookout tail` would wait for it.
            tail.terminate()
            for line in tail.communicate()[0].splitlines():
                record = json.loads(line)
                if record.get("schema", "").startswith("lookout.frame/"):
                    records[record["seq"]] = record
        return code, "".join(log), records


def records_of(model, args, more="", clip=None):
    code, log, records = run_worker(model, args, more, clip)
    if code != 0 or not records:
        raise RuntimeError(f"the worker ended with {code} and {len(records)} records: {log[-2000:]}")
    return records


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])  # noqa: E731
    return shared / max(area(a) + area(b) - shared, 1e-9)


def second_stage(args, _):
    model = {
        "arch": "retinanet_resnet50_fpn",
        "weights": "random:7",
        "input": "256x160",
        "precision": "fp32",
        "score_threshold": 0.0,
        "max_detections": 20,
    }
    more = '[classify]\narch = "resnet18"\nweights = "random:7"\ninput = "64x64"\nmin_side = 2\n'
    expected = records_of({**model, "device": "cpu"}, args, more)
    found = records_of({**model, "device": args.device}, args, more)
    compared = agreeing = classified = 0
    for seq in expected.keys() & found.keys():
        for one in expected[seq]["detections"]:
            compared += 1
            classified += bool(one["classes"])
            same = [
                other
                for other in found[seq]["detections"]
                if other["class_id"] == one["class_id"] and iou(other["box"], one["box"]) > MIN_IOU
            ]
            names = [[c["class_id"] for c in detection["classes"]] for detection in [one, *same]]
            agreeing += any(name == names[0] for name in names[1:])
    if not classified:
        raise RuntimeError(f"none of {compared} detections was classified, so nothing was compared")
    share = agreeing / compared
    return share >= MIN_SHARE, f"{share:.4f} of {compared} detections agree, {classified} with a class"


def torchscript(args, modules):
    device = {"device": args.device, "precision": "fp32"}
    expected = records_of({"arch": "resnet50", "weights": str(modules / "resnet50.pth"), **device}, args, clip=modules / "long.h264")
    module = {"arch": "torchscript", "weights": str(modules / "resnet50.ts"), "output": "logits", "input": "224x224"}
    found = records_of({**module, **device}, args, clip=modules / "long.h264")
    worst, compared = 0.0, 0
    for seq in expected.keys() & found.keys():
        theirs = {c["class_id"]: c["score"] for c in found[seq]["classes"]}
        for one in expected[seq]["classes"]:
            compared += 1
            worst = max(worst, abs(theirs.get(one["class_id"], 0.0) - one["score"]) / one["score"])
    return compared > 0 and worst <= MAX_SCORE_DIFFERENCE, f"{compared} scores differ by {worst:.2g} at most"


def failing_kernel(args, modules):
    module = {"arch": "torchscript", "weights": str(modules / "failing.ts"), "output": "logits", "input": "224x224"}
    code, log, records = run_worker({**module, "device": args.device}, args, "[batch]\nmax_size = 1\n", modules / "long.h264")
    told = "device lost, this process can no longer use it" in log
    reason = next((line.strip()[:300] for line in log.splitlines() if "lookout: " in line), log[-1000:])
    return code == 1 and told and bool(records), f"exit code {code}, {len(records)} records before; {reason}"


CHECKS = {"second-stage": second_stage, "torchscript": torchscript, "failing-kernel": failing_kernel}


def main():
    args = parse_args()
    ok = True
    with tempfile.TemporaryDirectory(prefix="worker-check-modules-") as folder:
        make_modules(pathlib.Path(folder))
        pathlib.Path(folder, "long.h264").write_bytes(args.clip.read_bytes() * REPEATS)
        for name in args.part or CHECKS:
            try:
                met, said = CHECKS[name](args, pathlib.Path(folder))
            except (RuntimeError, subprocess.TimeoutExpired, KeyError) as error:
                met, said = False, f"{type(error).__name__}: {error}"
            ok &= met
            print(f"{name:<16}{'yes' if met else 'NO':<5}{said}", flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
