"""Prints one line per check, and tables at the end."""

import sys
import time
from contextlib import contextmanager


class Report:
    def __init__(self):
        self.failed = []
        self.checks = 0
        self.parts = []
        self.began = time.monotonic()

    def line(self, text):
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def check(self, name, passed, detail=""):
        """Records a check. `detail` is the measured value, or what is wrong."""
        self.checks += 1
        if not passed:
            self.failed.append(name)
        self.line(f"{'ok  ' if passed else 'FAIL'}  {name}{f': {detail}' if detail != '' else ''}")
        return passed

    def equal(self, name, actual, expected):
        return self.check(name, actual == expected, actual if actual == expected else f"{actual}, not {expected}")

    def info(self, text):
        self.line(f"      {text}")

    @contextmanager
    def part(self, name):
        """Measures a part. An exception is a failed check; the following parts still run."""
        self.line(f"== {name}")
        began, failed = time.monotonic(), len(self.failed)
        try:
            yield
        except Exception as error:  # each part has to be reported
            self.check(f"{name} runs to its end", False, f"{type(error).__name__}: {error}")
        self.parts.append((name, time.monotonic() - began, len(self.failed) - failed))

    def summary(self, images, memory):
        """Prints the tables. `images`: {image: bytes}. `memory`: {service: (largest use, limit)} in bytes."""
        print_table(
            ("Part", "Time", "Failed"),
            [(name, f"{seconds:.1f} s", failed or "-") for name, seconds, failed in self.parts]
            + [("total", f"{time.monotonic() - self.began:.1f} s", len(self.failed) or "-")],
        )
        print_table(("Image", "Size"), [(image, f"{size / 1e6:.0f} MB") for image, size in images.items()])
        print_table(
            ("Service", "Largest memory use", "Limit"),
            [(name, mib(used), mib(limit)) for name, (used, limit) in sorted(memory.items())],
        )
        print(f"{self.checks} checks, {len(self.failed)} failed", flush=True)
        for name in self.failed:
            print(f"failed: {name}", file=sys.stderr)


def mib(size):
    return f"{size / 2**20:.0f} MiB"


def print_table(head, rows):
    rows = [tuple(map(str, row)) for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(flush=True)
