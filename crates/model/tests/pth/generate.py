#!/usr/bin/env python3
"""Writes the files in this folder: small state dicts in all formats in which torch saves them.

    pip install torch==2.11.0 safetensors && python generate.py

The tensors of each file are filled by `fill`, so that the tests know the expected values.
"""

import collections
import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def fill(shape, start, dtype=torch.float32):
    """Returns a tensor with start, start + 1, ... in row-major order, which are exact in every dtype used here."""
    numel = int(torch.Size(shape).numel())
    return torch.arange(start, start + numel, dtype=torch.float32).reshape(shape).to(dtype)


def block():
    """Returns a convolution and a batch norm in an `nn.Sequential`."""
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2, bias=False), torch.nn.BatchNorm2d(3))
    start = 0
    for tensor in net.state_dict().values():
        tensor.copy_(fill(tensor.shape, start, tensor.dtype))
        start += 100
    return net


def both(name, value):
    torch.save(value, HERE / f"{name}.zip.pth")
    torch.save(value, HERE / f"{name}.legacy.pth", _use_new_zipfile_serialization=False)


def views():
    """Returns tensors that are views: shared, transposed, strided, expanded, empty and without dimensions."""
    base = fill((4, 6), 0)
    return collections.OrderedDict(
        base=base,
        transposed=base.t(),
        row=base[2],
        column=base[:, 1],
        steps=base[1::2, ::3],
        expanded=torch.full((1,), 7.0).expand(5),
        channels_last=fill((2, 3, 2, 2), 50).to(memory_format=torch.channels_last),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(42.5),
    )


def types():
    floats = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    ints = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
    tensors = {str(dtype).removeprefix("torch."): fill((2, 3), 1, dtype) for dtype in floats + ints}
    tensors["bool"] = torch.tensor([True, False, True])
    return tensors


def main():
    state = block().state_dict()
    both("block", state)
    save_file(dict(state), HERE / "block.safetensors")
    both("views", views())
    both("types", types())
    save_file(types(), HERE / "types.safetensors")
    # A checkpoint of a training script, with a network in DataParallel and the state of its optimizer.
    parallel = torch.nn.DataParallel(block())
    sgd = torch.optim.SGD(parallel.parameters(), lr=0.1, momentum=0.9)
    sgd.zero_grad()
    for parameter in parallel.parameters():
        parameter.grad = torch.ones_like(parameter)
    sgd.step()
    for tensor, filled in zip(parallel.state_dict().values(), state.values()):
        tensor.copy_(filled)
    checkpoint = {
        "epoch": 3,
        "state_dict": parallel.state_dict(),
        "optimizer": sgd.state_dict(),
        "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(sgd, [30, 60]).state_dict(),
        "best": 0.5,
    }
    both("checkpoint", checkpoint)
    both("parameters", {"model": {"head": {"weight": torch.nn.Parameter(fill((2, 2), 0))}}})
    torch.save(state, HERE / "block.protocol4.pth", pickle_protocol=4)
    torch.save(state, HERE / "block.protocol4.legacy.pth", pickle_protocol=4, _use_new_zipfile_serialization=False)
    # Files that must be refused.
    torch.save(block(), HERE / "refused.module.pth")
    torch.save({"w": torch.eye(3).to_sparse()}, HERE / "refused.sparse.pth")
    torch.save({"w": torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)}, HERE / "refused.quantized.pth")
    torch.save({"w": torch.zeros(2, dtype=torch.complex64)}, HERE / "refused.complex.pth")
    torch.save({"epoch": 3, "lr": 0.1}, HERE / "refused.empty.pth")
    torch.jit.script(block()).save(HERE / "refused.torchscript.pth")


if __name__ == "__main__":
    with torch.no_grad():
        main()
