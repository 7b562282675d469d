"""Generates `detectors.safetensors`: the outputs of torchvision's detectors with weights from a seed.

    pip install torch==2.11.0 torchvision==0.26.0 safetensors numpy
    python make_detectors.py

`tests/detectors.rs` generates the same weights and changes them in the same way for each scene.
"""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

import hash_fill

SEED = 7
CLASSES = 5
ARCHS = [
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
]
# Every 7th row of a head's outputs is kept.
KEPT = 7


class Whole(torch.nn.Module):
    """Replaces torchvision's transform: nothing is resized, normalized or padded."""

    def forward(self, images, targets=None):
        return ImageList(torch.stack(images), [tuple(images[0].shape[-2:])] * len(images)), targets

    def postprocess(self, result, *_):
        return result


def network(arch):
    net = getattr(detection, arch)(weights=None, weights_backbone=None, num_classes=CLASSES)
    hash_fill.fill(net, SEED)
    net.transform = Whole()
    state = net.state_dict()
    if dense(net):
        # Five classes produce fewer detections than the 91 for which the bias is chosen.
        state["head.classification_head.cls_logits.bias"] += 3.0
    return net


def dense(net):
    return hasattr(net, "head")


def regression_bias(net):
    """Returns the bias of the last layer for boxes, one row per box."""
    layer = net.head.regression_head.bbox_reg if dense(net) else net.roi_heads.box_predictor.bbox_pred
    return layer.bias.data.view(-1, 4)


def class_bias(net):
    """Returns the bias of the last layer for classes, one row per anchor."""
    layer = net.head.classification_head.cls_logits if dense(net) else net.roi_heads.box_predictor.cls_score
    return layer.bias.data.view(-1, CLASSES)


def is_fcos(net):
    return isinstance(net, detection.FCOS)


def one_class(net):
    class_bias(net)[:, 3] += 2.0
    class_bias(net)[:, [1, 2, 4]] -= 60.0
    if dense(net):
        class_bias(net)[:, 0] -= 60.0


def small(net):
    """Makes boxes about one pixel large, or without an area."""
    if is_fcos(net):
        regression_bias(net)[:] -= 0.8
    else:
        regression_bias(net)[:, 2:] -= 3.5 if dense(net) else 17.5


def at_border(net):
    """Moves boxes to the right border, where they are clipped, many of them completely."""
    if is_fcos(net):
        regression_bias(net)[:, 2] += 30.0
    else:
        regression_bias(net)[:, 0] += 1.5 if dense(net) else 15.0


def settings(net, score, iou, most, per_level):
    reader = net if dense(net) else net.roi_heads
    reader.score_thresh, reader.nms_thresh = score, iou
    if dense(net):
        reader.detections_per_img, reader.topk_candidates = most, per_level
    else:
        reader.detections_per_img = most


def heads(net, x):
    """Returns the outputs of the heads by torchvision's names."""
    got, hooks = {}, []
    if dense(net):
        hooks.append(net.head.register_forward_hook(lambda _, i, o: got.update(o)))
    else:
        names = ("objectness", "pred_bbox_deltas")
        rpn = lambda _, i, o: got.update(zip(names, concat_box_prediction_layers(*o)))
        hooks.append(net.rpn.head.register_forward_hook(rpn))
        predictor = lambda _, i, o: got.update(zip(("class_logits", "box_regression"), o))
        hooks.append(net.roi_heads.box_predictor.register_forward_hook(predictor))
    net(list(x))
    for hook in hooks:
        hook.remove()
    return got


def found(net, x):
    """Returns the concatenated `boxes`, `scores`, `labels` and `image` of all images."""
    results = net(list(x))
    image = [torch.full_like(result["labels"], i) for i, result in enumerate(results)]
    every = {name: torch.cat([result[name] for result in results]) for name in ("boxes", "scores", "labels")}
    return {**every, "image": torch.cat(image)}


def picture(bytes):
    return bytes.float() / 64 - 2


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    size = (2, 3, 128, 160)
    blocks = hash_fill.values("blocks", SEED, (2, 3, 8, 10), 32, 224)
    noise = hash_fill.values("noise", SEED, size, -32, 32)
    blocks = torch.nn.functional.interpolate(blocks, size[2:], mode="bilinear")
    bytes = (blocks + noise).round().to(torch.uint8)
    x = picture(bytes)
    tensors = {"bytes": bytes}
    for arch in ARCHS:
        keep = lambda scene, got: tensors.update({f"{arch}/{scene}/{k}": t.contiguous() for k, t in got.items()})
        net = network(arch)
        got = heads(net, x)
        for name, t in got.items():
            rows = t.reshape(-1, t.shape[-1])
            keep("heads", {name: rows[::KEPT], f"{name}.most": rows.abs().max().view(1)})
        keep("plain", found(net, x))
        # Sides that are not multiples of the strides.
        keep("odd", found(net, x[:1, :, :75, :97]))
        # A threshold between the best scores of the two images, so that one has no detections.
        best = [r["scores"].max() for r in net(list(x))]
        threshold = float(sum(best) / 2)
        settings(net, threshold, 0.5, 100, 1000)
        one = found(net, x)
        assert len(one["image"].unique()) == 1
        keep("empty", {**one, "threshold": torch.tensor([threshold])})
        settings(net, 0.1, 0.3, 20, 50)
        keep("set", found(net, x))
        for change in (one_class, small, at_border):
            net = network(arch)
            change(net)
            keep(change.__name__, found(net, x))

    # Goldens of the single operations.
    for name, count in (("few", 600), ("many", 3000)):
        # Clusters of small boxes, and boxes of one pixel or without an area.
        heaps = hash_fill.values(f"nms.{name}", SEED, (count, 2), 0, 7).floor() * 10
        corners = heaps + hash_fill.values(f"nms.{name}.corners", SEED, (count, 2), 0, 4).round()
        sides = hash_fill.values(f"nms.{name}.sides", SEED, (count, 2), 8, 12).round()
        sides[::5] = hash_fill.values(f"nms.{name}.small", SEED, (count, 2), 0, 2).round()[::5]
        boxes = torch.cat([corners, corners + sides], 1)
        # Many scores are equal.
        scores = (hash_fill.values(f"nms.{name}.scores", SEED, (count,), 0, 1) * 200).round() / 200
        groups = hash_fill.values(f"nms.{name}.groups", SEED, (count,), 0, 7).long()
        kept = torchvision.ops.batched_nms(boxes, scores, groups, 0.5)
        assert len(kept) < 0.8 * count
        case = {"boxes": boxes, "scores": scores, "groups": groups, "kept": kept}
        tensors.update({f"nms/{name}/{part}": t for part, t in case.items()})
    maps = {str(i): hash_fill.values(f"roi.{i}", SEED, (2, 3, 32 >> i, 40 >> i), -1, 1) for i in range(4)}
    corners = hash_fill.values("roi.boxes", SEED, (60, 2, 2), 0, 1) * torch.tensor([160.0, 128.0])
    boxes = torch.cat([corners.min(1)[0], corners.max(1)[0]], 1)
    boxes[:4] = torch.tensor([[0, 0, 160, 128], [159, 127, 160, 128], [160, 128, 160, 128], [0, 0, 0.5, 0.5]])
    # Sides at the borders between pyramid levels: 28, 56, 112 and 224 pixels.
    boxes[4:8] = torch.tensor([[0, 0, 28, 28], [0, 0, 56, 56], [0, 0, 112, 112], [-32, -48, 192, 176]])
    align = torchvision.ops.MultiScaleRoIAlign(list(maps), 7, 2)
    cut = align(maps, [boxes[:30], boxes[30:]], [(128, 160)] * 2)
    tensors.update({f"roi/map{i}": map for i, map in maps.items()})
    tensors.update({"roi/boxes": boxes, "roi/cut": cut})
    save_file(tensors, Path(__file__).parent / "detectors.safetensors")


if __name__ == "__main__":
    main()
