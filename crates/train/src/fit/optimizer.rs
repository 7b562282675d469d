//! SGD with momentum and AdamW, with the same update rules as in PyTorch.
//!
//! tch's own optimizers give no access to their state, which a checkpoint must contain so that a run can be resumed.

use std::collections::BTreeMap;

use lookout_config::{OptimizerSettings, Rule};
use lookout_model::Network;
use tch::{Device, Kind, Tensor};

use super::flat_parameters::FlatParameters;

/// An optimizer and the tensors of the network that it trains.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    groups: Vec<ParameterGroup>,
    /// Tensors that are not trained: running statistics and frozen weights.
    frozen: FlatParameters,
    /// Number of steps so far.
    steps: i64,
}

/// A parameter group: weights with the same weight decay and learning-rate factor.
#[derive(Debug)]
struct ParameterGroup {
    weights: FlatParameters,
    decay: f64,
    lr: f64,
    gradient: Option<Tensor>,
    /// For SGD the momentum, for AdamW the first and the second moment.
    moments: Vec<Tensor>,
}

impl Optimizer {
    /// Creates an optimizer for the tensors of `network` that require a gradient.
    pub fn new(network: &Network, settings: &OptimizerSettings, device: Device) -> Self {
        let mut sorted: BTreeMap<(bool, bool), Vec<(String, Tensor)>> = BTreeMap::new();
        let mut frozen = Vec::new();
        for (name, tensor) in network.tensors() {
            if tensor.requires_grad() {
                let in_backbone = network.arch().layout.name_in_backbone(&name).is_some();
                let of = (in_backbone, has_no_weight_decay(&name, &tensor));
                sorted.entry(of).or_default().push((name, tensor));
            } else {
                frozen.push((name, tensor));
            }
        }
        let moments = match settings.rule {
            Rule::Sgd { .. } => 1,
            Rule::AdamW { .. } => 2,
        };
        let group = |((backbone, plain), tensors)| {
            let weights = FlatParameters::new(tensors, device);
            let moments = (0..moments).map(|_| weights.flat.zeros_like()).collect();
            ParameterGroup {
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
            frozen: tch::no_grad(|| FlatParameters::new(frozen, device)),
            steps: 0,
        }
    }

    /// Computes the gradient of a loss and adds it to the gradient of the next step.
    ///
    /// # Panics
    /// Panics where libtorch raises an error, as the operators of `tch` do.
    pub fn backward(&mut self, loss: &Tensor) {
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

    /// Updates the weights by the accumulated gradient at the learning rate `lr`, clips the gradient's norm to
    /// `clip_norm`, and clears the gradient. Returns the norm before clipping.
    pub fn step(&mut self, lr: f64, clip_norm: Option<f64>) -> Tensor {
        self.steps += 1;
        tch::no_grad(|| {
            let norms: Vec<Tensor> =
                self.groups.iter().filter_map(|group| group.gradient.as_ref()).map(Tensor::norm).collect();
            let norm = match norms.is_empty() {
                true => Tensor::from(0.0_f32),
                false => Tensor::stack(&norms, 0).norm(),
            };
            // The norm stays on the device, so that the CPU does not have to wait for it.
            let clip_coefficient = clip_norm.map(|max| (max / (&norm + 1e-6)).clamp_max(1.0));
            for group in &mut self.groups {
                let Some(mut gradient) = group.gradient.take() else { continue };
                if let Some(coefficient) = &clip_coefficient {
                    gradient *= coefficient;
                }
                group.update(self.rule, gradient, lr, self.steps);
            }
            norm
        })
    }

    /// Returns the flat tensors of all groups, then that of the tensors that are not trained. Together they hold all
    /// values of the network.
    pub(super) fn flat_tensors(&self) -> Vec<&Tensor> {
        self.groups.iter().map(|group| &group.weights.flat).chain([&self.frozen.flat]).collect()
    }

    /// Returns the network's tensors by name, as views of `flat_tensors`, which must have the layout of
    /// [`Self::flat_tensors`].
    pub(super) fn named(&self, flat_tensors: &[&Tensor]) -> BTreeMap<String, Tensor> {
        let flats = self.groups.iter().map(|group| &group.weights).chain([&self.frozen]);
        flats
            .zip(flat_tensors)
            .flat_map(|(flat_parameters, flat)| flat_parameters.views(flat).collect::<Vec<_>>())
            .collect()
    }

    /// Returns the optimizer's state by name.
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

    /// Sets the number of steps when a run is resumed. The moments are restored by name.
    pub(super) fn set_steps(&mut self, steps: i64) {
        self.steps = steps;
    }

    /// Returns the number of trained parameters.
    pub fn trained(&self) -> usize {
        self.groups.iter().map(|group| group.weights.flat.numel()).sum()
    }

    /// Returns the names of the trained tensors.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flat_map(|group| group.weights.names())
    }
}

/// Returns whether a parameter is excluded from weight decay, as those of norms and all biases are.
fn has_no_weight_decay(name: &str, tensor: &Tensor) -> bool {
    tensor.dim() == 1 || name.ends_with(".bias")
}

impl ParameterGroup {
    fn update(&mut self, rule: Rule, mut gradient: Tensor, lr: f64, step: i64) {
        let lr = lr * self.lr;
        let weights = &mut self.weights.flat;
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
