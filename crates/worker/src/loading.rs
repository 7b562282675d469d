//! The progress of loading the network.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// The progress of loading the network, shared between the thread that loads it and the supervisor.
#[derive(Debug, Clone, Default)]
pub struct Loading(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    step: Mutex<String>,
    cancelled: AtomicBool,
}

impl Loading {
    /// Reports the step that starts now. Returns false if loading was cancelled because the worker stops.
    pub fn start_step(&self, step: impl fmt::Display) -> bool {
        *self.0.step.lock().unwrap_or_else(PoisonError::into_inner) = step.to_string();
        !self.0.cancelled.load(SeqCst)
    }

    pub(crate) fn step(&self) -> String {
        self.0.step.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn cancel(&self) {
        self.0.cancelled.store(true, SeqCst);
    }
}
