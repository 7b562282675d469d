#!/usr/bin/env python3
"""Writes the goldens of the classifiers, from torchvision 0.26:

    "$(scripts/peers.sh)" crates/model/tests/goldens/make_resnets.py [vtest.avi]

- resnets.safetensors: logits of each network with weights and inputs from `hash_fill`
- street.png: a frame of vtest.avi, written only if the clip is given
- street.256.png, street.232.png: street.png after torchvision's evaluation transforms without the normalization, with
  the short side resized to 256 and to 232
"""

import pathlib
import sys

import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as transforms

import hash_fill

HERE = pathlib.Path(__file__).parent
ARCHS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d"]
SEED = 7
# An even and an odd size, which a stride of 2 rounds differently.
SIZES = {"even": (2, 3, 64, 96), "odd": (1, 3, 65, 79)}


def logits():
    torch.set_grad_enabled(False)
    goldens = {}
    for arch in ARCHS:
        network = hash_fill.fill(torchvision.models.get_model(arch, weights=None), SEED)
        for name, size in SIZES.items():
            goldens[f"{arch}.{name}"] = network(hash_fill.values(name, SEED, size, -2.0, 2.0))
    save_file(goldens, HERE / "resnets.safetensors")


def street(clip):
    import cv2

    reader = cv2.VideoCapture(str(clip))
    for _ in range(100):
        _, frame = reader.read()
    picture = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    # Half the size: a small file that the transforms still have to shrink.
    picture.resize((384, 288), Image.Resampling.LANCZOS).save(HERE / "street.png", optimize=True)


def transformed():
    picture = Image.open(HERE / "street.png")
    for short_side, name in [(256, "street.256.png"), (232, "street.232.png")]:
        resized = transforms.resize(picture, [short_side], antialias=True)
        transforms.center_crop(resized, [224, 224]).save(HERE / name, optimize=True)


if len(sys.argv) > 1:
    street(pathlib.Path(sys.argv[1]))
logits()
transformed()
