//! Parts of libtorch that `tch` does not bind.
//!
//! This module has libtorch's fused CPU kernels: convolution, bias, sum and ReLU in one pass over memory, with weights
//! that were packed for the processor beforehand. [`cuda`] has the streams, graphs and kernels of a GPU.
//!
//! The fused kernels are the operators by which `torch.compile` calls oneDNN. They have no derivative and are for
//! inference only. Most of the project's `unsafe` code is in this crate; see `fused.cpp` and `cuda.cpp` beside this
//! file.
#![expect(unsafe_code, reason = "calls this crate's C++ code; every call is wrapped here")]

pub mod cuda;
mod guarded;

use std::os::raw::c_char;

use tch::Tensor;
use thiserror::Error;
use torch_sys::C_tensor;

use crate::guarded::tensor;

/// An error that libtorch returned for a call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{operator} failed: {reason}")]
pub struct FusedError {
    pub operator: &'static str,
    pub reason: String,
}

/// The geometry of a two-dimensional convolution. Each pair is vertical, horizontal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Geometry {
    pub stride: [i64; 2],
    pub padding: [i64; 2],
    pub dilation: [i64; 2],
    pub groups: i64,
}

/// The operation that is fused with a convolution: nothing or a ReLU (oneDNN's post-op).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Nothing,
    Relu,
}

unsafe extern "C" {
    fn lookout_fused_available() -> bool;
    fn lookout_cuda_has_bf16() -> bool;
    fn lookout_fused_prepack(
        weight: *const C_tensor,
        geometry: *const Geometry,
        input_size: *const i64,
        error: *mut c_char,
        capacity: usize,
    ) -> *mut C_tensor;
    fn lookout_fused_conv(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        geometry: *const Geometry,
        relu: bool,
        error: *mut c_char,
        capacity: usize,
    ) -> *mut C_tensor;
    fn lookout_fused_max_pool(x: *const C_tensor, error: *mut c_char, capacity: usize) -> *mut C_tensor;
    fn lookout_fused_conv_add(
        sum: *mut C_tensor,
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        geometry: *const Geometry,
        relu: bool,
        error: *mut c_char,
        capacity: usize,
    ) -> *mut C_tensor;
}

/// Returns whether this libtorch has the fused operators.
pub fn available() -> bool {
    // SAFETY: the function has no arguments and only reads the dispatcher's table.
    unsafe { lookout_fused_available() }
}

/// Returns whether the first GPU computes convolutions in bf16 natively; false if there is no GPU.
pub fn cuda_has_bf16() -> bool {
    // SAFETY: the function has no arguments and catches all exceptions.
    unsafe { lookout_cuda_has_bf16() }
}

/// A convolution's weight in the layout of the processor.
#[derive(Debug)]
pub struct PackedWeight {
    weight: Tensor,
    geometry: Geometry,
}

impl PackedWeight {
    /// Packs `weight` `[K, C/groups, kh, kw]`, fp32 or bf16, for inputs of about `input_size` `[N, C, H, W]`.
    ///
    /// The packed weight also works for other input sizes.
    ///
    /// # Errors
    /// libtorch returns an error.
    pub fn new(weight: &Tensor, geometry: Geometry, input_size: [i64; 4]) -> Result<Self, FusedError> {
        let weight = tensor("_reorder_convolution_weight", |error, capacity| {
            // SAFETY: the pointers outlive the call, and the input size has four elements as declared.
            unsafe { lookout_fused_prepack(weight.as_ptr(), &geometry, input_size.as_ptr(), error, capacity) }
        })?;
        Ok(Self { weight, geometry })
    }

    /// Returns a second handle to the same memory. It is only read, so that several threads may use it at the same
    /// time.
    pub fn shallow_clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), geometry: self.geometry }
    }

    /// Returns the convolution `[N, K, H', W']` of `x` `[N, C, H, W]`.
    ///
    /// `x` and `bias` `[K]` must have the weight's dtype.
    ///
    /// # Errors
    /// libtorch returns an error.
    pub fn conv(&self, x: &Tensor, bias: Option<&Tensor>, then: Then) -> Result<Tensor, FusedError> {
        let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
        tensor("_convolution_pointwise", |error, capacity| {
            // SAFETY: the pointers outlive the call; the callee accepts a null pointer as a missing bias.
            unsafe {
                lookout_fused_conv(
                    x.as_ptr(),
                    self.weight.as_ptr(),
                    bias,
                    &self.geometry,
                    then == Then::Relu,
                    error,
                    capacity,
                )
            }
        })
    }

    /// Adds the convolution of `x` to `sum` `[N, K, H', W']`, before the operation `then`. The result reuses the memory
    /// of `sum`.
    ///
    /// Arguments and errors are those of [`PackedWeight::conv`].
    pub fn conv_add(
        &self,
        mut sum: Tensor,
        x: &Tensor,
        bias: Option<&Tensor>,
        then: Then,
    ) -> Result<Tensor, FusedError> {
        let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
        tensor("_convolution_pointwise_.binary", |error, capacity| {
            // SAFETY: as in `conv`; `sum` is owned by this function and is passed to the callee for writing.
            unsafe {
                lookout_fused_conv_add(
                    sum.as_mut_ptr(),
                    x.as_ptr(),
                    self.weight.as_ptr(),
                    bias,
                    &self.geometry,
                    then == Then::Relu,
                    error,
                    capacity,
                )
            }
        })
    }
}

/// Computes a 3x3 max pooling with stride 2 and padding 1 of an `x` **without negative values**, such as the output of
/// a ReLU.
///
/// `x` `[N, C, H, W]` becomes `[N, C, (H+1)/2, (W+1)/2]`. `x` must be on the CPU, in channels-last memory format, in
/// fp32 or bf16. Because no value is negative, this takes a third of the time of libtorch's own max pooling.
///
/// # Errors
/// `x` has another device, memory format or dtype.
pub fn max_pool_of_positives(x: &Tensor) -> Result<Tensor, FusedError> {
    tensor("max pool", |error, capacity| {
        // SAFETY: the pointers outlive the call, and the callee checks the tensor's shape, dtype and memory format.
        unsafe { lookout_fused_max_pool(x.as_ptr(), error, capacity) }
    })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const GEOMETRY: Geometry = Geometry { stride: [2, 2], padding: [1, 1], dilation: [1, 1], groups: 1 };

    fn inputs() -> (Tensor, Tensor, Tensor) {
        tch::manual_seed(1);
        let options = (Kind::Float, Device::Cpu);
        (
            Tensor::randn([2, 16, 14, 14], options),
            Tensor::randn([32, 16, 3, 3], options),
            Tensor::randn([32], options),
        )
    }

    fn furthest(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn fused_convolution_equals_plain_convolution() {
        assert!(available());
        let (x, weight, bias) = inputs();
        let plain = x.conv2d(&weight, Some(&bias), [2, 2], [1, 1], [1, 1], 1);
        let packed = PackedWeight::new(&weight, GEOMETRY, [2, 16, 14, 14]).unwrap();
        assert!(furthest(&packed.conv(&x, Some(&bias), Then::Nothing).unwrap(), &plain) < 1e-4);
        assert!(furthest(&packed.conv(&x, Some(&bias), Then::Relu).unwrap(), &plain.relu()) < 1e-4);
        let sum = Tensor::randn_like(&plain);
        let added = packed.conv_add(sum.copy(), &x, Some(&bias), Then::Relu).unwrap();
        assert!(furthest(&added, &(&plain + &sum).relu()) < 1e-4);
    }

    #[test]
    fn grouped_fused_convolution_equals_plain_convolution() {
        tch::manual_seed(2);
        let options = (Kind::Float, Device::Cpu);
        let x = Tensor::randn([2, 64, 14, 14], options);
        let (weight, bias) = (Tensor::randn([64, 2, 3, 3], options) * 0.2, Tensor::randn([64], options));
        let geometry = Geometry { groups: 32, ..GEOMETRY };
        // oneDNN packs bf16 weights only for CPUs with these instructions.
        let has_bf16 = std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512dq");
        for (kind, most) in [(Kind::Float, 1e-4), (Kind::BFloat16, 0.1)] {
            if kind == Kind::BFloat16 && !has_bf16 {
                continue;
            }
            let [x, weight, bias] = [&x, &weight, &bias].map(|tensor| tensor.to_kind(kind));
            let plain = x.conv2d(&weight, Some(&bias), [2, 2], [1, 1], [1, 1], 32).to_kind(Kind::Float);
            let packed = PackedWeight::new(&weight, geometry, [2, 64, 14, 14]).unwrap();
            let fused = packed.conv(&x, Some(&bias), Then::Relu).unwrap().to_kind(Kind::Float);
            assert!(furthest(&fused, &plain.relu()) < most, "{kind:?}");
        }
    }

    #[test]
    fn max_pool_of_positives_equals_plain_max_pool() {
        for kind in [Kind::Float, Kind::BFloat16] {
            for size in [[2, 64, 13, 8], [1, 3, 1, 1], [1, 5, 2, 7]] {
                let x = Tensor::randn(size, (Kind::Float, Device::Cpu)).relu().to_kind(kind);
                let x = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
                let pooled = max_pool_of_positives(&x).unwrap();
                assert_eq!(pooled, x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false), "{kind:?} {size:?}");
            }
        }
        let wrong = Tensor::zeros([2, 3, 4, 4], (Kind::Double, Device::Cpu));
        assert!(max_pool_of_positives(&wrong).is_err());
    }

    #[test]
    fn wrong_shape_is_an_error() {
        let (_, weight, bias) = inputs();
        let packed = PackedWeight::new(&weight, GEOMETRY, [2, 16, 14, 14]).unwrap();
        let wrong = Tensor::zeros([2, 3, 14, 14], (Kind::Float, Device::Cpu));
        let error = packed.conv(&wrong, Some(&bias), Then::Relu).unwrap_err();
        assert_eq!(error.operator, "_convolution_pointwise");
        assert!(!error.reason.is_empty());
    }
}
