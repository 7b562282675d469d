#!/usr/bin/env python3
"""Bills of materials (CycloneDX) of a release. It runs with the packages of scripts/release/requirements.txt.

    sbom.py program PROGRAM CDX OUT     adds to the output of cargo-cyclonedx what the program contains besides crates
    sbom.py libtorch FOLDER OUT         describes an installed libtorch, with the hash of each library
    sbom.py finish FILE KIND NAME VERSION    sets the main component; KIND is `application` or `container`
    sbom.py check FILE [PROGRAM...]     validates FILE, and compares it with the list of crates inside each program
    sbom.py crates PROGRAM              prints the list of crates that `cargo auditable` put into the program

SOURCE_DATE_EPOCH is the time stamp of the files that are written. Equal inputs give equal files.
"""

import argparse
import datetime
import email
import hashlib
import json
import os
import pathlib
import re
import struct
import sys
import uuid
import zlib

SCHEMA = "1.6"
# C libraries that a crate compiles: its name, the origin of its version, its license and its package URL.
# A crate's version names the version of the library after the plus sign: `4.10.0+2.12.1`.
COMPILED = {
    "rdkafka-sys": ("librdkafka", "BSD-2-Clause", "pkg:github/confluentinc/librdkafka@v{}"),
    "zstd-sys": ("zstd", "BSD-3-Clause", "pkg:github/facebook/zstd@v{}"),
    "bzip2-sys": ("bzip2", "bzip2-1.0.6", "pkg:generic/bzip2@{}"),
}
SQLITE = ("libsqlite3-sys", "sqlite", "blessing", "pkg:generic/sqlite@{}")


def sha256(path):
    with open(path, "rb") as file:
        return {"alg": "SHA-256", "content": hashlib.file_digest(file, "sha256").hexdigest()}


def read(path):
    return json.loads(pathlib.Path(path).read_text())


def write(path, bom):
    pathlib.Path(path).write_text(json.dumps(bom, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def crates_of(program):
    """Returns the crates that are linked into a program, from its section `.dep-v0`."""
    data = pathlib.Path(program).read_bytes()
    if data[:5] != b"\x7fELF\x02":
        sys.exit(f"error: {program} is not a 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    for name, _, _, _, offset, length in sections:
        start = sections[names][4] + name
        if data[start : start + 8] == b".dep-v0\x00":
            listed = json.loads(zlib.decompress(data[offset : offset + length]))
            return listed["packages"]
    sys.exit(f"error: {program} does not contain a list of crates; build it with scripts/release/build.sh")


def linked(program):
    return {(p["name"], p["version"]) for p in crates_of(program) if p.get("kind", "runtime") == "runtime"}


def crates_in(bom):
    """Returns name and version of the crates of a bill, without crates that are used only during the build."""
    purl = re.compile(r"pkg:cargo/([^@?]+)@([^?]+)")
    found = set()
    for component in bom["components"]:
        match = purl.match(component.get("purl", ""))
        if match and component.get("scope") != "excluded":
            found.add((match[1], match[2].replace("%2B", "+")))
    return found


def sqlite_version(version):
    home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
    for source in home.glob(f"registry/src/*/libsqlite3-sys-{version}/sqlite3/sqlite3.h"):
        return re.search(r'#define SQLITE_VERSION\s+"([^"]+)"', source.read_text())[1]
    sys.exit(f"error: the sources of libsqlite3-sys {version} are not in {home}; run `cargo fetch`")


def program(arguments):
    # cargo-cyclonedx writes the folder of the repository into references.
    text = pathlib.Path(arguments.cdx).read_text()
    bom = json.loads(re.sub(r"path\+file://[^#\"]*/crates/", "path+file:///lookout/crates/", text))
    main = bom["metadata"]["component"]
    # Without this, programs of one crate would be the same component in the merged file.
    old, main["bom-ref"] = main["bom-ref"], f"program:{main['name']}"
    for dependency in bom["dependencies"]:
        if dependency["ref"] == old:
            dependency["ref"] = main["bom-ref"]
    main["hashes"] = [sha256(arguments.program)]
    main.pop("purl")
    # The crate of the program itself, which is not in the list of its dependencies.
    own = re.search(r"crates/[^#]+#(?:([^@]+)@)?(.+)$", old)
    crate = own[1] or pathlib.PurePath(old.split("#")[0]).name
    main["properties"] = [{"name": "lookout:crate", "value": f"{crate}@{own[2]}"}]
    # cargo-cyclonedx counts procedural macros, which run during the build, among the crates that are linked.
    build = {(p["name"], p["version"]) for p in crates_of(arguments.program) if p.get("kind") == "build"}
    for component in bom["components"]:
        if (component["name"], component["version"]) in build:
            component["scope"] = "excluded"
    dependencies = {dependency["ref"]: dependency for dependency in bom["dependencies"]}
    added = []
    for component in bom["components"]:
        if component.get("scope") == "excluded":
            continue
        name, version = component["name"], component["version"]
        if name in COMPILED:
            library, license, purl = COMPILED[name]
            number = version.partition("+")[2].removeprefix("zstd.")
        elif name == SQLITE[0]:
            _, library, license, purl = SQLITE
            number = sqlite_version(version)
        else:
            continue
        reference = purl.format(number)
        added.append({"type": "library", "bom-ref": reference, "name": library, "version": number,
                      "scope": "required", "purl": reference, "licenses": [{"license": {"id": license}}]})  # fmt: skip
        dependencies[component["bom-ref"]].setdefault("dependsOn", []).append(reference)
    bom["components"] += added
    write(arguments.out, bom)


def libtorch(arguments):
    folder = pathlib.Path(arguments.folder)
    infos = sorted(folder.glob("licenses/*.dist-info/METADATA"))
    if not infos:
        sys.exit(f"error: {folder} has no folder `licenses`; delete {folder}, and install it again with `make setup`")
    components = {}
    # The wheel of each library. scripts/libtorch.sh moves the files, but keeps their names.
    wheels = {}
    for path in infos:
        metadata = email.message_from_string(path.read_text())
        name = metadata["Name"].lower().replace("_", "-")
        purl = f"pkg:pypi/{name}@{metadata['Version'].replace('+', '%2B')}"
        license = metadata["License-Expression"] or metadata["License"]
        components[name] = {"type": "library", "bom-ref": purl, "name": name, "version": metadata["Version"],
                            "scope": "required", "purl": purl, "licenses": [{"license": {"name": license}}],
                            "components": []}  # fmt: skip
        for line in (path.parent / "RECORD").read_text().splitlines():
            wheels[pathlib.PurePath(line.split(",")[0]).name] = name
    # With CUDA, the libraries of NVIDIA are in a folder beside that of torch.
    root = folder.parent if folder.name == "torch" else folder
    for file in sorted(path for path in root.rglob("*.so*") if path.is_file()):
        name = file.relative_to(root).as_posix()
        component = {"type": "file", "bom-ref": f"file:libtorch/{name}", "name": name, "hashes": [sha256(file)]}
        if file.name.startswith("libgomp"):
            component["licenses"] = [{"expression": "GPL-3.0-or-later WITH GCC-exception-3.1"}]
        components[wheels[file.name]]["components"].append(component)
    torch = components["torch"]
    others = sorted(c["bom-ref"] for c in components.values() if c is not torch)
    main = {"type": "library", "bom-ref": "libtorch", "name": "libtorch", "version": torch["version"]}
    write(arguments.out, {
        "bomFormat": "CycloneDX", "specVersion": SCHEMA, "version": 1,
        "metadata": {"component": main},
        "components": list(components.values()),
        "dependencies": [{"ref": "libtorch", "dependsOn": [torch["bom-ref"]]},
                         {"ref": torch["bom-ref"], "dependsOn": others}],
    })  # fmt: skip


def finish(arguments):
    bom = read(arguments.file)
    main = bom["metadata"]["component"]
    main |= {"type": arguments.kind, "name": arguments.name, "version": arguments.version}
    if arguments.kind == "application":
        main["licenses"] = [{"license": {"id": "Apache-2.0"}}]
    moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    bom["metadata"]["timestamp"] = moment.isoformat()
    bom["components"].sort(key=lambda component: component["bom-ref"])
    bom["dependencies"].sort(key=lambda dependency: dependency["ref"])
    bom.pop("serialNumber", None)
    content = json.dumps(bom, sort_keys=True)
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    write(arguments.file, bom)


def check(arguments):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = pathlib.Path(arguments.file).read_text()
    bom = json.loads(text)
    error = JsonStrictValidator(SchemaVersion.from_version(bom["specVersion"])).validate_str(text)
    if error:
        sys.exit(f"error: {arguments.file} is not valid CycloneDX {bom['specVersion']}: {str(error)[:500]}")
    listed = crates_in(bom)
    programs = {c["name"]: c for c in bom["components"] if c["bom-ref"].startswith("program:")}
    own = {tuple(p["value"].split("@")) for c in programs.values() for p in c["properties"] if p["name"] == "lookout:crate"}
    together = set()
    for path in arguments.program:
        name = pathlib.Path(path).name
        if name not in programs or programs[name]["hashes"] != [sha256(path)]:
            sys.exit(f"error: {arguments.file} does not describe this file: {path}")
        contained = linked(path)
        together |= contained
        if missing := sorted(contained - listed - own):
            sys.exit(f"error: {arguments.file} lacks crates of {path}: {missing}")
    complete = set(programs) == {pathlib.Path(path).name for path in arguments.program}
    if arguments.program and complete and (extra := sorted(listed - together)):
        sys.exit(f"error: {arguments.file} lists crates that no program contains: {extra}")
    kinds = {}
    for component in bom["components"]:
        kind = re.match(r"pkg:(\w+)|", component.get("purl", ""))[1] or component["type"]
        kinds[kind] = kinds.get(kind, 0) + 1
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{arguments.file}: valid CycloneDX {bom['specVersion']}, {len(bom['components'])} components: {counts}; "
          f"compared with {len(arguments.program)} programs")  # fmt: skip


def crates(arguments):
    for package in sorted(crates_of(arguments.program), key=lambda package: (package["name"], package["version"])):
        print(package["name"], package["version"], package.get("kind", "runtime"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function, names in (
        (program, ("program", "cdx", "out")),
        (libtorch, ("folder", "out")),
        (finish, ("file", "kind", "name", "version")),
        (check, ("file",)),
        (crates, ("program",)),
    ):
        command = commands.add_parser(function.__name__)
        command.set_defaults(function=function)
        for name in names:
            command.add_argument(name, choices=("application", "container") if name == "kind" else None)
        if function is check:
            command.add_argument("program", nargs="*")
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
