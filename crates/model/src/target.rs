//! The device and the precision that a network computes in.

#[cfg(target_arch = "x86_64")]
use std::env;
use std::fmt;

use lookout_config::{Device as DeviceSetting, Precision as PrecisionSetting};
use tch::{Cuda, Device, Kind};

use crate::ModelError;

/// The dtype that a network computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Fp32,
    Bf16,
    Fp16,
}

impl Precision {
    /// Returns the name used in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        }
    }

    pub const fn kind(self) -> Kind {
        match self {
            Self::Fp32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::Fp16 => Kind::Half,
        }
    }
}

/// A device and a precision that it supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
}

impl Target {
    /// The CPU in fp32, which every machine supports.
    pub const REFERENCE: Self = Self { device: Device::Cpu, precision: Precision::Fp32 };

    /// Returns the same device in fp32.
    pub(crate) fn in_fp32(self) -> Self {
        Self { precision: Precision::Fp32, ..self }
    }

    /// Returns the device and the precision that the settings ask for.
    ///
    /// For the device, `auto` chooses the first GPU if there is one. For the precision, it chooses bf16 if the device
    /// supports it natively, or else fp16 on a GPU and fp32 on the CPU.
    ///
    /// # Errors
    /// The requested GPU does not exist, or fp16 is requested on the CPU.
    pub fn choose(device: DeviceSetting, precision: PrecisionSetting) -> Result<Self, ModelError> {
        let gpus = usize::try_from(Cuda::device_count()).unwrap_or(0);
        let device = match device {
            DeviceSetting::Cpu => Device::Cpu,
            DeviceSetting::Auto => Device::cuda_if_available(),
            DeviceSetting::Cuda(index) if Cuda::is_available() && index < gpus => Device::Cuda(index),
            DeviceSetting::Cuda(index) => return Err(ModelError::NoSuchGpu { index, gpus }),
        };
        let precision = match (precision, device) {
            (PrecisionSetting::Auto, _) if has_bf16(device) => Precision::Bf16,
            (PrecisionSetting::Auto, Device::Cuda(_)) => Precision::Fp16,
            (PrecisionSetting::Auto | PrecisionSetting::Fp32, _) => Precision::Fp32,
            (PrecisionSetting::Bf16, _) => Precision::Bf16,
            (PrecisionSetting::Fp16, Device::Cuda(_)) => Precision::Fp16,
            (PrecisionSetting::Fp16, _) => return Err(ModelError::Fp16OnCpu),
        };
        if let Device::Cuda(_) = device {
            lookout_fused::cuda::configure();
        }
        Ok(Self { device, precision })
    }

    pub fn precision(self) -> Precision {
        self.precision
    }

    pub fn device(self) -> Device {
        self.device
    }

    pub fn is_gpu(self) -> bool {
        matches!(self.device, Device::Cuda(_))
    }

    /// Returns whether convolutions run on a GPU's tensor cores, which require a 16-bit dtype.
    pub(crate) fn on_tensor_cores(self) -> bool {
        self.is_gpu() && self.precision != Precision::Fp32
    }

    /// Checks that this process can use the device: after some errors, such as an access to memory that a kernel does
    /// not own, CUDA refuses all further work of the process.
    ///
    /// # Errors
    /// CUDA's error, if the device is a GPU that this process cannot use any more.
    pub fn check(self) -> Result<(), String> {
        match self.device {
            Device::Cuda(index) => lookout_fused::cuda::check_device(index).map_err(|error| error.reason),
            _ => Ok(()),
        }
    }

    /// Waits until the device has completed all work, so that measured times include it.
    pub fn wait(self) {
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(index as i64);
        }
    }
}

/// Returns the bytes in use on a GPU, by all programs; `None` for the CPU, or if there is no such GPU.
///
/// For `auto`, this is the first GPU.
pub fn device_memory_used(device: DeviceSetting) -> Option<i64> {
    match device {
        DeviceSetting::Cpu => None,
        DeviceSetting::Auto => lookout_fused::cuda::memory_used(0).ok(),
        DeviceSetting::Cuda(index) => lookout_fused::cuda::memory_used(index).ok(),
    }
}

/// Writes `cpu` or `cuda:N`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Device::Cuda(index) => write!(f, "cuda:{index}"),
            _ => f.write_str("cpu"),
        }
    }
}

fn has_bf16(device: Device) -> bool {
    match device {
        Device::Cuda(_) => lookout_fused::cuda_has_bf16(),
        #[cfg(target_arch = "x86_64")]
        _ => {
            std::arch::is_x86_feature_detected!("avx512bf16")
                && !onednn_is_limited(&|name| env::var(name).ok())
        }
        #[cfg(target_arch = "aarch64")]
        _ => std::arch::is_aarch64_feature_detected!("bf16"),
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        _ => false,
    }
}

/// Returns whether environment variables keep oneDNN from using bf16 instructions, in which case it would emulate bf16.
#[cfg(target_arch = "x86_64")]
fn onednn_is_limited(env: &dyn Fn(&str) -> Option<String>) -> bool {
    const WITHOUT_BF16: [&str; 7] =
        ["SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"];
    let limit = env("ONEDNN_MAX_CPU_ISA").or_else(|| env("DNNL_MAX_CPU_ISA"));
    limit.is_some_and(|limit| WITHOUT_BF16.contains(&limit.to_ascii_uppercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn bf16_is_not_chosen_if_onednn_isa_is_limited() {
        let limited = |limit: &'static str| onednn_is_limited(&|_| Some(limit.into()));
        assert!(limited("AVX2") && limited("avx512_core"));
        assert!(!limited("ALL") && !limited("AVX512_CORE_BF16") && !limited("AVX512_CORE_AMX"));
        assert!(!onednn_is_limited(&|_| None));
    }

    #[test]
    fn missing_gpu_is_an_error() {
        let error = Target::choose(DeviceSetting::Cuda(99), PrecisionSetting::Auto).unwrap_err();
        assert!(matches!(error, ModelError::NoSuchGpu { index: 99, .. }), "{error}");
    }

    #[test]
    fn fp16_is_rejected_on_the_cpu() {
        let error = Target::choose(DeviceSetting::Cpu, PrecisionSetting::Fp16).unwrap_err();
        assert!(matches!(error, ModelError::Fp16OnCpu), "{error}");
        let target = Target::choose(DeviceSetting::Cpu, PrecisionSetting::Fp32).unwrap();
        assert_eq!(target, Target::REFERENCE);
    }
}
