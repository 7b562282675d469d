//! The supervisor that wires the stages into one running worker.
