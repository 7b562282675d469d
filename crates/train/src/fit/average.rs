//! The exponential moving average (EMA) of a network's weights, which reduces the noise of the last batches (Polyak and
//! Juditsky 1992).

use tch::Tensor;

/// The moving average of all tensors of a network, including the running statistics.
#[derive(Debug)]
pub(super) struct Average {
    decay: f64,
    wholes: Vec<Tensor>,
    updates: u64,
}

impl Average {
    /// Starts from `wholes`, the flat tensors of `Optimizer::wholes`. At each update the average keeps the fraction
    /// `decay` of its value; the first updates use a lower decay.
    pub(super) fn new(decay: f64, wholes: &[&Tensor]) -> Self {
        let wholes = tch::no_grad(|| wholes.iter().map(|whole| whole.copy()).collect());
        Self { decay, wholes, updates: 0 }
    }

    pub(super) fn update(&mut self, wholes: &[&Tensor]) {
        self.updates += 1;
        // With the full decay, the initial weights would dominate the average for too long.
        let n = self.updates as f64;
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        tch::no_grad(|| {
            for (own, whole) in self.wholes.iter_mut().zip(wholes) {
                let _ = own.lerp_(whole, 1.0 - decay);
            }
        });
    }

    pub(super) fn wholes(&self) -> Vec<&Tensor> {
        self.wholes.iter().collect()
    }

    /// Sets the number of updates when a run is resumed.
    pub(super) fn set_updates(&mut self, updates: u64) {
        self.updates = updates;
    }
}
