#!/usr/bin/env python3
"""Writes `losses.safetensors`: torchvision's losses, their gradients and the changes by steps of an optimizer, with
weights from a seed.

    "$(scripts/peers.sh)" crates/train/tests/goldens/make_losses.py

`tests/losses.rs` generates the same weights, images and samples. Everything is computed in double precision: with a
batch of a few small images, the batch norms amplify differences in the order of additions in a CPU's kernels, to 2e-3
of a gradient in fp32. Stored for each parameter, in the order of the names: the norm of its gradient, and `SLICE`
values of its gradient and of its changes.
"""

import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "model/tests/goldens"))
import hash_fill  # noqa: E402

SEED = 7
CLASSES = 5
SLICE = 6
# Whether the backbone's norms are frozen, as in torchvision's pretrained detectors.
DETECTORS = {
    "retinanet_resnet50_fpn": True,
    "retinanet_resnet50_fpn_v2": False,
    "fcos_resnet50_fpn": True,
    "fcos_resnet50_fpn.live": False,
    "fasterrcnn_resnet50_fpn": True,
    "fasterrcnn_resnet50_fpn_v2": False,
}
SIZE = (3, 3, 96, 128)
# The second image has no objects.
BOXES = [
    [[8.0, 12.0, 60.0, 70.0], [50.0, 20.0, 118.0, 88.0], [70.5, 40.25, 95.0, 61.0], [2.0, 70.0, 20.0, 90.0]],
    [],
    [[30.0, 10.0, 100.0, 90.0]],
]
LABELS = [[1, 3, 2, 4], [], [2]]


class Whole(torch.nn.Module):
    """Replaces torchvision's transform: nothing is resized, normalized or padded."""

    def forward(self, images, targets=None):
        return ImageList(torch.stack(images), [tuple(images[0].shape[-2:])] * len(images)), targets

    def postprocess(self, result, *_):
        return result


class Chosen:
    """A sampler whose permutations come from `hash_fill`: the indices in the order of the hashed values."""

    def __init__(self, sampler, name):
        self.sampler, self.name, self.calls = sampler, name, 0

    def permutation(self, count, device=None):
        order = hash_fill.values(f"{self.name}.{self.calls}", SEED, (count,), 0, 1).argsort(stable=True)
        self.calls += 1
        return order

    def __call__(self, matched):
        usual, torch.randperm = torch.randperm, self.permutation
        try:
            return self.sampler(matched)
        finally:
            torch.randperm = usual


def frozen(module):
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, torchvision.ops.FrozenBatchNorm2d(child.num_features))
        else:
            frozen(child)


def detector(arch, is_frozen):
    net = getattr(detection, arch.removesuffix(".live"))(weights=None, weights_backbone=None, num_classes=CLASSES)
    if is_frozen:
        frozen(net.backbone.body)
    hash_fill.fill(net, SEED).double().train()
    net.transform = Whole()
    if hasattr(net, "rpn"):
        net.rpn.fg_bg_sampler = Chosen(net.rpn.fg_bg_sampler, "rpn")
        net.roi_heads.fg_bg_sampler = Chosen(net.roi_heads.fg_bg_sampler, "roi")
    return net


def targets():
    boxes = [torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4) for boxes in BOXES]
    return [{"boxes": b, "labels": torch.tensor(l, dtype=torch.int64)} for b, l in zip(boxes, LABELS)]


def at(tensor):
    """Returns `SLICE` evenly spaced values of a tensor; the last one is repeated if it has fewer."""
    flat = tensor.detach().flatten()
    places = torch.arange(SLICE) * max(flat.numel() // SLICE, 1)
    return flat[places.clamp(max=flat.numel() - 1)]


def plain(name, parameter):
    """Returns whether a parameter is excluded from weight decay: norms and biases."""
    return name.endswith(".bias") or parameter.dim() == 1


def kept(net, losses):
    sum(losses.values()).backward()
    named = sorted((n, p) for n, p in net.named_parameters() if p.requires_grad)
    got = {f"loss/{name}": loss.detach().reshape(1) for name, loss in losses.items()}
    got["grad/norms"] = torch.stack([p.grad.norm() for _, p in named])
    got["grad/slices"] = torch.stack([at(p.grad) for _, p in named])
    stats = sorted((n, t) for n, t in net.state_dict().items() if n.endswith(("running_mean", "running_var")))
    got["statistics"] = torch.stack([t.norm() for _, t in stats])
    before = [p.detach().clone() for _, p in named]
    groups = [
        {"params": [p for n, p in named if not plain(n, p)], "weight_decay": 0.05},
        {"params": [p for n, p in named if plain(n, p)], "weight_decay": 0.0},
    ]
    for name, optimiser in {
        "sgd": lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9),
        "nesterov": lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True),
        "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.001),
    }.items():
        # An optimizer stores its settings in its groups, so each gets a copy.
        optimiser = optimiser([dict(group) for group in groups])
        # Two steps with the same gradient, so that the state of the optimizer matters.
        for _ in range(2):
            optimiser.step()
        got[f"{name}/slices"] = torch.stack([at(p - b) for (_, p), b in zip(named, before)])
        with torch.no_grad():
            for (_, p), b in zip(named, before):
                p.copy_(b)
    return got


def main():
    torch.set_num_threads(1)
    tensors = {}
    x = hash_fill.values("x", SEED, SIZE, -2, 2).double()
    for arch, is_frozen in DETECTORS.items():
        net = detector(arch, is_frozen)
        tensors.update({f"{arch}/{name}": t for name, t in kept(net, net(list(x), targets())).items()})
        print(arch, {k: round(float(v), 4) for k, v in tensors.items() if k.startswith(f"{arch}/loss")})
    for arch in ("resnet18", "resnet50"):
        net = hash_fill.fill(getattr(torchvision.models, arch)(num_classes=CLASSES), SEED).double().train()
        logits = net(x)
        weight = torch.tensor([1.0, 2.0, 0.5, 1.5, 1.0], dtype=torch.float64)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([3, 0, 2]), weight=weight, label_smoothing=0.1)
        tensors.update({f"{arch}/{name}": t for name, t in kept(net, {"classification": loss}).items()})
    save_file({name: t.float().contiguous() for name, t in tensors.items()}, HERE / "losses.safetensors")


main()
