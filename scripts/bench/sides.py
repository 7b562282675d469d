"""Measurements of one side. Each function returns the JSON that the program printed."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / "scripts" / "peers"
# Frames per camera in measurements with eight cameras: about 2,500 in total, so that on a machine with a few cores a
# run takes about as long as one camera with the whole clip.
SHORT_CLIP_FRAMES = 300


def target():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def _lookout():
    return target() / "release" / "lookout"


@functools.cache
def _python():
    return _output([ROOT / "scripts" / "peers.sh"]).strip()


@functools.cache
def clip():
    return _output([ROOT / "scripts" / "clip.sh"]).strip()


@functools.cache
def short_clip(name):
    """The first frames of the clip: unchanged in `mkv`, or encoded in H.264, as cameras send it, in `mp4`."""
    path = target() / f"bench-{SHORT_CLIP_FRAMES}.{name}"
    shortened = ["identity", f"eos-after={SHORT_CLIP_FRAMES + 1}", "!"]
    ways = {
        "mkv": ["avidemux", "!", *shortened, "matroskamux", "!"],
        "mp4": ["decodebin", "!", *shortened, "videoconvert", "!", "x264enc", "speed-preset=veryfast",
                "key-int-max=50", "!", "mp4mux", "!"],
    }
    _output(["gst-launch-1.0", "-q", "filesrc", f"location={clip()}", "!", *ways[name], "filesink", f"location={path}"])
    return str(path)


def _output(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"error: exit code {done.returncode} from: {' '.join(map(str, command))}")
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Network:
    arch: str
    input: str
    batch: int


CLASSIFIER = Network("resnet50", "224x224", 8)
DETECTOR = Network("retinanet_resnet50_fpn", "640x640", 2)


def lookout_model(network, precision, seconds):
    out = _output([_lookout(), "bench", "--arch", network.arch, "--weights", "random:0", "--device", "cpu",
                   "--input", network.input, "--precision", precision, "--batch", str(network.batch),
                   "--seconds", str(seconds), "--json"], stderr=subprocess.DEVNULL)
    return json.loads(out)["results"][0]


def peer_model(network, engine, seconds):
    command = [_python(), PEERS / "model.py", "--arch", network.arch, "--engine", engine, "--size", network.input,
               "--batch", str(network.batch), "--seconds", str(seconds)]
    return json.loads(_output(command, stderr=subprocess.DEVNULL))


def lookout_pipeline(network, path, cameras, precision, brokers):
    lines = ['name = "bench"', "[model]", f'arch = "{network.arch}"', 'weights = "random:0"', 'device = "cpu"',
             f'input = "{network.input}"', f'precision = "{precision}"', "[batch]", f"max_size = {network.batch}",
             "[kafka]", f'brokers = "{brokers}"']
    for camera in range(cameras):
        lines += ["[[camera]]", f'id = "camera-{camera}"', f"uri = {json.dumps(str(path))}"]
    with tempfile.TemporaryDirectory(prefix="lookout-bench-") as folder:
        file = pathlib.Path(folder) / "bench.toml"
        file.write_text("\n".join(lines) + "\n")
        log = pathlib.Path(folder) / "log"
        with open(log, "w") as errors:
            run = subprocess.Popen([_lookout(), "run", file, "--summary", "json"],
                                   stdout=subprocess.PIPE, stderr=errors, text=True)
            peak = _peak_memory_mib(run)
            out = run.stdout.read()
        if run.wait() != 0:
            raise SystemExit(f"error: lookout run ended with exit code {run.returncode}:\n{log.read_text()[-2000:]}")
    summary = json.loads(out.splitlines()[-1])
    lost = {id: camera for id, camera in summary["cameras"].items() if camera["delivered"] != camera["received"]}
    if lost:
        raise SystemExit(f"error: frames of files were lost: {lost}")
    return {"fps": summary["fps"], "frames": sum(c["delivered"] for c in summary["cameras"].values()),
            "latency_ms": summary["latency_ms"], "rss_mib": peak}


def _peak_memory_mib(process):
    """Returns the peak memory of the process; waits for it to end.

    Reads VmHWM, because rusage also includes the fork of this script. `lookout run` replaces itself with lookout-worker
    (exec), which resets VmHWM.
    """
    peak = 0
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            marks = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
            peak = int(next(marks, peak * 1024)) // 1024
        except OSError:
            pass
        time.sleep(0.05)
    return peak


def peer_pipeline(path, cameras, engine, brokers):
    command = [_python(), PEERS / "pipeline.py", *[path] * cameras, "--engine", engine,
               "--batch", str(CLASSIFIER.batch), "--brokers", brokers]
    return json.loads(_output(command, stderr=subprocess.DEVNULL))


def help_ms():
    start = time.perf_counter()
    _output([_lookout(), "--help"])
    return (time.perf_counter() - start) * 1000
