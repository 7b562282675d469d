#!/usr/bin/env python3
"""licenses.py CDX: prints the license texts of all crates of a bill of materials, each text once.

The texts are the files that the crates contain, including those of C libraries that a crate compiles. A crate without such
a file is listed with its license, authors and repository; the texts of the usual licenses are in the output anyway.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = "x86_64-unknown-linux-gnu"
NAME = re.compile(r"(UN)?LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|PATENTS", re.IGNORECASE)
# Source code with such a name.
CODE = {".rs", ".c", ".h", ".py", ".sh", ".toml", ".json"}
RULE = "=" * 100


def main():
    bom = json.loads(pathlib.Path(sys.argv[1]).read_text())
    wanted = {(c["name"], c["version"]) for c in bom["components"]
              if c.get("purl", "").startswith("pkg:cargo/") and c.get("scope") != "excluded"}  # fmt: skip
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = sorted(
        # Crates of the workspace are under LICENSE.
        (p for p in metadata["packages"] if (p["name"], p["version"]) in wanted and p["source"]),
        key=lambda package: (package["name"], package["version"]),
    )
    workspace = {(p["name"], p["version"]) for p in metadata["packages"] if not p["source"]}
    found = {(p["name"], p["version"]) for p in packages}
    if missing := sorted(wanted - found - workspace):
        sys.exit(f"error: cargo metadata does not list these crates of {sys.argv[1]}: {missing}")

    users = collections.defaultdict(list)
    print(f"Licenses of the {len(packages)} crates that are linked into Lookout's programs.\n")
    for package in packages:
        folder = pathlib.Path(package["manifest_path"]).parent
        files = sorted(f for f in folder.rglob("*") if f.is_file() and NAME.match(f.name) and f.suffix not in CODE)
        name = f"{package['name']} {package['version']}"
        note = "" if files else f"; no license file; authors: {', '.join(package['authors']) or 'not named'}"
        print(f"{name}: {package['license']}; {package['repository'] or 'no repository'}{note}")
        for file in files:
            users[file.read_text(errors="replace").strip()].append(f"{name}, {file.relative_to(folder)}")
    for text, names in sorted(users.items(), key=lambda item: item[1]):
        print(f"\n{RULE}")
        print("\n".join(names))
        print(f"{RULE}\n\n{text}")


if __name__ == "__main__":
    main()
