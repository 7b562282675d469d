//! Scales decoded frames in GPU memory to the network's input, on the GPU that runs the network.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use lookout_fused::{
    FusedError,
    cuda::{self, Nv12, Slot},
};
use lookout_schema::Size;
use lookout_stage::{GpuImage, GpuScaler, Nv12Frame, Pixels, ScalePlan};
use tch::{Device, Kind, Tensor};

use crate::target::Target;

/// Maximum number of image buffers kept for reuse. Each has the size of the network's input.
const MAX_FREE: usize = 512;

/// Returns a scaler for decoded frames on the GPU of `target`; `None` if `target` is not a GPU.
///
/// # Errors
/// CUDA returns no context for the GPU.
pub fn gpu_scaler(target: Target) -> Result<Option<Arc<dyn GpuScaler>>, FusedError> {
    let Device::Cuda(device) = target.device else { return Ok(None) };
    let context = cuda::context(device)?;
    Ok(Some(Arc::new(Scaler { device, context, slots: Mutex::default(), free: Arc::default() })))
}

struct Scaler {
    device: usize,
    context: usize,
    /// Idle CUDA streams. Their number grows to the highest number of concurrent calls.
    slots: Mutex<Vec<Slot>>,
    free: Arc<Free>,
}

/// Image buffers that are not in use.
#[derive(Default)]
struct Free(Mutex<Buffers>);

#[derive(Default)]
struct Buffers {
    /// The shape of all of them.
    shape: [i64; 3],
    tensors: Vec<Tensor>,
}

impl Free {
    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a buffer of `shape` with arbitrary content.
    fn take(&self, shape: [i64; 3], device: usize) -> Result<Tensor, String> {
        let free = {
            let mut buffers = self.buffers();
            if buffers.shape != shape {
                // The input size has changed.
                *buffers = Buffers { shape, tensors: Vec::new() };
            }
            buffers.tensors.pop()
        };
        let new = || Tensor::f_empty(shape, (Kind::Uint8, Device::Cuda(device)));
        free.map_or_else(new, Ok).map_err(|error| error.to_string())
    }

    fn put(&self, tensor: Tensor) {
        let mut buffers = self.buffers();
        if tensor.size() == buffers.shape && buffers.tensors.len() < MAX_FREE {
            buffers.tensors.push(tensor);
        }
    }
}

impl Scaler {
    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, frame: &Nv12, out: &mut Tensor) -> Result<(), FusedError> {
        let free = self.slots().pop();
        let mut slot = free.map_or_else(|| Slot::urgent(self.device), Ok)?;
        slot.run(|slot| {
            // SAFETY: the frame's owner keeps it alive until `scale` returns, and this closure waits for the stream.
            #[expect(unsafe_code, reason = "addresses in a GPU's memory")]
            unsafe {
                frame.scale(out)?;
            }
            slot.wait()
        })?;
        self.slots().push(slot);
        Ok(())
    }
}

impl GpuScaler for Scaler {
    fn device(&self) -> usize {
        self.device
    }

    fn context(&self) -> usize {
        self.context
    }

    fn scale(&self, frame: &Nv12Frame, plan: &ScalePlan) -> Result<Pixels, String> {
        let nv12 = arguments(frame, plan).ok_or("the frame has more than 2^31 pixels in a row")?;
        let shape = [i64::from(plan.input.height), i64::from(plan.input.width), 3];
        let mut tensor = self.free.take(shape, self.device)?;
        self.draw(&nv12, &mut tensor).map_err(|error| error.to_string())?;
        let image = ScaledImage {
            device: self.device,
            address: tensor.data_ptr() as u64,
            tensor: Mutex::new(Some(tensor)),
            free: Arc::clone(&self.free),
            host: OnceLock::new(),
        };
        Ok(Pixels::on_gpu(plan.input, Arc::new(image)))
    }
}

fn arguments(frame: &Nv12Frame, plan: &ScalePlan) -> Option<Nv12> {
    let pair = |size: Size| Some([i32::try_from(size.width).ok()?, i32::try_from(size.height).ok()?]);
    let ([x, y], [width, height]) = (
        pair(Size { width: plan.to.x, height: plan.to.y })?,
        pair(Size { width: plan.to.width, height: plan.to.height })?,
    );
    let factors = plan.matrix;
    Some(Nv12 {
        y: frame.y,
        uv: frame.uv,
        y_stride: i64::try_from(frame.y_stride).ok()?,
        uv_stride: i64::try_from(frame.uv_stride).ok()?,
        size: pair(frame.size)?,
        seen: plan.seen.map(|part| part as f32),
        to: [x, y, width, height],
        input: pair(plan.input)?,
        matrix: [
            factors.black,
            factors.y,
            factors.v_to_red,
            factors.u_to_green,
            factors.v_to_green,
            factors.u_to_blue,
        ],
    })
}

impl fmt::Debug for Scaler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scaler").field("device", &self.device).finish_non_exhaustive()
    }
}

/// An image in GPU memory. Its buffer is reused after it is dropped.
struct ScaledImage {
    device: usize,
    address: u64,
    tensor: Mutex<Option<Tensor>>,
    free: Arc<Free>,
    host: OnceLock<Vec<u8>>,
}

impl ScaledImage {
    fn tensor(&self) -> MutexGuard<'_, Option<Tensor>> {
        self.tensor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GpuImage for ScaledImage {
    fn device(&self) -> usize {
        self.device
    }

    fn address(&self) -> u64 {
        self.address
    }

    fn download(&self) -> &[u8] {
        self.host.get_or_init(|| {
            let tensor = self.tensor();
            let bytes = tensor.as_ref().map(|tensor| Vec::<u8>::try_from(tensor.view(-1)));
            match bytes {
                Some(Ok(bytes)) => bytes,
                failed => {
                    // The network's next batch fails with the same error, which the worker handles.
                    tracing::error!(reason = ?failed.and_then(Result::err), "a frame cannot be copied from the GPU");
                    vec![0; tensor.as_ref().map_or(0, Tensor::numel)]
                }
            }
        })
    }
}

impl Drop for ScaledImage {
    fn drop(&mut self) {
        let tensor = self.tensor().take();
        if let Some(tensor) = tensor {
            self.free.put(tensor);
        }
    }
}

impl fmt::Debug for ScaledImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScaledImage").field("device", &self.device).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use lookout_schema::Rect;
    use lookout_stage::YuvFactors;

    use super::*;

    #[test]
    fn cpu_has_no_gpu_scaler() {
        assert!(gpu_scaler(Target::REFERENCE).unwrap().is_none());
    }

    #[test]
    fn frame_and_plan_are_converted_to_kernel_arguments() {
        let (frame_size, input) = (Size { width: 1920, height: 1080 }, Size { width: 640, height: 384 });
        let frame = Nv12Frame { y: 1 << 40, uv: 2 << 40, y_stride: 2048, uv_stride: 2048, size: frame_size };
        let matrix =
            YuvFactors { black: 16, y: 1, v_to_red: 2, u_to_green: -3, v_to_green: -4, u_to_blue: 5 };
        let to = Rect { x: 0, y: 12, width: 640, height: 360 };
        let plan = ScalePlan { seen: [0.0, 0.25, 1.0, 0.5], input, to, matrix };
        let arguments = arguments(&frame, &plan).unwrap();
        assert_eq!((arguments.y, arguments.uv_stride, arguments.size), (1 << 40, 2048, [1920, 1080]));
        assert_eq!((arguments.to, arguments.input), ([0, 12, 640, 360], [640, 384]));
        assert_eq!((arguments.seen, arguments.matrix), ([0.0, 0.25, 1.0, 0.5], [16, 1, 2, -3, -4, 5]));
    }
}
