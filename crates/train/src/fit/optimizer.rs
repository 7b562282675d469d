//! From gradients to weights: SGD with momentum and AdamW, as torch has them.
//!
//! tch's own optimizers hold their state where nothing can reach it, and a run that goes on after it was
//! killed needs it.

use std::collections::BTreeMap;

use lookout_config::{OptimizerSettings, Rule};
use lookout_model::Network;
use tch::{Device, Kind, Tensor};

use super::flat::Flat;

/// A network's weights and how they change.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    groups: Vec<Group>,
    /// What is not trained: running statistics, frozen weights.
    kept: Flat,
    /// How many it has made.
    steps: i64,
}

/// Weights that are treated alike.
#[derive(Debug)]
struct Group {
    weights: Flat,
    decay: f64,
    lr: f64,
    gradient: Option<Tensor>,
    /// Of SGD the momentum, of AdamW the first and second moment.
    moments: Vec<Tensor>,
}

impl Optimizer {
    /// For what of `network` is trained.
    pub fn new(network: &Network, settings: &OptimizerSettings, device: Device) -> Self {
        let mut sorted: BTreeMap<(bool, bool), Vec<(String, Tensor)>> = BTreeMap::new();
        let mut kept = Vec::new();
        for (name, tensor) in network.tensors() {
            if tensor.requires_grad() {
                let of = (is_backbone(&name), is_plain(&name, &tensor));
                sorted.entry(of).or_default().push((name, tensor));
            } else {
                kept.push((name, tensor));
            }
        }
        let moments = match settings.rule {
            Rule::Sgd { .. } => 1,
            Rule::AdamW { .. } => 2,
        };
        let group = |((backbone, plain), tensors)| {
            let weights = Flat::new(tensors, device);
            let moments = (0..moments).map(|_| weights.whole.zeros_like()).collect();
            Group {
                weights,
                decay: if plain { 0.0 } else { settings.weight_decay },
                lr: if backbone { settings.backbone_lr } else { 1.0 },
                gradient: None,
                moments,
            }
        };
        Self {
            rule: settings.rule,
            groups: tch::no_grad(|| sorted.into_iter().map(group).collect()),
            kept: tch::no_grad(|| Flat::new(kept, device)),
            steps: 0,
        }
    }

    /// Adds a loss' gradient to that of the next step.
    ///
    /// # Panics
    /// Where libtorch refuses, as `tch`'s operators do.
    pub fn add(&mut self, loss: &Tensor) {
        let weights: Vec<&Tensor> = self.groups.iter().flat_map(|group| group.weights.tensors()).collect();
        let gradients = Tensor::run_backward(&[loss], &weights, false, false);
        tch::no_grad(|| {
            let mut rest = gradients.as_slice();
            for group in &mut self.groups {
                let (own, others) = rest.split_at(group.weights.tensors().len());
                rest = others;
                let gradient = group.weights.gather(own);
                group.gradient = Some(match group.gradient.take() {
                    Some(sum) => sum + gradient,
                    None => gradient,
                });
            }
        });
    }

    /// Changes the weights by the gradient that was added up, at the learning rate `lr`, and forgets it. Gives the
    /// gradient's norm, of which no more than `clip_norm` is taken.
    pub fn step(&mut self, lr: f64, clip_norm: Option<f64>) -> Tensor {
        self.steps += 1;
        tch::no_grad(|| {
            let norms: Vec<Tensor> =
                self.groups.iter().filter_map(|group| group.gradient.as_ref()).map(Tensor::norm).collect();
            let norm = match norms.is_empty() {
                true => Tensor::from(0.0_f32),
                false => Tensor::stack(&norms, 0).norm(),
            };
            // Stays on the device: nobody waits for it.
            let part = clip_norm.map(|most| (most / (&norm + 1e-6)).clamp_max(1.0));
            for group in &mut self.groups {
                let Some(mut gradient) = group.gradient.take() else { continue };
                if let Some(part) = &part {
                    gradient *= part;
                }
                group.change(self.rule, gradient, lr, self.steps);
            }
            norm
        })
    }

    /// All the numbers of the network, a group after the other: what an average is taken of.
    pub(super) fn wholes(&self) -> Vec<&Tensor> {
        self.groups.iter().map(|group| &group.weights.whole).chain([&self.kept.whole]).collect()
    }

    /// The network's tensors by name, their numbers out of `wholes`, which are such as [`Self::wholes`] gives.
    pub(super) fn named(&self, wholes: &[&Tensor]) -> BTreeMap<String, Tensor> {
        let flats = self.groups.iter().map(|group| &group.weights).chain([&self.kept]);
        flats.zip(wholes).flat_map(|(flat, whole)| flat.views(whole).collect::<Vec<_>>()).collect()
    }

    /// What the weights depend on beside themselves, by name.
    pub(super) fn moments(&self) -> BTreeMap<String, Tensor> {
        let mut named = BTreeMap::new();
        for group in &self.groups {
            for (number, moment) in group.moments.iter().enumerate() {
                let views = group.weights.views(moment);
                named.extend(views.map(|(name, view)| (format!("{number}.{name}"), view)));
            }
        }
        named
    }

    /// Goes on after so many steps; the moments are set by name.
    pub(super) fn set_steps(&mut self, steps: i64) {
        self.steps = steps;
    }

    /// How many numbers are trained.
    pub fn trained(&self) -> usize {
        self.groups.iter().map(|group| group.weights.whole.numel()).sum()
    }

    /// Names of what is trained.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flat_map(|group| group.weights.names())
    }
}

/// Norms and biases, which are not pulled to zero.
fn is_plain(name: &str, tensor: &Tensor) -> bool {
    tensor.dim() == 1 || name.ends_with(".bias")
}

fn is_backbone(name: &str) -> bool {
    // A classifier's whole body is one.
    name.starts_with("backbone.body.")
        || ["conv1.", "bn1.", "layer"].iter().any(|begin| name.starts_with(begin))
}

impl Group {
    fn change(&mut self, rule: Rule, mut gradient: Tensor, lr: f64, step: i64) {
        let lr = lr * self.lr;
        let weights = &mut self.weights.whole;
        match (rule, self.moments.as_mut_slice()) {
            (Rule::Sgd { momentum, nesterov }, [velocity]) => {
                if self.decay != 0.0 {
                    gradient += &*weights * self.decay;
                }
                *velocity *= momentum;
                *velocity += &gradient;
                if nesterov {
                    gradient += &*velocity * momentum;
                    *weights -= gradient * lr;
                } else {
                    *weights -= &*velocity * lr;
                }
            }
            (Rule::AdamW { betas: [beta1, beta2], eps }, [first, second]) => {
                *weights *= 1.0 - lr * self.decay;
                *first *= beta1;
                *first += &gradient * (1.0 - beta1);
                *second *= beta2;
                *second += gradient.square() * (1.0 - beta2);
                let correction = |beta: f64| 1.0 - beta.powf(step as f64);
                let size = &*second / correction(beta2);
                *weights -= &*first / (size.sqrt() + eps) * (lr / correction(beta1));
            }
            _ => {}
        }
        debug_assert!(weights.kind() == Kind::Float);
    }
}
