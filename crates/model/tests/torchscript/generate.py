#!/usr/bin/env python3
"""Writes the TorchScript modules that the tests load, from torch 2.11 and torchvision 0.26:

    "$(scripts/peers.sh)" crates/model/tests/torchscript/generate.py

Each is a few kilobytes and has outputs that can be calculated by hand. All have the input `x` [N, 3, H, W].

- logits.pt: [N, 3], the means of an image's red, green and blue channels; traced
- dicts.pt, tuples.pt, batched.pt: boxes, scores and labels in the three forms, see `Boxes`; scripted
- strange.pt: boxes and scores that are not finite, labels that are not class ids
- nms.pt: needs `torchvision::nms`, which libtorch does not have
- unbatched.pt, pairs.pt, shapes.pt, floats.pt, batch_of_one.pt, raises.pt: modules with different errors
- state_dict.pth: a state dict without a program
"""

import io
import pathlib
import zipfile
from typing import Dict, List, Tuple

import torch
import torchvision
from torch import Tensor, nn

HERE = pathlib.Path(__file__).parent


class Logits(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class Boxes(nn.Module):
    """Returns the same four boxes for every image, not sorted by score. The third score depends on the image's mean,
    so that the images of a batch have different results."""

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        n, h, w = x.shape[0], float(x.shape[2]), float(x.shape[3])
        boxes = torch.tensor(
            [
                [10.0, 10.0, w - 10.0, h - 10.0],
                [-50.0, 20.0, 30.0, 40.0],
                [0.0, 0.0, w / 2, h / 2],
                [5.0, 5.0, 5.0, 9.0],
            ]
        )
        scores = torch.tensor([0.25, 0.75, 0.0, 0.99]).repeat(n, 1)
        scores[:, 2] = x.mean(dim=(1, 2, 3)).sigmoid()
        return boxes.repeat(n, 1, 1), scores, torch.tensor([1, 2, 3, 1]).repeat(n, 1)


class Dicts(nn.Module):
    def __init__(self):
        super().__init__()
        self.boxes = Boxes()

    def forward(self, x: Tensor) -> List[Dict[str, Tensor]]:
        boxes, scores, labels = self.boxes(x)
        found: List[Dict[str, Tensor]] = []
        for i in range(x.shape[0]):
            found.append({"boxes": boxes[i], "labels": labels[i], "scores": scores[i]})
        return found


class Tuples(nn.Module):
    def __init__(self):
        super().__init__()
        self.boxes = Boxes()

    def forward(self, x: Tensor) -> List[Tuple[Tensor, Tensor, Tensor]]:
        boxes, scores, labels = self.boxes(x)
        found: List[Tuple[Tensor, Tensor, Tensor]] = []
        for i in range(x.shape[0]):
            # The last image of a batch of several has no detections.
            most = 0 if i > 0 and i + 1 == x.shape[0] else 4
            found.append((boxes[i, :most], scores[i, :most], labels[i, :most]))
        return found


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        n = x.shape[0]
        nan, inf = float("nan"), float("inf")
        boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).repeat(7, 1)
        boxes[3, 0], boxes[4, 2] = nan, inf
        scores = torch.tensor([nan, inf, -inf, 0.9, 0.9, 0.9, 0.9])
        labels = torch.tensor([1, 1, 1, 1, 1, -1, 1099511627776])
        return boxes.repeat(n, 1, 1), scores.repeat(n, 1), labels.repeat(n, 1)


class Nms(nn.Module):
    def __init__(self):
        super().__init__()
        self.boxes = Boxes()

    def forward(self, x: Tensor) -> List[Tuple[Tensor, Tensor, Tensor]]:
        boxes, scores, labels = self.boxes(x)
        found: List[Tuple[Tensor, Tensor, Tensor]] = []
        for i in range(x.shape[0]):
            keep = torchvision.ops.nms(boxes[i], scores[i], 0.5)
            found.append((boxes[i][keep], scores[i][keep], labels[i][keep]))
        return found


class Unbatched(nn.Module):
    def __init__(self):
        super().__init__()
        self.boxes = Boxes()

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        boxes, scores, labels = self.boxes(x)
        return boxes[0], scores[0], labels[0]


class Pairs(nn.Module):
    def forward(self, x: Tensor) -> List[Dict[str, Tensor]]:
        return [{"boxes": torch.zeros(1, 4), "scores": torch.zeros(1)}]


class Shapes(nn.Module):
    def forward(self, x: Tensor) -> List[Tuple[Tensor, Tensor, Tensor]]:
        return [(torch.zeros(3, 4), torch.zeros(2), torch.zeros(3, dtype=torch.int64))]


class Floats(nn.Module):
    def forward(self, x: Tensor) -> List[Tuple[Tensor, Tensor, Tensor]]:
        return [(torch.zeros(1, 4), torch.zeros(1), torch.zeros(1))]


class BatchOfOne(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(0, 2, 3)).view(1, 3)


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(7, 11)


def save(module, name):
    """Saves a module without debug information, which contains paths of this machine."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(HERE / f"{name}.pt", "w") as file:
        for entry in whole.namelist():
            if not entry.endswith(".debug_pkl"):
                _, _, inner = entry.partition("/")
                file.writestr(zipfile.ZipInfo(f"{name}/{inner}"), whole.read(entry))


def main():
    save(torch.jit.trace(Logits(), torch.zeros(2, 3, 32, 32)), "logits")
    scripted = {
        "dicts": Dicts(),
        "tuples": Tuples(),
        "batched": Boxes(),
        "strange": Strange(),
        "nms": Nms(),
        "unbatched": Unbatched(),
        "pairs": Pairs(),
        "shapes": Shapes(),
        "floats": Floats(),
        "batch_of_one": BatchOfOne(),
        "raises": Raises(),
    }
    for name, module in scripted.items():
        save(torch.jit.script(module), name)
    torch.save(nn.Linear(2, 3).state_dict(), HERE / "state_dict.pth")


main()
