//! The exponential moving average (EMA) of a network's weights, which reduces the noise of the last batches (Polyak and
//! Juditsky 1992).

use tch::Tensor;

/// The moving average of all tensors of a network, including the running statistics.
#[derive(Debug)]
pub(super) struct Ema {
    decay: f64,
    tensors: Vec<Tensor>,
    updates: u64,
}

impl Ema {
    /// Starts from `tensors`, the result of `Optimizer::flat_tensors`. At each update the average keeps the fraction
    /// `decay` of its value; the first updates use a lower decay.
    pub(super) fn new(decay: f64, tensors: &[&Tensor]) -> Self {
        let tensors = tch::no_grad(|| tensors.iter().map(|tensor| tensor.copy()).collect());
        Self { decay, tensors, updates: 0 }
    }

    pub(super) fn update(&mut self, tensors: &[&Tensor]) {
        self.updates += 1;
        // With the full decay, the initial weights would dominate the average for too long.
        let n = self.updates as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        tch::no_grad(|| {
            for (own, tensor) in self.tensors.iter_mut().zip(tensors) {
                let _ = own.lerp_(tensor, 1.0 - decay);
            }
        });
    }

    pub(super) fn flat_tensors(&self) -> Vec<&Tensor> {
        self.tensors.iter().collect()
    }

    /// Sets the number of updates when a run is resumed.
    pub(super) fn set_updates(&mut self, updates: u64) {
        self.updates = updates;
    }
}
