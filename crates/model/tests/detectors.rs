//! The detectors compared with torchvision's, with weights from a seed. `goldens/make_detectors.py` generates
//! the goldens and describes how each scene changes the network.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, path::Path};

use lookout_model::{DetectionSettings, Network, Outputs, PreparedDetector, PreparedNetwork, Target};
use tch::{Device, Kind, Tensor};

const SEED: u64 = 7;
const CLASSES: i64 = 5;
/// The goldens have every 7th row of a head's outputs.
const KEPT: i64 = 7;

#[test]
fn retinanet() {
    Case::new("retinanet_resnet50_fpn").agrees();
}

#[test]
fn retinanet_v2() {
    Case::new("retinanet_resnet50_fpn_v2").agrees();
}

#[test]
fn fcos() {
    Case::new("fcos_resnet50_fpn").agrees();
}

#[test]
fn faster_rcnn() {
    Case::new("fasterrcnn_resnet50_fpn").agrees();
}

#[test]
fn faster_rcnn_v2() {
    Case::new("fasterrcnn_resnet50_fpn_v2").agrees();
}

/// A detector and torchvision's results.
struct Case {
    arch: &'static str,
    goldens: BTreeMap<String, Tensor>,
    x: Tensor,
}

impl Case {
    fn new(arch: &'static str) -> Self {
        let goldens: BTreeMap<String, Tensor> = goldens();
        let x = goldens["bytes"].to_kind(Kind::Float) / 64.0 - 2.0;
        Self { arch, goldens, x }
    }

    fn agrees(&self) {
        let mut net = self.prepared(|_| {});
        self.heads_agree(&net);
        self.found_agrees(&net, &self.x, "plain");
        self.found_agrees(&net, &self.x.narrow(0, 0, 1).narrow(2, 0, 75).narrow(3, 0, 97), "odd");
        let threshold = self.golden("empty", "threshold").double_value(&[0]) as f32;
        net.settings = DetectionSettings {
            score_threshold: threshold,
            nms_iou: 0.5,
            max_detections: 100,
            ..net.settings
        };
        self.found_agrees(&net, &self.x, "empty");
        net.settings = DetectionSettings {
            score_threshold: 0.1,
            nms_iou: 0.3,
            max_detections: 20,
            candidates_per_level: 50,
            ..net.settings
        };
        self.found_agrees(&net, &self.x, "set");
        net.settings.score_threshold = 1.0;
        let outputs = net.forward(&self.x, [128, 160]);
        assert!(
            net.read(&outputs, [128, 160]).iter().all(|found| found.is_empty()),
            "expected no detections"
        );
        for (scene, change) in [
            ("one_class", Self::one_class as fn(&Self, &Changed)),
            ("small", Self::small),
            ("at_border", Self::at_border),
        ] {
            let net = self.prepared(|tensors| change(self, tensors));
            self.found_agrees(&net, &self.x, scene);
        }
    }

    fn golden(&self, scene: &str, name: &str) -> &Tensor {
        &self.goldens[&format!("{}/{scene}/{name}", self.arch)]
    }

    fn prepared(&self, change: impl FnOnce(&Changed)) -> PreparedDetector {
        let mut network = Network::new(self.arch, CLASSES).unwrap();
        network.fill(SEED);
        let changed = Changed(network.tensors());
        tch::no_grad(|| {
            if self.is_dense() {
                // Five classes produce fewer detections than the 91 for which the bias is chosen.
                changed.add(CLASS_BIAS, .., 3.0, CLASSES);
            }
            change(&changed);
        });
        detector(network.prepare(Target::REFERENCE))
    }

    fn is_dense(&self) -> bool {
        !self.arch.starts_with("fasterrcnn")
    }

    fn is_fcos(&self) -> bool {
        self.arch.starts_with("fcos")
    }

    fn one_class(&self, net: &Changed) {
        let bias = if self.is_dense() { CLASS_BIAS } else { "roi_heads.box_predictor.cls_score.bias" };
        net.add(bias, 3..4, 2.0, CLASSES);
        for class in [1, 2, 4] {
            net.add(bias, class..class + 1, -60.0, CLASSES);
        }
        if self.is_dense() {
            net.add(bias, 0..1, -60.0, CLASSES);
        }
    }

    fn small(&self, net: &Changed) {
        match (self.is_fcos(), self.is_dense()) {
            (true, _) => net.add(BOX_BIAS, .., -0.8, 4),
            (_, true) => net.add(BOX_BIAS, 2..4, -3.5, 4),
            (_, false) => net.add("roi_heads.box_predictor.bbox_pred.bias", 2..4, -17.5, 4),
        }
    }

    fn at_border(&self, net: &Changed) {
        match (self.is_fcos(), self.is_dense()) {
            (true, _) => net.add(BOX_BIAS, 2..3, 30.0, 4),
            (_, true) => net.add(BOX_BIAS, 0..1, 1.5, 4),
            (_, false) => net.add("roi_heads.box_predictor.bbox_pred.bias", 0..1, 15.0, 4),
        }
    }

    /// Compares the outputs of the heads: within 1e-4 of the largest value of each output.
    fn heads_agree(&self, net: &PreparedDetector) {
        let outputs = net.forward(&self.x, [128, 160]);
        let mut compared = 0;
        for (name, output) in outputs.named() {
            let Some(golden) = self.goldens.get(&format!("{}/heads/{name}", self.arch)) else { continue };
            let most = self.golden("heads", &format!("{name}.most")).double_value(&[0]);
            let rows = output.reshape([-1, golden.size()[1]]);
            let every = Tensor::arange_start_step(0, rows.size()[0], KEPT, (Kind::Int64, Device::Cpu));
            let rows = rows.index_select(0, &every);
            assert_eq!(rows.size(), golden.size(), "{name}");
            // Proposals with equal scores may be in another order.
            let far =
                (&rows - golden).abs().amax([1], false).gt(1e-4 * most).sum(Kind::Int64).int64_value(&[]);
            let may = if ["class_logits", "box_regression"].contains(&name) { 4 } else { 0 };
            assert!(far <= may, "{}: {far} rows of {name} are further than 1e-4", self.arch);
            compared += 1;
        }
        assert_eq!(
            compared,
            if self.is_fcos() {
                3
            } else if self.is_dense() {
                2
            } else {
                4
            }
        );
    }

    /// Compares the boxes and their order, except for boxes with equal scores.
    fn found_agrees(&self, net: &PreparedDetector, x: &Tensor, scene: &str) {
        let image_size = [x.size()[2], x.size()[3]];
        let found = net.read(&net.forward(x, image_size), image_size);
        let [boxes, scores, labels, image] =
            ["boxes", "scores", "labels", "image"].map(|name| self.golden(scene, name).to_kind(Kind::Float));
        let [scores, labels, image] = [scores, labels, image].map(|t| Vec::<f32>::try_from(&t).unwrap());
        let boxes = Vec::<f32>::try_from(&boxes.flatten(0, 1)).unwrap();
        let (boxes, _) = boxes.as_chunks::<4>();
        for (number, found) in found.iter().enumerate() {
            let there: Vec<usize> = (0..image.len()).filter(|i| image[*i] as usize == number).collect();
            let place = format!("{} {scene}, image {number}", self.arch);
            assert_eq!(found.len(), there.len(), "{place}");
            assert!(found.scores.is_sorted_by(|a, b| a >= b), "{place}");
            for (i, golden) in there.iter().enumerate() {
                assert!((found.scores[i] - scores[*golden]).abs() < 1e-4, "{place}: score {i}");
                let same = (0..found.len()).any(|j| {
                    (found.scores[j] - scores[*golden]).abs() < 1e-4
                        && found.labels[j] == labels[*golden] as u32
                        && found.boxes[j].iter().zip(boxes[*golden]).all(|(a, b)| (a - b).abs() < 0.05)
                });
                // Of the detections with the lowest score, ties may be resolved differently.
                let last = found.len() == net.settings.max_detections
                    && found.scores.last().is_some_and(|last| scores[*golden] - last < 1e-5);
                assert!(same || last, "{place}: box {i} {:?} is missing", boxes[*golden]);
            }
        }
    }
}

const CLASS_BIAS: &str = "head.classification_head.cls_logits.bias";
const BOX_BIAS: &str = "head.regression_head.bbox_reg.bias";

/// A network's tensors, which a scene changes.
struct Changed(BTreeMap<String, Tensor>);

impl Changed {
    /// Adds `number` to some columns of a bias, viewed as rows of `columns`.
    fn add(&self, name: &str, of: impl std::ops::RangeBounds<i64>, number: f64, columns: i64) {
        let from = match of.start_bound() {
            std::ops::Bound::Included(from) => *from,
            _ => 0,
        };
        let to = match of.end_bound() {
            std::ops::Bound::Excluded(to) => *to,
            _ => columns,
        };
        let _ = self.0[name].view([-1, columns]).narrow(1, from, to - from).g_add_scalar_(number);
    }
}

fn goldens() -> BTreeMap<String, Tensor> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/detectors.safetensors");
    Tensor::read_safetensors(file).unwrap().into_iter().collect()
}

fn detector(prepared: PreparedNetwork) -> PreparedDetector {
    prepared.into_detector().unwrap()
}

const ARCHS: [&str; 5] = [
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
];

#[test]
fn nan_weights_do_not_panic() {
    for arch in ARCHS {
        let mut network = Network::new(arch, 3).unwrap();
        network.fill(SEED);
        for tensor in network.tensors().values() {
            let _ = tch::no_grad(|| tensor.shallow_clone().fill_(f64::NAN));
        }
        let net = detector(network.prepare(Target::REFERENCE));
        let x = Tensor::zeros([2, 3, 64, 96], (Kind::Float, Device::Cpu));
        let found = net.read(&net.forward(&x, [64, 96]), [64, 96]);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|found| found.is_empty()), "{arch}");
    }
}

#[test]
fn infinite_scores_do_not_panic() {
    for arch in ["retinanet_resnet50_fpn", "fasterrcnn_resnet50_fpn"] {
        let mut network = Network::new(arch, 3).unwrap();
        network.fill(SEED);
        for (name, tensor) in network.tensors() {
            if ["cls_logits.bias", "cls_score.bias", "bbox_reg.bias", "bbox_pred.bias"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                let _ = tch::no_grad(|| tensor.shallow_clone().fill_(f64::INFINITY));
            }
        }
        let net = detector(network.prepare(Target::REFERENCE));
        let x = Tensor::zeros([1, 3, 64, 96], (Kind::Float, Device::Cpu));
        let found = net.read(&net.forward(&x, [64, 96]), [64, 96]);
        assert!(found.iter().all(|found| found.len() <= net.settings.max_detections), "{arch}");
    }
}

#[test]
fn bf16_error_is_within_its_precision() {
    let target = Target::choose(lookout_config::Device::Cpu, lookout_config::Precision::Auto).unwrap();
    if target == Target::REFERENCE {
        // Emulated bf16 would take minutes.
        return;
    }
    let x = goldens()["bytes"].to_kind(Kind::Float) / 64.0 - 2.0;
    for (arch, name) in [("retinanet_resnet50_fpn", "cls_logits"), ("fasterrcnn_resnet50_fpn", "objectness")]
    {
        let run = |target| {
            let net = detector(Network::from_seed(arch, SEED).unwrap().prepare(target));
            let outputs = net.forward(&x, [128, 160]).named();
            outputs.into_iter().find(|(found, _)| *found == name).unwrap().1.to_kind(Kind::Float)
        };
        let (fp32, bf16) = (run(Target::REFERENCE), run(target));
        let off = ((bf16 - &fp32).std(true) / fp32.std(true)).double_value(&[]);
        assert!(off > 0.0 && off < 0.03, "{arch}: {off}");
    }
}

#[test]
fn training_forward_is_differentiable() {
    let mut network = Network::new("fcos_resnet50_fpn", 3).unwrap();
    network.fill(SEED);
    let x = Tensor::randn([1, 3, 64, 64], (Kind::Float, Device::Cpu));
    let Outputs::Detector(outputs) = network.forward(&x, &mut |proposals| proposals) else {
        panic!("a classifier")
    };
    let total: Tensor = outputs.named().iter().map(|(_, tensor)| tensor.mean(Kind::Float)).sum();
    total.backward();
    let tensors = network.tensors();
    let grad = tensors["backbone.body.layer4.0.conv1.weight"].grad();
    assert!(grad.defined() && grad.abs().max().double_value(&[]) > 0.0);
    // The first versions of torchvision's detectors freeze the backbone's norms.
    assert!(!tensors["backbone.body.bn1.weight"].requires_grad());
}
