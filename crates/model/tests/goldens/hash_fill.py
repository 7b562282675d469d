"""Weights and inputs from a seed, with the same values as `random.rs` in Rust, so that two implementations of a
network can be compared without a file of weights.
"""

import numpy as np
import torch

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def fnv1a(text):
    """Returns the 64-bit FNV-1a hash (Fowler, Noll and Vo)."""
    hash = 0xCBF29CE484222325
    for byte in text.encode():
        hash = ((hash ^ byte) * 0x100000001B3) & MASK
    return hash


def unit(start, count):
    """Returns `count` numbers in [0, 1) from SplitMix64 (Steele, Lea and Flood 2014) with the state `start`."""
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GAMMA)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)


def values(name, seed, size, low, high):
    """Returns a tensor of `size`, uniform in [low, high), seeded by the hash of its name."""
    start = fnv1a(name) ^ (seed * GAMMA & MASK)
    numbers = low + (high - low) * unit(start, int(np.prod(size, dtype=np.int64)))
    return torch.from_numpy(numbers.astype(np.float32)).reshape(tuple(size))


def bounds(name, size):
    layer, _, last = name.rpartition(".")
    # The layers after a detector's backbone, and among them the classification layers.
    head = name.startswith(("backbone.fpn.", "head.", "rpn.", "roi_heads."))
    wider = {"head.classification_head.cls_logits": 3.0, "roi_heads.box_predictor.cls_score": 6.0}.get(layer, 1.0)
    if last == "running_var":
        return 0.5, 1.5
    if last == "weight" and len(size) == 1:
        return (0.5, 1.0) if head else (0.2, 0.4)
    if last == "weight":
        bound = (6.0 / max(int(np.prod(size[1:])), 1)) ** 0.5 * wider
        return -bound, bound
    if last == "bias" and layer == "head.classification_head.cls_logits":
        return -7.1, -6.9
    return -0.1, 0.1


def fill(module, seed):
    """Fills every floating-point tensor of a module's state dict."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(values(name, seed, tensor.shape, *bounds(name, tensor.shape)))
    return module.eval()
