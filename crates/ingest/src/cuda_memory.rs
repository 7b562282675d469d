//! Frames in CUDA memory: where their planes are in the GPU's memory, which GStreamer's Rust bindings do not cover.
#![expect(unsafe_code, reason = "GStreamer's CUDA library has no bindings")]

use std::{marker::PhantomData, mem::MaybeUninit};

use gstreamer as gst;
use gstreamer_video as video;
use lookout_schema::Size;
use lookout_stage::Nv12Frame;

/// The caps feature of frames in CUDA memory.
pub(crate) const CUDA_MEMORY: &str = "memory:CUDAMemory";

/// `GST_MAP_READ | GST_MAP_CUDA`. The latter is defined in gstcudamemory.h.
const MAP_IN_GPU: gst::ffi::GstMapFlags = gst::ffi::GST_MAP_READ | gst::ffi::GST_MAP_FLAG_LAST << 1;

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
    fn host_memory_is_not_mistaken_for_gpu_memory() {
        crate::init().unwrap();
        let info = video::VideoInfo::builder(video::VideoFormat::Nv12, 64, 32).build().unwrap();
        let buffer = gst::Buffer::from_mut_slice(vec![0; info.size()]);
        assert!(MappedFrame::new(&buffer, &info).is_none());
        let caps: gst::Caps = "video/x-raw, format=NV12".parse().unwrap();
        assert!(!is_in_gpu(&caps));
        let caps: gst::Caps = "video/x-raw(memory:CUDAMemory), format=NV12".parse().unwrap();
        assert!(is_in_gpu(&caps));
    }
}
