#!/usr/bin/env python3
"""Computes the figures of cameras.sh: `snapshot` reads a worker's metrics, `report` evaluates a run.

cameras_report.py snapshot HOST:PORT PID...        prints one line of JSON: the time, the metrics, the CPU time of the processes
cameras_report.py report FOLDER OUTPUT KEY=VALUE...  prints a table, and writes one line of JSON to OUTPUT
"""

import collections
import datetime
import json
import os
import re
import statistics
import sys
import time
import urllib.request

SAMPLE = re.compile(r"^lookout_(\w+?)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next((int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM:")), 0)


def snapshot(address, pids):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    totals, causes, statuses = collections.Counter(), collections.Counter(), collections.Counter()
    for line in text.splitlines():
        sample = SAMPLE.match(line)
        if not sample:
            continue
        name, labels, value = sample[1], dict(LABEL.findall(sample[2] or "")), float(sample[3])
        if name.endswith("_bucket"):
            continue
        if name == "frames_dropped_total":
            causes[labels["cause"]] += value
        elif name == "camera_status":
            statuses[labels["status"]] += value
        totals[name] += value
    print(json.dumps({
        "at": time.time(), "totals": totals, "dropped": causes, "status": statuses,
        "cpu_s": [cpu_seconds(pid) for pid in pids], "peak_mib": [memory_mib(pid) for pid in pids],
    }))  # fmt: skip


def percentile(ordered, q):
    return ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))]


def summary(values):
    ordered = sorted(values)
    return {f"p{q}": round(percentile(ordered, q), 1) for q in (50, 95, 99)} | {"max": round(ordered[-1], 1)}


def seconds_of(timestamp):
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def records_between(path, begin, end):
    with open(path) as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the last line, truncated when the reader was stopped
            if record.get("schema") == "lookout.frame/1" and begin <= seconds_of(record["published_at"]) < end:
                yield record


def gpu(path):
    rows = []
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                try:
                    rows.append([float(field) for field in line.split(",")])
                except ValueError:
                    continue  # "[N/A]"
    if not rows:
        return None
    busy, decoder, memory = zip(*rows)
    mean = lambda values: round(statistics.fmean(values), 1)
    return {"busy_percent": mean(busy), "nvdec_percent": mean(decoder), "memory_mib": max(memory)}


def decoders(path):
    """Returns the number of cameras per decoder, by the last decoder of each camera in the worker's log."""
    chosen = {}
    with open(path) as file:
        for line in file:
            found = re.search(r'decoder selected camera=(\S+) element="?([^" ]+)', line)
            if found:
                chosen[found[1]] = found[2]
    return dict(collections.Counter(chosen.values()))


def report(folder, output, settings):
    at = lambda name: os.path.join(folder, name)
    load = lambda name: json.load(open(at(name)))
    before, after = load("before.json"), load("after.json")
    lasted = after["at"] - before["at"]
    settings = dict(setting.split("=", 1) for setting in settings)
    cameras = int(settings["cameras"])
    counts, clocks = collections.Counter(), collections.Counter()
    ages, models, stages, detections = [], set(), collections.defaultdict(list), 0
    for record in records_between(at("records.jsonl"), before["at"], after["at"]):
        counts[record["camera"]] += 1
        clocks[record["clock"]] += 1
        detections += len(record["detections"])
        if record["clock"] == "rtcp":
            ages.append(record["age_ms"])
        models.add((record["model"]["arch"], record["model"]["precision"]))
        for stage, us in record["timing_us"].items():
            stages[stage].append(us / 1000)
    if not counts:
        sys.exit("error: no record was published during the measurement")
    if not ages:
        sys.exit("error: no record has a capture time from its camera's clock (RTCP)")
    rates = sorted([counts[camera] / lasted for camera in counts] + [0.0] * (cameras - len(counts)))
    change = lambda name: after["totals"].get(name, 0) - before["totals"].get(name, 0)
    dropped = {cause: int(after["dropped"][cause] - before["dropped"].get(cause, 0)) for cause in after["dropped"]}
    dropped = {cause: count for cause, count in sorted(dropped.items()) if count}
    published = change("frames_published_total")
    with open(at("cameras.out")) as file:
        served = [json.loads(line) for line in file if line.startswith("{")]
    served = served[-1] if served else {}
    result = {
        "settings": settings,
        "machine": {"cpus": os.cpu_count(), "model": " ".join("-".join(model) for model in sorted(models))},
        "seconds": round(lasted, 2),
        "records_per_s": round(sum(counts.values()) / lasted, 1),
        "published_per_s": round(published / lasted, 1),
        "camera_fps": {"min": round(rates[0], 2), "median": round(statistics.median(rates), 2)},
        "cameras_with_records": len(counts),
        "age_ms": summary(ages),
        "stage_ms": {stage: summary(values) for stage, values in stages.items()},
        "decoded_per_s": round(change("frames_received_total") / lasted, 1),
        "decoders": decoders(at("worker.log")),
        "decoder_fallbacks": int(change("decoder_fallbacks_total")),
        "dropped": dropped,
        "clocks": dict(clocks),
        "detections_per_record": round(detections / sum(counts.values()), 2),
        "mean_batch": round(change("batch_size_sum") / max(change("batch_size_count"), 1), 2),
        "device_busy": round(change("device_busy_seconds_total") / lasted, 3),
        "reconnects": int(change("camera_reconnects_total")),
        "worker": {
            "cores": round((after["cpu_s"][0] - before["cpu_s"][0]) / lasted, 2), "peak_mib": after["peak_mib"][0],
        },
        "server": {
            "cores": round((after["cpu_s"][1] - before["cpu_s"][1]) / lasted, 2),
            "late_ms": served.get("late_ms"), "dropped": served.get("dropped"),
        },
        "gpu": gpu(at("gpu.csv")),
    }  # fmt: skip
    with open(output, "w") as file:
        file.write(json.dumps(result) + "\n")
    table(result)


def table(result):
    line = lambda name, value: print(f"{name:<34} {value}")
    quantiles = lambda of: "  ".join(f"{name} {value:g}" for name, value in of.items())
    settings = result["settings"]
    line("cameras", f"{settings['cameras']} x 1080p30 H.264, {settings['fps']} frames/s per camera")
    line("network", f"{result['machine']['model']} at {settings['input']}, batches of at most {settings['max-batch']}")
    line("records/s", f"{result['records_per_s']:g} read, {result['published_per_s']:g} published")
    fps = result["camera_fps"]
    line("records/s per camera", f"min {fps['min']:g}  median {fps['median']:g}")
    line("age of records, ms", quantiles(result["age_ms"]))
    for stage, of in result["stage_ms"].items():
        line(f"  {stage}, ms", quantiles(of))
    line("decoded frames/s", f"{result['decoded_per_s']:g}")
    if result["decoders"]:
        line("decoders", "  ".join(f"{element} {count}" for element, count in result["decoders"].items()))
    if result["decoder_fallbacks"]:
        line("fallbacks to a CPU decoder", result["decoder_fallbacks"])
    line("dropped frames", "  ".join(f"{cause} {count}" for cause, count in result["dropped"].items()) or "none")
    line("clocks of records", "  ".join(f"{clock} {count}" for clock, count in result["clocks"].items()))
    line("mean batch, device busy", f"{result['mean_batch']:g}, {result['device_busy']:.0%}")
    worker, server = result["worker"], result["server"]
    line("worker", f"{worker['cores']:g} of {result['machine']['cpus']} cores, {worker['peak_mib']} MiB peak memory")
    line("RTSP server", f"{server['cores']:g} cores, frames late by ms: {quantiles(server['late_ms'] or {})}")
    if result["gpu"]:
        line("GPU (nvidia-smi)", "  ".join(f"{name} {value:g}" for name, value in result["gpu"].items()))
    if result["reconnects"]:
        line("reconnects", result["reconnects"])
    without = int(settings["cameras"]) - result["cameras_with_records"]
    if without:
        line("cameras without a record", without)


def main():
    match sys.argv[1:]:
        case ["snapshot", address, *pids]:
            snapshot(address, pids)
        case ["report", folder, output, *settings]:
            report(folder, output, settings)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
