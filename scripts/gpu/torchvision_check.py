#!/usr/bin/env python3
"""Compares the outputs of `lookout-lab tensor` with torchvision's, for every network, on one device.

    python3 scripts/gpu/torchvision_check.py --lab target/release/lookout-lab --device cuda:0 --json check.json

The weights are `random:SEED` on both sides (`crates/model/tests/goldens/hash_fill.py`). The reference is torchvision
in fp32 without TF32. The error of an output is ||output - reference|| / ||reference||.

| precision | requirement |
|---|---|
| fp32 | the error is at most 1e-4 |
| bf16, fp16 | the error is at most 1.1 times the error of torchvision in that precision, for the same batch |
| fp32, boxes | at least 99 % of torchvision's boxes have one of Lookout's: same label, IoU > 0.95, score within 1e-3 |

The second stage of Faster R-CNN is compared on Lookout's proposals, since two implementations may order proposals of
equal score differently. In bf16 and fp16 its errors are reported without a requirement, because the rounding of one
coordinate shifts the crop of a proposal.

Exit code: 0 if every requirement is met, 1 if one is not or a network failed.
"""

import argparse
import copy
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "crates/model/tests/goldens"))
import hash_fill  # noqa: E402

CLASSIFIERS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d"]
DETECTORS = [
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The number of classes of COCO, which Lookout's `random:SEED` detectors have.
CLASSES = 91

FP32_MAX_ERROR = 1e-4
MAX_RATIO = 1.1
MIN_BOX_SHARE = 0.99
MIN_IOU = 0.95
# In pixels.
MAX_CORNER_DISTANCE = 0.05
MAX_SCORE_DIFFERENCE = 1e-3
SCORE_THRESHOLD = 0.3
# With fewer boxes per image above SCORE_THRESHOLD, the share of matching boxes is not meaningful.
MIN_BOXES_PER_IMAGE = 5

SECOND_STAGE = ("class_logits", "box_regression")


class Whole(torch.nn.Module):
    """Replaces torchvision's transform: no resizing, normalization or padding (as in `make_detectors.py`)."""

    def forward(self, images, targets=None):
        from torchvision.models.detection.image_list import ImageList

        return ImageList(torch.stack(images), [tuple(images[0].shape[-2:])] * len(images)), targets

    def postprocess(self, result, *_):
        return result


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lab", type=pathlib.Path, required=True, help="path of lookout-lab")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--archs", default=",".join(CLASSIFIERS + DETECTORS))
    parser.add_argument("--batches", default="1,3,8,32")
    parser.add_argument("--precisions", default="fp32,bf16,fp16")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=4, help="lookout-lab processes that run at the same time")
    parser.add_argument("--timeout", type=float, default=240, help="seconds for each lookout-lab process")
    parser.add_argument("--json", type=pathlib.Path, help="write every measurement to this file")
    args = parser.parse_args()
    args.archs = args.archs.split(",")
    args.batches = sorted(int(batch) for batch in args.batches.split(","))
    args.precisions = args.precisions.split(",")
    for option, wrong in [
        ("--archs", set(args.archs) - set(CLASSIFIERS + DETECTORS)),
        ("--precisions", set(args.precisions) - set(DTYPES)),
        ("--batches", {batch for batch in args.batches if batch < 1}),
    ]:
        if wrong:
            parser.error(f"{option}: invalid value {sorted(wrong)}")
    return args


def write_inputs(folder, args):
    """Writes one `x` [N, 3, H, W] for the classifiers and one for the detectors; returns both by kind."""
    count = args.batches[-1]
    inputs = {}
    if set(args.archs) & set(CLASSIFIERS):
        inputs["classifier"] = hash_fill.values("x", args.seed, (count, 3, 224, 224), -2.0, 2.0)
    if set(args.archs) & set(DETECTORS):
        # Smooth blocks and noise, as in make_detectors.py: with noise alone, every position has the same score.
        blocks = hash_fill.values("blocks", args.seed, (count, 3, 8, 8), 32, 224)
        noise = hash_fill.values("noise", args.seed, (count, 3, 128, 128), -32, 32)
        blocks = torch.nn.functional.interpolate(blocks, (128, 128), mode="bilinear")
        inputs["detector"] = (blocks + noise).round() / 64 - 2
    for kind, x in inputs.items():
        save_file({"x": x.contiguous()}, folder / f"{kind}.safetensors")
    return inputs


def kind_of(arch):
    return "classifier" if arch in CLASSIFIERS else "detector"


def run_lookout(arch, folder, args):
    """Runs lookout-lab for one network; returns the duration in seconds.

    Raises RuntimeError with the end of stderr when the process fails.
    """
    output = folder / arch
    output.mkdir()
    command = [args.lab, "tensor", "--arch", arch, "--weights", f"random:{args.seed}", "--device", args.device]
    command += ["--precision", ",".join(args.precisions), "--batch", ",".join(map(str, args.batches))]
    command += ["--input", folder / f"{kind_of(arch)}.safetensors", "--output", output]
    started = time.monotonic()
    try:
        done = subprocess.run(
            list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, timeout=args.timeout
        )
    except subprocess.TimeoutExpired as error:
        stderr = (error.stderr or b"").decode(errors="replace")[-2000:]
        raise RuntimeError(f"lookout-lab did not finish in {args.timeout:.0f} s: {stderr}") from None
    except OSError as error:
        raise RuntimeError(f"{args.lab} cannot be started: {error}") from None
    if done.returncode != 0:
        stderr = done.stderr.decode(errors="replace").strip()[-2000:]
        raise RuntimeError(f"lookout-lab exited with {done.returncode}: {stderr}")
    missing = [
        path.name
        for precision in args.precisions
        for batch in args.batches
        if not (path := output / f"{precision}-{batch}.safetensors").is_file()
    ]
    if missing:
        raise RuntimeError(f"lookout-lab wrote no {', '.join(missing)} into {output}")
    return time.monotonic() - started


def build(arch, args):
    """Returns torchvision's network with the weights of the seed, in fp32 on the device."""
    import torchvision

    # The default initialization is overwritten. It is fastest on the device.
    with torch.device(args.device):
        if arch in CLASSIFIERS:
            net = torchvision.models.get_model(arch, weights=None)
        else:
            make = getattr(torchvision.models.detection, arch)
            net = make(weights=None, weights_backbone=None, num_classes=CLASSES)
            net.transform = Whole()
    return hash_fill.fill(net, args.seed).to(args.device)


def is_dense(net):
    return hasattr(net, "head")


def first_stage(net, x):
    """Returns a network's outputs by name, and the feature maps of a detector by level."""
    if not hasattr(net, "backbone"):
        return {"logits": net(x)}, None
    features = net.backbone(x)
    if is_dense(net):
        return net.head(list(features.values())), features
    from torchvision.models.detection.rpn import concat_box_prediction_layers

    outputs = concat_box_prediction_layers(*net.rpn.head(list(features.values())))
    return dict(zip(("objectness", "pred_bbox_deltas"), outputs)), features


def second_stage(net, features, proposals, extent):
    """Returns `class_logits` and `box_regression` for `proposals`, a list with one [R, 4] tensor per image."""
    dtype = next(net.parameters()).dtype
    # torchvision's RoIAlign has no bf16 kernel on a GPU.
    features = {level: map.float() for level, map in features.items()}
    pooled = net.roi_heads.box_roi_pool(features, proposals, [extent] * len(proposals)).to(dtype)
    return dict(zip(SECOND_STAGE, net.roi_heads.box_predictor(net.roi_heads.box_head(pooled))))


def relative_error(output, reference):
    if output.shape != reference.shape:
        raise RuntimeError(f"an output is {list(output.shape)}, torchvision's is {list(reference.shape)}")
    reference = reference.double()
    return float((output.double() - reference).norm() / reference.norm().clamp_min(1e-300))


def first_images(tensor, batch, count):
    """Returns the rows of `tensor`, which are grouped by image, of the first `batch` of `count` images."""
    return tensor[: tensor.shape[0] // count * batch]


class Torchvision:
    """torchvision's outputs for all batches and precisions of one network, on the device."""

    def __init__(self, arch, net, x, args):
        self.arch, self.x, self.args = arch, x, args
        self.nets = {"fp32": net}
        self.features, self.errors = {}, {}
        count = len(x)
        self.reference, features = first_stage(net, x)
        for batch in args.batches:
            self.features["fp32", batch] = features and {k: t[:batch] for k, t in features.items()}
        for precision in args.precisions:
            if precision == "fp32":
                continue
            dtype = DTYPES[precision]
            lower = copy.deepcopy(net).to(dtype=dtype, memory_format=torch.channels_last)
            self.nets[precision] = lower
            for batch in args.batches:
                part = x[:batch].to(dtype=dtype, memory_format=torch.channels_last)
                outputs, self.features[precision, batch] = first_stage(lower, part)
                for name, output in outputs.items():
                    reference = first_images(self.reference[name], batch, count)
                    self.errors[precision, batch, name] = relative_error(output, reference)
        self.boxes = None
        if arch in DETECTORS and "fp32" in args.precisions:
            self.boxes = [{k: t.cpu() for k, t in found.items()} for found in net(list(x))]
            self.settings = net if is_dense(net) else net.roi_heads

    def rows(self, precision, batch, ours):
        """Compares Lookout's outputs for one precision and batch."""
        count = len(self.x)
        for name, reference in self.reference.items():
            if name not in ours:
                raise RuntimeError(f"lookout-lab wrote no {name}; it wrote {sorted(ours)}")
            error = relative_error(ours[name].to(self.x.device), first_images(reference, batch, count))
            yield self.row(precision, batch, name, error, self.errors.get((precision, batch, name)), True)
        if self.arch not in DETECTORS or is_dense(self.nets["fp32"]):
            return
        # Faster R-CNN's second stage.
        image = ours["proposal_image"]
        proposals = [ours["proposals"][image == i].to(self.x.device) for i in range(batch)]
        extent = tuple(self.x.shape[-2:])
        reference = second_stage(self.nets["fp32"], self.features["fp32", batch], proposals, extent)
        theirs = {}
        if precision != "fp32":
            theirs = second_stage(self.nets[precision], self.features[precision, batch], proposals, extent)
        for name in SECOND_STAGE:
            error = relative_error(ours[name].to(self.x.device), reference[name])
            their_error = relative_error(theirs[name], reference[name]) if theirs else None
            yield self.row(precision, batch, name, error, their_error, precision == "fp32")

    def row(self, precision, batch, name, ours, theirs, required):
        if precision == "fp32":
            limit, ratio = FP32_MAX_ERROR, None
        else:
            limit = MAX_RATIO * theirs
            ratio = ours / theirs if theirs > 0 else math.inf
        # If torchvision overflows in this precision, there is no limit.
        ok = math.isfinite(ours) and (ours <= limit or not math.isfinite(limit))
        return {
            "network": self.arch,
            "precision": precision,
            "batch": batch,
            "output": name,
            "ours": ours,
            "torchvision": theirs,
            "ratio": ratio,
            "required": required,
            "ok": ok or not required,
        }

    def box_row(self, batch, ours):
        """Returns the share of torchvision's boxes that Lookout has too."""
        from torchvision.ops import box_iou

        theirs = self.boxes[:batch]
        counts = [int((found["scores"] > SCORE_THRESHOLD).sum()) for found in self.boxes]
        enough = sum(counts) >= MIN_BOXES_PER_IMAGE * len(self.boxes)
        # Boxes near the network's own threshold may be found by one side only.
        threshold = SCORE_THRESHOLD if enough else self.settings.score_thresh + MAX_SCORE_DIFFERENCE
        compared = agreeing = 0
        worst = []
        for number, found in enumerate(theirs):
            here = ours["image"] == number
            boxes, scores, labels = (ours[name][here] for name in ("boxes", "scores", "labels"))
            least = threshold
            if len(found["scores"]) >= self.settings.detections_per_img:
                # The list is full: which of the boxes with the lowest score are in it depends on rounding.
                least = max(least, float(found["scores"].min()) + MAX_SCORE_DIFFERENCE)
            chosen = found["scores"] > least
            compared += int(chosen.sum())
            if not len(scores):
                continue
            # A box that is clipped to a line at the image border has no IoU, so its corners are compared.
            distance = (found["boxes"][chosen][:, None] - boxes[None]).abs().amax(-1)
            overlaps = (box_iou(found["boxes"][chosen], boxes) > MIN_IOU) | (distance <= MAX_CORNER_DISTANCE)
            same_label = found["labels"][chosen][:, None] == labels[None]
            near = (found["scores"][chosen][:, None] - scores[None]).abs() <= MAX_SCORE_DIFFERENCE
            agrees = (overlaps & same_label & near).any(1)
            agreeing += int(agrees.sum())
            for index in (~agrees).nonzero().flatten()[:3].tolist():
                parts = {name: found[name][chosen][index].tolist() for name in ("boxes", "scores", "labels")}
                worst.append({"image": number, **parts})
        share = agreeing / compared if compared else None
        return {
            "network": self.arch,
            "precision": "fp32",
            "batch": batch,
            "output": "boxes after NMS",
            "share": share,
            "compared": compared,
            "score_threshold": threshold,
            "torchvision_boxes": sum(len(found["scores"]) for found in theirs),
            "lookout_boxes": len(ours["scores"]),
            "without_counterpart": worst[:10],
            # Without any box, the check fails, because nothing was compared.
            "ok": share is not None and share >= MIN_BOX_SHARE,
        }


def check(arch, net, x, lookout, folder, args, result):
    theirs = Torchvision(arch, net, x, args)
    result["lookout_seconds"][arch] = lookout.result()
    for precision in args.precisions:
        for batch in args.batches:
            path = folder / arch / f"{precision}-{batch}.safetensors"
            ours = load_file(path)
            path.unlink()
            result["rows"].extend(theirs.rows(precision, batch, ours))
            if theirs.boxes is not None and precision == "fp32":
                result["boxes"].append(theirs.box_row(batch, ours))


def number(value, form=".3g"):
    return "-" if value is None else format(value, form)


def print_table(result):
    form = "{:<27}{:<10}{:>6}  {:<17}{:>10}{:>13}{:>7}  {}"
    print(form.format("network", "precision", "batch", "worst output", "ours", "torchvision", "ratio", "ok"))

    def line(row, verdict):
        said = (number(row["ours"]), number(row["torchvision"]), number(row["ratio"], ".2f"))
        print(form.format(row["network"], row["precision"], row["batch"], row["output"], *said, verdict))

    def badness(row):
        value = row["ours"] if row["ratio"] is None else row["ratio"]
        return value if math.isfinite(value) else math.inf

    groups = {}
    for row in result["rows"]:
        groups.setdefault((row["network"], row["precision"], row["required"]), []).append(row)
    for (_, _, required), rows in groups.items():
        ok = all(row["ok"] for row in rows)
        line(max(rows, key=badness), ("yes" if ok else "NO") if required else "reported only")
    groups = {}
    for row in result["boxes"]:
        groups.setdefault(row["network"], []).append(row)
    for network, rows in groups.items():
        worst = min(rows, key=lambda row: -1 if row["share"] is None else row["share"])
        print(
            f"{network:<27}boxes: worst share {number(worst['share'], '.4f')} at batch {worst['batch']}; "
            f"{sum(row['compared'] for row in rows)} compared above {worst['score_threshold']:g}  "
            f"{'yes' if all(row['ok'] for row in rows) else 'NO'}"
        )
    failing = [row for row in result["rows"] if not row["ok"]]
    if failing:
        print("\nRows that miss the requirement:")
        for row in failing:
            line(row, "NO")
    for row in result["boxes"]:
        if not row["ok"]:
            print(f"boxes that miss the requirement: {json.dumps(row)}")
    for arch, error in result["errors"].items():
        print(f"\n{arch} FAILED: {error}")


@torch.inference_mode()
def compare_all(args, folder, result):
    inputs = write_inputs(folder, args)
    builders = ThreadPoolExecutor(3)
    with ThreadPoolExecutor(args.jobs) as lookouts:
        lookout = {arch: lookouts.submit(run_lookout, arch, folder, args) for arch in args.archs}
        # Threads must not import torchvision at the same time.
        import torchvision

        result["torchvision"] = torchvision.__version__
        on_device = {kind: x.to(args.device) for kind, x in inputs.items()}
        built = {arch: builders.submit(build, arch, args) for arch in args.archs}
        for arch in args.archs:
            try:
                net = built.pop(arch).result()
                check(arch, net, on_device[kind_of(arch)], lookout[arch], folder, args, result)
            except RuntimeError as error:
                result["errors"][arch] = str(error)
            except Exception:
                result["errors"][arch] = traceback.format_exc()
            result["seconds_until"][arch] = round(time.monotonic() - result["started"], 2)
    builders.shutdown()


def main():
    args = parse_args()
    # TF32 would reduce the precision of the fp32 reference.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    result = {
        "device": args.device,
        "torch": torch.__version__,
        "started": time.monotonic(),
        "lookout_seconds": {},
        "seconds_until": {},
        "rows": [],
        "boxes": [],
        "errors": {},
    }
    with tempfile.TemporaryDirectory(prefix="torchvision-check-") as folder:
        compare_all(args, pathlib.Path(folder), result)
    if args.device.startswith("cuda"):
        result["gpu"] = torch.cuda.get_device_name(args.device)
    result["seconds"] = round(time.monotonic() - result.pop("started"), 2)
    result["ok"] = not result["errors"] and all(row["ok"] for row in result["rows"] + result["boxes"])
    print_table(result)
    print(f"\n{'OK' if result['ok'] else 'NOT OK'}: {len(result['rows'])} outputs in {result['seconds']} s")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
