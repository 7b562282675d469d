//! The rules of `[model]` and `[classify]`.

use super::{GOOD, Rule, hold};

const OF_CLASSIFIERS: &[Rule] = &[
    ("[model]", "model = 1\n[model2]", 3, "model", "expected a table"),
    ("arch = \"resnet50\"\n", "", 3, "model.arch", "is required"),
    ("\"resnet50\"", "\"resnet51\"", 4, "model.arch", "did you mean `resnet50`?"),
    ("\"resnet50\"", "\"yolo\"", 4, "model.arch", "valid values are `resnet18`"),
    ("weights = \"random:0\"\n", "", 3, "model.weights", "is required"),
    ("\"random:0\"", "\"random:x\"", 5, "model.weights", "is not a valid seed"),
    ("\"random:0\"", "\"resnet50\"", 5, "model.weights", "nor a file that ends in"),
    ("\"random:0\"", "\"random:0\"\ndevice = \"gpu\"", 6, "model.device", "is not a valid device"),
    ("\"random:0\"", "\"random:0\"\nprecision = \"int4\"", 6, "model.precision", "valid values are `auto`"),
    (
        "\"random:0\"",
        "\"random:0\"\ndevice = \"cpu\"\nprecision = \"fp16\"",
        7,
        "model.precision",
        "GPUs only",
    ),
    ("\"random:0\"", "\"random:0\"\ninput = \"224\"", 6, "model.input", "WIDTHxHEIGHT"),
    ("\"random:0\"", "\"random:0\"\ninput = \"8x8\"", 6, "model.input", "32 to 4096"),
    (
        "\"random:0\"",
        "\"random:0\"\ninput = \"224x224\"\nsmaller_inputs = [\"128x128\"]",
        7,
        "model.smaller_inputs",
        "only built-in detectors",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\nsmaller_inputs = [\"320x192\"]",
        6,
        "model.smaller_inputs",
        "smaller than `input`",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\ninput = \"640x384\"\nsmaller_inputs = [\"640x384\"]",
        7,
        "model.smaller_inputs",
        "is not smaller than the input before it",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\ninput = \"640x384\"\nsmaller_inputs = [\"320\"]",
        7,
        "model.smaller_inputs",
        "WIDTHxHEIGHT",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"\ninput = \"640x384\"\nresize_mode = \"center-crop\"\nsmaller_inputs = [\"320x192\"]",
        8,
        "model.smaller_inputs",
        "use `letterbox`",
    ),
    ("\"random:0\"", "\"random:0\"\nresize_mode = \"crop\"", 6, "model.resize_mode", "center-crop"),
    (
        "\"random:0\"",
        "\"random:0\"\nresize_mode = \"torchvision\"",
        6,
        "model.resize_mode",
        "all frames of a batch",
    ),
    ("\"random:0\"", "\"random:0\"\nresize_mode = 1", 6, "model.resize_mode", "a string in quotes"),
    ("\"random:0\"", "\"random:0\"\nscore_threshold = 1.5", 6, "model.score_threshold", "between 0 and 1"),
    ("\"random:0\"", "\"random:0\"\nnms_iou = -0.1", 6, "model.nms_iou", "between 0 and 1"),
    ("\"random:0\"", "\"random:0\"\nmax_detections = 0", 6, "model.max_detections", "between 1 and 100000"),
    (
        "\"random:0\"",
        "\"random:0\"\ncandidates_per_level = 0",
        6,
        "model.candidates_per_level",
        "between 1 and 100000",
    ),
    ("\"random:0\"", "\"random:0\"\ntop_k = 0", 6, "model.top_k", "between 1 and 1000"),
    ("\"random:0\"", "\"random:0\"\nthreads = -1", 6, "model.threads", "between 1 and 1024"),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"",
        3,
        "model.output",
        "is required for a TorchScript module",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"torchvision\"\noutput = \"logits\"",
        5,
        "model.weights",
        "end in .pt, .ts or .pth",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"boxes\"",
        6,
        "model.output",
        "`boxes_scores_labels`",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"logits\"\nprecision = \"bf16\"",
        7,
        "model.precision",
        "gets fp32 input",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"logits\"\nnms_iou = 0.5",
        7,
        "model.nms_iou",
        "does its own NMS",
    ),
    (
        "arch = \"resnet50\"\nweights = \"random:0\"",
        "arch = \"torchscript\"\nweights = \"m.pt\"\noutput = \"logits\"\ncandidates_per_level = 5",
        7,
        "model.candidates_per_level",
        "remove `candidates_per_level`",
    ),
    ("\"random:0\"", "\"random:0\"\noutput = \"logits\"", 6, "model.output", "`arch = \"torchscript\"` only"),
    ("\"random:0\"", "\"m.ts\"", 5, "model.weights", "set `arch = \"torchscript\"`"),
];

/// The rules of a pipeline whose network is a detector.
const OF_DETECTORS: &[Rule] = &[
    ("max_size = 8", "max_size = 8\n[classify]\nweights = \"random:0\"", 9, "classify.arch", "is required"),
    ("max_size = 8", "max_size = 8\n[classify]\narch = \"resnet18\"", 9, "classify.weights", "is required"),
    (
        "max_size = 8",
        "max_size = 8\n[classify]\narch = \"fcos_resnet50_fpn\"\nweights = \"random:0\"",
        10,
        "classify.arch",
        "valid values are `resnet18`",
    ),
    (
        "max_size = 8",
        "max_size = 8\n[classify]\narch = \"resnet18\"\nweights = \"random:0\"\nmargin = -1",
        12,
        "classify.margin",
        "between 0 and 4",
    ),
];

#[test]
fn reports_each_mistake_in_the_networks_at_its_line_and_key() {
    hold(GOOD, OF_CLASSIFIERS);
    hold(&GOOD.replace("resnet50", "fcos_resnet50_fpn"), OF_DETECTORS);
}
