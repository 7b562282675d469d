//! Networks, weights, and pre- and postprocessing on libtorch.

pub mod weights;
