//! Fused CPU kernels of libtorch that tch does not bind.
