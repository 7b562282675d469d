#!/usr/bin/env python3
"""Fails if THIRD_PARTY_NOTICES.md does not agree with the crates that are linked into the programs.

A crate has to be named, as "crate `NAME`", in a table row with the programs that contain it, if it contains or loads C
code, or has a license other than the usual ones, whose texts scripts/release/licenses.py collects. A crate that is named
has to be linked into exactly the programs of its row.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = "x86_64-unknown-linux-gnu"
USUAL = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "CC0-1.0"}


def programs_of(metadata):
    """Returns the programs in crates/, each with the package that contains it."""
    members = set(metadata["workspace_members"])
    return {
        target["name"]: package["id"]
        for package in metadata["packages"]
        for target in package["targets"]
        if package["id"] in members and "/crates/" in package["manifest_path"] and "bin" in target["kind"]
    }


def linked(metadata):
    """Returns each package that is linked into a program, with these programs."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    macros = {id for id, package in packages.items() if any("proc-macro" in t["kind"] for t in package["targets"])}
    programs = collections.defaultdict(set)
    for program, package in programs_of(metadata).items():
        todo = [package]
        while todo:
            id = todo.pop()
            if program in programs[id]:
                continue
            programs[id].add(program)
            for dependency in nodes[id]["deps"]:
                if any(kind["kind"] is None for kind in dependency["dep_kinds"]) and dependency["pkg"] not in macros:
                    todo.append(dependency["pkg"])
    return [(packages[id], programs[id]) for id in programs]


def is_usual(expression):
    """Reports whether a user can comply with the license expression by usual licenses only."""
    every = re.split(r"\bAND\b", expression.replace("/", " OR "))
    return all(any(each.strip(" ()") in USUAL for each in re.split(r"\bOR\b", part)) for part in every)


def has_c_code(package):
    return package["links"] and any(pathlib.Path(package["manifest_path"]).parent.rglob("*.c"))


def listed(programs):
    return ", ".join(f"`{program}`" for program in sorted(programs)) or "none"


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    crates = collections.defaultdict(set)
    reasons = {}
    for package, programs in linked(metadata):
        name = package["name"]
        crates[name] |= programs
        if has_c_code(package):
            reasons[name] = f"links the C library {package['links']}"
        elif not is_usual(package["license"] or ""):
            reasons[name] = f"has the license {package['license']}"

    errors = []
    named = {}
    for number, line in enumerate((ROOT / "THIRD_PARTY_NOTICES.md").read_text().split("\n"), 1):
        cells = line.split("|")
        for name in re.findall(r"crate `([^`]+)`", cells[1] if len(cells) > 2 else ""):
            named[name] = number
            programs = set(re.findall(r"`([^`]+)`", cells[2]))
            if programs != crates[name]:
                errors.append(f"THIRD_PARTY_NOTICES.md:{number}: the programs that contain {name}: {listed(crates[name])}")
    for name in sorted(set(reasons) - set(named)):
        errors.append(f"THIRD_PARTY_NOTICES.md lacks the crate `{name}`, which {reasons[name]}, in {listed(crates[name])}")
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
