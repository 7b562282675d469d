#!/usr/bin/env python3
"""Writes `beside.*.pth`: a state dict, together with every kind of value that torch's `weights_only=True` accepts.

    pip install numpy==2.3.5 && python make_beside.py

torch itself is not needed: the types below are pickled like torch's own (`__reduce__` of torch 2.11), with the pickler
that `torch.save` uses, into the containers of its two formats.
"""

import collections
import io
import pathlib
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).parent

torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
serialization = types.ModuleType("torch.serialization")
tensors = types.ModuleType("torch._tensor")
parameter = types.ModuleType("torch.nn.parameter")
version = types.ModuleType("torch.torch_version")
for module in (torch, utils, serialization, tensors, parameter, version, types.ModuleType("torch.nn")):
    sys.modules[module.__name__] = module


def named(module, name):
    """Creates a function or type that is pickled by its name and never called."""
    made = type(name, (), {"__module__": module.__name__, "__init__": lambda self, *_: None})
    setattr(module, name, made)
    return made


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Name:
    """Pickles as a name in the module torch."""

    __module__ = "torch"

    def __init__(self, name):
        self.name = name
        setattr(torch, name, self)

    def __reduce__(self):
        return self.name


class Storage:
    def __init__(self, kind, key, content, numel):
        self.kind, self.key, self.content, self.numel = kind, key, content, numel


class TorchVersion(str):
    __module__ = "torch.torch_version"


version.TorchVersion = TorchVersion
Device, Size, Tensor = (named(torch, name) for name in ["device", "Size", "Tensor"])
Float, ComplexFloat, QInt8 = (named(torch, f"{name}Storage") for name in ["Float", "ComplexFloat", "QInt8"])
rebuild, rebuild_parameter, with_state, sparse, quantized = (
    named(utils, f"_rebuild_{name}")
    for name in ["tensor_v2", "parameter", "parameter_with_state", "sparse_tensor", "qtensor"]
)
from_type = named(tensors, "_rebuild_from_type_v2")
get_layout = named(serialization, "_get_layout")
Parameter = named(parameter, "Parameter")

STORAGES = []


def storage(kind, content, size):
    STORAGES.append(Storage(kind, str(len(STORAGES)), content, len(content) // size))
    return STORAGES[-1]


def tensor(values):
    held = storage(Float, struct.pack(f"<{len(values)}f", *values), 4)
    return Call(rebuild, held, 0, (len(values),), (1,), False, collections.OrderedDict())


def checkpoint():
    held = storage(ComplexFloat, bytes(16), 8)
    complexes = Call(rebuild, held, 0, (2,), (1,), False, collections.OrderedDict())
    eights = storage(QInt8, bytes(4), 1)
    scale = (Name("per_tensor_affine"), 0.1, 0)
    sizes = Call(Size, (2, 2))
    return {
        "state_dict": collections.OrderedDict(
            weight=tensor([1.0, 2.0, 3.0]),
            bias=Call(rebuild_parameter, tensor([4.0]), True, collections.OrderedDict()),
            gain=Call(with_state, tensor([5.0]), True, collections.OrderedDict(), {"frozen": True}),
            mean=Call(from_type, rebuild, Tensor, tensor([6.0]).call[1], {"note": "an attribute"}),
            depth=Call(from_type, rebuild_parameter, Parameter, (tensor([7.0]), True, collections.OrderedDict()), {}),
        ),
        "device": Call(Device, "cuda", 0),
        "dtype": Name("bfloat16"),
        "layout": Call(get_layout, "torch.strided"),
        "format": Name("channels_last"),
        "size": sizes,
        "version": TorchVersion("2.11.0+cu130"),
        "classes": {"cat", "dog"},
        "frozen": frozenset([1, 2]),
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"abc"),
        "complex": 1 + 2j,
        "counter": collections.Counter("abca"),
        "large": 1 << 5000,
        "best": np.float64(0.5),
        "count": np.int64(3),
        "curve": np.arange(3, dtype=np.float32),
        "kind": np.dtype("float16"),
        # Tensors of unsupported kinds outside the state dict.
        "frequencies": complexes,
        "adjacency": Call(sparse, Call(get_layout, "torch.sparse_coo"), (tensor([0.0]), tensor([1.0]), sizes, True)),
        "compressed": Call(quantized, eights, 0, (4,), (1,), scale, False, collections.OrderedDict()),
        "epoch": 3,
        "args": {"lr": 0.1, "name": None, "sizes": [1, 2], "flag": True},
    }


class Pickler(pickle._Pickler):
    """Python's pickler in its Python implementation, which `torch.save` subclasses too."""

    def __init__(self, file, protocol, legacy):
        super().__init__(file, protocol)
        self.legacy = legacy

    def persistent_id(self, value):
        if isinstance(value, Storage):
            id = ("storage", value.kind, value.key, "cpu", value.numel)
            return id + (None,) if self.legacy else id
        return None


def pickled(value, protocol, legacy=False):
    file = io.BytesIO()
    Pickler(file, protocol, legacy).dump(value)
    return file.getvalue()


def save_zip(value, path, protocol=2):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("beside/data.pkl", pickled(value, protocol))
        archive.writestr("beside/byteorder", b"little")
        for held in STORAGES:
            archive.writestr(f"beside/data/{held.key}", held.content)
        archive.writestr("beside/version", b"3\n")


def save_legacy(value, path):
    about = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickled(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, about)]
    parts += [pickled(value, 2, legacy=True), pickled([held.key for held in STORAGES], 2)]
    for held in STORAGES:
        parts += [struct.pack("<q", held.numel), held.content]
    path.write_bytes(b"".join(parts))


def main():
    value = checkpoint()
    save_zip(value, HERE / "beside.zip.pth")
    save_zip(value, HERE / "beside.protocol4.pth", protocol=4)
    save_zip(value, HERE / "beside.protocol5.pth", protocol=5)
    save_legacy(value, HERE / "beside.legacy.pth")


if __name__ == "__main__":
    main()
