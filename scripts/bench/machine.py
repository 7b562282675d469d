"""Describes the machine on which the figures are measured."""

import datetime
import os
import platform
import time


def _field(path, key):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.partition(":" if ":" in line else "=")
            if name.strip() == key:
                return value.strip().strip('"')
    return "unknown"


def describe():
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "instructions": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in _flags()],
        "os": _field("/etc/os-release", "PRETTY_NAME"),
        "kernel": platform.release(),
        "busy_before": _busy(seconds=2),
    }


def best_precision():
    """Returns what `precision = "auto"` selects: bf16 if the CPU has bf16 instructions."""
    return "bf16" if {"avx512_bf16", "amx_bf16"} & set(_flags()) else "fp32"


def _busy(seconds):
    """Returns the current CPU use by other programs, 0 to 1. The load average would still include the build."""

    def times():
        with open("/proc/stat", encoding="utf-8") as lines:
            return [int(value) for value in lines.readline().split()[1:9]]

    before = times()
    time.sleep(seconds)
    spent = [after - then for after, then in zip(times(), before, strict=True)]
    idle = spent[3] + spent[4]
    return round(1 - idle / max(sum(spent), 1), 3)


def _flags():
    return _field("/proc/cpuinfo", "flags").split()
