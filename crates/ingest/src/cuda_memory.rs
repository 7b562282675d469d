//! The parts of GStreamer's CUDA library (`libgstcuda`) that Lookout uses, which its Rust bindings do not cover: a
//! context that wraps the network's CUDA context, and the addresses of a frame's planes in GPU memory.
//!
//! The library is loaded when it is needed, so machines without the plugin `nvcodec` do not need it.
#![expect(unsafe_code, reason = "a C library without bindings")]

use std::{
    ffi::{c_int, c_void},
    marker::PhantomData,
    mem::MaybeUninit,
};

use gstreamer as gst;
use gstreamer_video as video;
use libloading::{Library, Symbol};
use lookout_schema::Size;
use lookout_stage::{GpuScaler, Nv12Frame};

/// The caps feature of frames in CUDA memory.
pub(crate) const CUDA_MEMORY: &str = "memory:CUDAMemory";

/// The library that the plugin `nvcodec` of GStreamer 1.22 and later is linked with.
const LIBRARY: &str = "libgstcuda-1.0.so.0";

/// `GST_MAP_READ | GST_MAP_CUDA`. The latter is defined in gstcudamemory.h.
const MAP_IN_GPU: gst::ffi::GstMapFlags = gst::ffi::GST_MAP_READ | gst::ffi::GST_MAP_FLAG_LAST << 1;

/// Wraps the CUDA context of `gpu` for GStreamer's elements.
///
/// # Errors
/// The library is not installed or lacks a function, or the driver cannot be used.
pub(crate) fn wrap_context(gpu: &dyn GpuScaler) -> Result<gst::Context, String> {
    let device = c_int::try_from(gpu.device()).map_err(|error| error.to_string())?;
    // SAFETY: the library's initializers only register GObject types. The library is never unloaded, because GObject
    // types cannot be unregistered.
    let library = Box::leak(Box::new(unsafe { Library::new(LIBRARY) }.map_err(|error| error.to_string())?));
    // SAFETY: the signatures are those of gstcudaloader.h, gstcudacontext.h and gstcudautils.h of GStreamer 1.22; later
    // releases keep them.
    let (load, wrap, context_of) = unsafe {
        let load: Symbol<'_, unsafe extern "C" fn() -> c_int> =
            library.get("gst_cuda_load_library").map_err(|error| error.to_string())?;
        let wrap: Symbol<'_, unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void> =
            library.get("gst_cuda_context_new_wrapped").map_err(|error| error.to_string())?;
        let context_of: Symbol<'_, unsafe extern "C" fn(*mut c_void) -> *mut gst::ffi::GstContext> =
            library.get("gst_context_new_cuda_context").map_err(|error| error.to_string())?;
        (load, wrap, context_of)
    };
    // SAFETY: `load` has no arguments. `gpu.context()` is CUDA's primary context, which lives as long as the process.
    // The object that wraps it is never released, and the new `GstContext` holds its own reference to it.
    unsafe {
        if load() == 0 {
            return Err("the NVIDIA driver's libcuda.so.1 cannot be loaded".into());
        }
        let wrapped = wrap(gpu.context() as *mut c_void, device);
        if wrapped.is_null() {
            return Err(format!("GStreamer cannot use the CUDA context of GPU {device}"));
        }
        let context = context_of(wrapped);
        if context.is_null() {
            return Err(format!("GStreamer makes no context for GPU {device}"));
        }
        Ok(gst::glib::translate::from_glib_full(context))
    }
}

/// Returns whether frames of `caps` are in CUDA memory.
pub(crate) fn is_in_gpu(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_some_and(|features| features.contains(CUDA_MEMORY))
}

/// An NV12 frame in CUDA memory, mapped for reading. Its address is valid for the lifetime of this value.
#[derive(Debug)]
pub(crate) struct MappedFrame<'a> {
    memory: *mut gst::ffi::GstMemory,
    info: gst::ffi::GstMapInfo,
    frame: Nv12Frame,
    buffer: PhantomData<&'a gst::BufferRef>,
}

impl<'a> MappedFrame<'a> {
    /// Maps `buffer`, or returns None if it is not an NV12 frame in a single CUDA memory.
    pub(crate) fn new(buffer: &'a gst::BufferRef, format: &video::VideoInfo) -> Option<Self> {
        if format.format() != video::VideoFormat::Nv12 || buffer.n_memory() != 1 {
            return None;
        }
        let memory = buffer.peek_memory(0);
        if !memory.is_type("gst.cuda.memory") {
            return None;
        }
        let (offsets, strides) = match buffer.meta::<video::VideoMeta>() {
            Some(meta) => {
                ([*meta.offset().first()?, *meta.offset().get(1)?], [meta.stride()[0], meta.stride()[1]])
            }
            None => ([format.offset()[0], format.offset()[1]], [format.stride()[0], format.stride()[1]]),
        };
        let [y_stride, uv_stride] = strides.map(|stride| usize::try_from(stride).ok());
        let (y_stride, uv_stride) = (y_stride?, uv_stride?);
        let size = Size { width: format.width(), height: format.height() };
        let memory = memory.as_ptr().cast_mut();
        let mut info = MaybeUninit::uninit();
        // SAFETY: `buffer` keeps the memory alive. With this flag GStreamer sets `info` to an address in GPU memory.
        let info = unsafe {
            if gst::ffi::gst_memory_map(memory, info.as_mut_ptr(), MAP_IN_GPU) == gst::glib::ffi::GFALSE {
                return None;
            }
            info.assume_init()
        };
        let start = info.data as u64;
        let frame = Nv12Frame {
            y: start + offsets[0] as u64,
            uv: start + offsets[1] as u64,
            y_stride,
            uv_stride,
            size,
        };
        let mapped = Self { memory, info, frame, buffer: PhantomData };
        // The planes must lie within the mapped memory.
        let rows = size.height as usize;
        let ends = [offsets[0] + y_stride * rows, offsets[1] + uv_stride * rows.div_ceil(2)];
        let wide_enough = y_stride >= size.width as usize && uv_stride >= size.width as usize;
        (wide_enough && ends.iter().all(|end| *end <= mapped.info.size)).then_some(mapped)
    }

    pub(crate) fn frame(&self) -> &Nv12Frame {
        &self.frame
    }
}

impl Drop for MappedFrame<'_> {
    fn drop(&mut self) {
        // SAFETY: `new` mapped the memory, and the borrowed buffer still keeps it alive.
        unsafe { gst::ffi::gst_memory_unmap(self.memory, &mut self.info) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_the_hosts_memory_are_not_taken_for_frames_in_a_gpus() {
        crate::init().unwrap();
        let info = video::VideoInfo::builder(video::VideoFormat::Nv12, 64, 32).build().unwrap();
        let buffer = gst::Buffer::from_mut_slice(vec![0; info.size()]);
        assert!(MappedFrame::new(&buffer, &info).is_none());
        let caps: gst::Caps = "video/x-raw, format=NV12".parse().unwrap();
        assert!(!is_in_gpu(&caps));
        let caps: gst::Caps = "video/x-raw(memory:CUDAMemory), format=NV12".parse().unwrap();
        assert!(is_in_gpu(&caps));
    }

    #[test]
    fn a_context_without_a_driver_is_an_error() {
        #[derive(Debug)]
        struct NoGpu;
        impl GpuScaler for NoGpu {
            fn device(&self) -> usize {
                99
            }
            fn context(&self) -> usize {
                0
            }
            fn scale(
                &self,
                _: &Nv12Frame,
                _: &lookout_stage::ScalePlan,
            ) -> Result<lookout_stage::Pixels, String> {
                Err("no GPU".into())
            }
        }
        crate::init().unwrap();
        assert!(wrap_context(&NoGpu).is_err());
    }
}
