//! The moving average of a network: less of the last batches' noise (Polyak and Juditsky 1992).

use tch::Tensor;

/// An average of all of a network's numbers, running statistics among them.
#[derive(Debug)]
pub(super) struct Average {
    decay: f64,
    wholes: Vec<Tensor>,
    updates: u64,
}

impl Average {
    /// Begins with `wholes`, of which `decay` stays at each update once there were many.
    pub(super) fn new(decay: f64, wholes: &[&Tensor]) -> Self {
        let wholes = tch::no_grad(|| wholes.iter().map(|whole| whole.copy()).collect());
        Self { decay, wholes, updates: 0 }
    }

    pub(super) fn update(&mut self, wholes: &[&Tensor]) {
        self.updates += 1;
        // At first there is little to hold on to but what the network began with.
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

    /// Goes on after so many updates.
    pub(super) fn set_updates(&mut self, updates: u64) {
        self.updates = updates;
    }
}
