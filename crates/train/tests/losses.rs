//! Losses, gradients and steps compared with torchvision and torch. `goldens/make_losses.py` generates the goldens.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, path::Path};

use lookout_config::{OptimizerSettings, Rule};
use lookout_model::{Network, random_values};
use lookout_train::{
    ClassLoss, Criterion, Losses, ObjectTensors, Optimizer, SubsetSampler, Truth, unfreeze_norms,
};
use tch::{Device, Kind, Tensor};

const SEED: u64 = 7;
const CLASSES: i64 = 5;
/// Number of values that are stored per parameter.
const SLICE: i64 = 6;
const IMAGES: usize = 3;

#[test]
fn retinanet() {
    agrees("retinanet_resnet50_fpn");
}

#[test]
fn retinanet_v2() {
    agrees("retinanet_resnet50_fpn_v2");
}

#[test]
fn fcos() {
    agrees("fcos_resnet50_fpn");
}

/// The batch norms of a network without pretrained weights are not frozen.
#[test]
fn fcos_without_objects() {
    agrees("fcos_resnet50_fpn.live");
}

#[test]
fn faster_rcnn() {
    agrees("fasterrcnn_resnet50_fpn");
}

#[test]
fn faster_rcnn_v2() {
    agrees("fasterrcnn_resnet50_fpn_v2");
}

#[test]
fn classifiers() {
    agrees("resnet18");
    agrees("resnet50");
}

/// The samples that the generator of the goldens draws. Each of the two samplers draws twice per image, that of the
/// second stage first.
struct Chosen(usize);

impl SubsetSampler for Chosen {
    fn sample(&mut self, max: usize, of: usize) -> Vec<i64> {
        let (name, call) = match self.0.checked_sub(2 * IMAGES) {
            None => ("roi", self.0),
            Some(call) => ("rpn", call),
        };
        self.0 += 1;
        let order = random_values(&format!("{name}.{call}"), SEED, &[of as i64], 0.0..1.0);
        let order = Vec::<i64>::try_from(&order.argsort_stable(true, 0, false)).unwrap();
        order.into_iter().take(max).collect()
    }
}

fn objects() -> Truth {
    let image = |boxes: &[f32], labels: &[i64]| ObjectTensors {
        boxes: Tensor::from_slice(boxes).view([-1, 4]),
        labels: Tensor::from_slice(labels),
        ignored: Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)),
    };
    Truth::Objects(vec![
        image(
            &[8.0, 12.0, 60.0, 70.0, 50.0, 20.0, 118.0, 88.0, 70.5, 40.25, 95.0, 61.0, 2.0, 70.0, 20.0, 90.0],
            &[1, 3, 2, 4],
        ),
        image(&[], &[]),
        image(&[30.0, 10.0, 100.0, 90.0], &[2]),
    ])
}

fn losses(arch: &str, network: &Network) -> Losses {
    let x = random_values("x", SEED, &[IMAGES as i64, 3, 96, 128], -2.0..2.0).to_kind(Kind::Double);
    let weights = Some(Tensor::from_slice(&[1.0_f32, 2.0, 0.5, 1.5, 1.0]));
    let class_loss = ClassLoss { label_smoothing: 0.1, weights, ..ClassLoss::default() };
    let truth =
        if arch.contains("fpn") { objects() } else { Truth::Classes(Tensor::from_slice(&[3_i64, 0, 2])) };
    Criterion::new(arch_of(arch), class_loss).unwrap().losses(network, &x, &truth, &mut Chosen(0)).unwrap()
}

fn filled(case: &str) -> Network {
    let mut network = Network::new(arch_of(case), CLASSES).unwrap();
    network.fill(SEED);
    if case.ends_with(".live") {
        unfreeze_norms(&network);
    }
    network
}

/// Converts a network to double precision, as in the goldens: with few small images, the batch statistics depend on the
/// order in which the kernels of a CPU add values.
fn doubled(network: Network) -> Network {
    for mut tensor in network.tensors().into_values().filter(|tensor| tensor.kind() == Kind::Float) {
        tensor.set_data(&tensor.to_kind(Kind::Double));
    }
    network
}

fn arch_of(case: &str) -> &str {
    case.trim_end_matches(".live")
}

struct Golden {
    arch: &'static str,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    fn get(&self, name: &str) -> &Tensor {
        &self.tensors[&format!("{}/{name}", self.arch)]
    }
}

fn agrees(arch: &'static str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/losses.safetensors");
    let golden = Golden { arch, tensors: Tensor::read_safetensors(file).unwrap().into_iter().collect() };
    let network = doubled(filled(arch));
    let losses = losses(arch, &network);
    let parts = golden.tensors.keys().filter(|name| name.starts_with(&format!("{arch}/loss/"))).count();
    assert_eq!(losses.parts().len(), parts, "{arch}");
    for (name, loss) in losses.parts() {
        let golden = golden.get(&format!("loss/{name}")).double_value(&[0]);
        let off = (loss.double_value(&[]) - golden).abs();
        assert!(off <= 1e-4 * golden.abs().max(1.0), "{arch}: {name} is off by {off} of {golden}");
    }
    let tensors = network.tensors();
    let trained: Vec<&Tensor> = tensors.values().filter(|tensor| tensor.requires_grad()).collect();
    let names: Vec<&String> =
        tensors.iter().filter(|(_, tensor)| tensor.requires_grad()).map(|(name, _)| name).collect();
    let gradients = Tensor::run_backward(&[losses.total()], &trained, false, false);
    gradients_agree(&golden, &names, &gradients);
    statistics_agree(&golden, &tensors);
    for (name, rule, lr) in [
        ("sgd", Rule::Sgd { momentum: 0.9, nesterov: false }, 0.02),
        ("nesterov", Rule::Sgd { momentum: 0.9, nesterov: true }, 0.02),
        ("adamw", Rule::AdamW { betas: [0.9, 0.999], eps: 1e-8 }, 0.001),
    ] {
        let settings = OptimizerSettings { rule, lr, weight_decay: 0.05, backbone_lr: 1.0 };
        steps_agree(&golden, name, &settings);
    }
}

fn gradients_agree(golden: &Golden, names: &[&String], gradients: &[Tensor]) {
    let norms = golden.get("grad/norms");
    assert_eq!(norms.size()[0] as usize, names.len(), "{}", golden.arch);
    let slices = golden.get("grad/slices");
    for (i, (name, gradient)) in (0..).zip(names.iter().zip(gradients)) {
        let norm = norms.double_value(&[i]);
        let off = (gradient.norm().double_value(&[]) - norm).abs();
        assert!(off <= 1e-3 * norm + 1e-9, "{} {name}: a norm of {norm} is off by {off}", golden.arch);
        let off = (at(gradient) - slices.get(i)).abs().max().double_value(&[]);
        assert!(off <= 1e-3 * norm + 1e-9, "{} {name}: with a norm of {norm} off by {off}", golden.arch);
    }
}

/// Compares the running statistics of the norms after the batch.
fn statistics_agree(golden: &Golden, tensors: &BTreeMap<String, Tensor>) {
    let own: Vec<Tensor> = tensors
        .iter()
        .filter(|(name, _)| name.ends_with("running_mean") || name.ends_with("running_var"))
        .map(|(_, tensor)| tensor.norm())
        .collect();
    let off = (Tensor::stack(&own, 0) / golden.get("statistics") - 1.0).abs().max().double_value(&[]);
    assert!(off < 1e-4, "{}: {off}", golden.arch);
}

/// Compares two steps of the optimizer on torchvision's own gradient, so that the comparison covers the update rule
/// only.
fn steps_agree(golden: &Golden, name: &str, settings: &OptimizerSettings) {
    let network = filled(golden.arch);
    let mut optimizer = Optimizer::new(&network, settings, Device::Cpu);
    let mut trained = network.tensors();
    trained.retain(|_, tensor| tensor.requires_grad());
    let before: Vec<Tensor> = trained.values().map(|tensor| at(tensor).copy()).collect();
    let slices = golden.get("grad/slices");
    // A weighted sum that has this gradient at the stored indices.
    let product = |(i, weight): (i64, &Tensor)| {
        let indices = indices(weight);
        let gradient = Tensor::zeros([weight.numel() as i64], (Kind::Float, Device::Cpu));
        let gradient = gradient.index_copy(0, &indices, &slices.get(i)).view_as(weight);
        (weight * gradient).sum(Kind::Float)
    };
    for _ in 0..2 {
        optimizer.backward(&(0..).zip(trained.values()).map(product).sum::<Tensor>());
        let _ = optimizer.step(settings.lr, None);
    }
    let slices = golden.get(&format!("{name}/slices"));
    for (i, (parameter, before)) in (0..).zip(trained.keys().zip(&before)) {
        let golden_change = slices.get(i);
        let largest = golden_change.abs().max().double_value(&[]);
        let off = (at(&trained[parameter]) - before - golden_change).abs().max().double_value(&[]);
        assert!(
            off <= 1e-4 * largest + 1e-6,
            "{} {name} {parameter}: the largest change is {largest}, the difference {off}",
            golden.arch
        );
    }
}

fn indices(tensor: &Tensor) -> Tensor {
    let count = tensor.numel() as i64;
    let indices = Tensor::arange(SLICE, (Kind::Int64, Device::Cpu)) * (count / SLICE).max(1);
    indices.clamp_max(count - 1)
}

fn at(tensor: &Tensor) -> Tensor {
    tensor.detach().contiguous().view([-1]).index_select(0, &indices(tensor))
}
