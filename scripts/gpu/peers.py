#!/usr/bin/env python3
"""Measures torchvision's ResNet-50 in bf16, channels_last, for comparison with Lookout's throughput on a GPU.

    python3 scripts/gpu/peers.py --mode eager --batches 1,8,32,128 --dir D
    python3 scripts/gpu/peers.py --mode compile --batches 1,8,32,128 --dir D --timeout 500 &
    ...                       # other work, until D/compile-BATCH.ready exists for every batch size
    touch D/go-1              # on an idle GPU, one batch size at a time; then wait for D/compile-1.json

`eager` writes D/eager.json and prints it: images/s for each batch, and the GPU's bf16 matrix product and copy rates.

`compile` starts one process for each batch size, which compiles (`torch.compile(mode="max-autotune")`), writes
D/compile-BATCH.ready, waits for D/go-BATCH, measures and writes D/compile-BATCH.json. Compilation takes minutes; the
measurement starts only when D/go-BATCH exists, so that the caller can ensure that nothing else uses the GPU.

On failure, and after `--timeout` seconds, the reason is written to D/eager.error or D/compile-BATCH.error, and the exit
code is 1.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback

# Must be set before torch is imported. Four processes share the cores.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "8")

REPEATS = 5
SIDE = 224
MATMUL_SIDE = 8192
COPY_BYTES = 256 << 20
POLL_SECONDS = 0.05


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mode", choices=["eager", "compile"], required=True)
    parser.add_argument("--batches", default="1,8,32,128")
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--timeout", type=float, default=540, help="seconds for the whole process")
    parser.add_argument("--seconds", type=float, help=f"for each of the {REPEATS} repeats; eager 0.25, compile 0.4")
    parser.add_argument("--arch", default="resnet50", help="a classifier of torchvision")
    parser.add_argument("--device", default="cuda:0")
    args = parser.parse_args()
    args.batches = [int(batch) for batch in args.batches.split(",")]
    if args.seconds is None:
        args.seconds = 0.25 if args.mode == "eager" else 0.4
    return args


def write(path, text):
    """Writes a file atomically, so that it is complete as soon as it exists."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text.rstrip() + "\n")
    partial.rename(path)


@contextlib.contextmanager
def failures_in(path, timeout):
    """Writes the reason of a failure to `path`. After `timeout` seconds, does the same and exits with code 1."""

    def expire():
        write(path, f"not finished after {timeout:.0f} s")
        os._exit(1)

    watchdog = threading.Timer(timeout, expire)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    except BaseException:
        write(path, traceback.format_exc())
        raise
    finally:
        watchdog.cancel()


def timed(run, count, device):
    """Returns the time of `count` calls on the device, in seconds."""
    import torch

    if not device.startswith("cuda"):
        started = time.perf_counter()
        for _ in range(count):
            run()
        return time.perf_counter() - started
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(count):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def rates(run, seconds, device):
    """Returns the calls per second in each of REPEATS repeats of about `seconds`, after a warm-up of that duration."""
    timed(run, 3, device)
    once = timed(run, 3, device) / 3
    count = max(1, round(seconds / once))
    count = max(1, round(seconds / timed(run, count, device) * count))
    return [count / timed(run, count, device) for _ in range(REPEATS)]


def network(args):
    import torch
    import torchvision

    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    net = torchvision.models.get_model(args.arch, weights=None).eval()
    return net.to(args.device, torch.bfloat16, memory_format=torch.channels_last)


def images(batch, args):
    import torch

    x = torch.randn(batch, 3, SIDE, SIDE, device=args.device, dtype=torch.bfloat16)
    return x.contiguous(memory_format=torch.channels_last)


def measurement(batch, all_rates):
    per_s = [rate * batch for rate in all_rates]
    return {
        "batch": batch,
        "images_per_s": round(statistics.median(per_s), 2),
        "repeats": [round(value, 2) for value in per_s],
    }


def software(args):
    import torch
    import torchvision

    gpu = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else None
    return {
        "gpu": gpu,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "arch": args.arch,
        "precision": "bf16",
    }


def matmul_tflops(args):
    import torch

    a, b = (torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=args.device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    median = statistics.median(rates(lambda: torch.mm(a, b, out=out), 0.05, args.device))
    return round(median * 2 * MATMUL_SIDE**3 / 1e12, 1)


def copy_gb_per_s(args):
    import torch

    host = torch.empty(COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(COPY_BYTES, dtype=torch.uint8, device=args.device)
    median = statistics.median(rates(lambda: there.copy_(host, non_blocking=True), 0.05, args.device))
    return round(median * COPY_BYTES / 1e9, 2)


def eager(args):
    import torch

    result = {"mode": "eager", "results": []}
    with failures_in(args.dir / "eager.error", args.timeout), torch.inference_mode():
        result.update(software(args))
        net = network(args)
        for batch in args.batches:
            x = images(batch, args)
            result["results"].append(measurement(batch, rates(lambda: net(x), args.seconds, args.device)))
        if args.device.startswith("cuda"):
            result["matmul_bf16_tflops"] = matmul_tflops(args)
            result["h2d_pinned_gb_per_s"] = copy_gb_per_s(args)
        write(args.dir / "eager.json", json.dumps(result))
    print(json.dumps(result))
    return 0


def compile_one(args):
    (batch,) = args.batches
    started = time.monotonic()
    file = lambda end: args.dir / f"compile-{batch}.{end}"
    with failures_in(file("error"), args.timeout):
        import torch
        from torch._inductor.async_compile import AsyncCompile

        # Compile the candidates in threads of this process: with the process pool, inductor compiles each candidate
        # again before it measures it, which takes ten times as long (observed with 2.11).
        AsyncCompile.use_process_pool = classmethod(lambda cls: False)
        result = {"mode": "compile", **software(args)}
        # no_grad is more common with torch.compile than inference_mode; with CUDA graphs, the speed is the same.
        with torch.no_grad():
            net, x = network(args), images(batch, args)
            compiled = torch.compile(net, mode="max-autotune")
            expected = net(x).float()
            # The second call records the CUDA graph, the third replays it.
            for _ in range(3):
                output = compiled(x).float().clone()
            result["compile_s"] = round(time.monotonic() - started, 1)
            result["error_against_eager"] = float((output - expected).norm() / expected.norm())
            write(file("ready"), json.dumps(result))
            go = args.dir / f"go-{batch}"
            while not go.exists():
                time.sleep(POLL_SECONDS)
            measured = measurement(batch, rates(lambda: compiled(x), args.seconds, args.device))
        result["results"] = [measured]
        write(file("json"), json.dumps(result))
    print(json.dumps(result), flush=True)
    return 0


def compile_all(args):
    """Starts one process per batch size, all at the same time; returns the exit code."""
    children = []
    try:
        for batch in args.batches:
            command = [sys.executable, __file__, "--mode", "compile", "--batches", batch, "--dir", args.dir]
            command += ["--timeout", args.timeout, "--seconds", args.seconds]
            command += ["--arch", args.arch, "--device", args.device]
            children.append(subprocess.Popen(list(map(str, command))))
        return int(any([child.wait() for child in children]))
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()


def main():
    args = parse_args()
    # Exit by an exception, so that a stopped process stops its children and writes the reason.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))
    args.dir.mkdir(parents=True, exist_ok=True)
    # Files of an earlier run would be mistaken for results of this run.
    if args.mode == "eager":
        stale = ["eager.json", "eager.error"]
    else:
        ends = ("ready", "json", "error")
        stale = [f"compile-{batch}.{end}" for batch in args.batches for end in ends]
    for name in stale:
        (args.dir / name).unlink(missing_ok=True)
    if args.mode == "eager":
        return eager(args)
    return compile_one(args) if len(args.batches) == 1 else compile_all(args)


if __name__ == "__main__":
    sys.exit(main())
