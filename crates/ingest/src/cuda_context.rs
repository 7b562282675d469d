//! The CUDA context that the GPU decoders of all cameras share: the network's, if it is on a GPU.
//!
//! GStreamer's Rust bindings do not cover its CUDA library (`libgstcuda`). It is loaded when it is needed, so machines
//! without the plugin `nvcodec` do not need it.
#![expect(unsafe_code, reason = "GStreamer's CUDA library has no bindings")]

use std::{
    ffi::{c_int, c_void},
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use gst::prelude::*;
use gstreamer as gst;
use libloading::{Library, Symbol};
use lookout_stage::GpuScaler;

/// The library that the plugin `nvcodec` of GStreamer 1.22 and later is linked with.
const LIBRARY: &str = "libgstcuda-1.0.so.0";

/// The type of the context that GStreamer's CUDA elements share.
const CUDA_CONTEXT: &str = "gst.cuda.context";

/// The network's CUDA context. Without one, the context of the first pipeline that created one.
static SHARED_CONTEXT: Mutex<Option<gst::Context>> = Mutex::new(None);

fn shared_context() -> MutexGuard<'static, Option<gst::Context>> {
    SHARED_CONTEXT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the plugin, and makes the GPU decoders of all cameras use the network's CUDA context on `gpu`.
///
/// Callers must call this before they create the first pipeline. Later calls have no effect.
pub(crate) fn prepare(gpu: Option<&dyn GpuScaler>) {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| load_plugin(gpu));
}

fn load_plugin(gpu: Option<&dyn GpuScaler>) {
    // A decoder that is created while the plugin is being loaded finds no allocator for GPU memory, because the
    // plugin registers it last.
    let Some(plugin) = gst::Registry::get().find_plugin("nvcodec") else { return };
    if let Err(error) = plugin.load() {
        tracing::warn!(%error, "GStreamer's plugin nvcodec cannot be loaded");
        return;
    }
    match gpu.map(wrap_context) {
        Some(Ok(context)) => {
            shared_context().get_or_insert(context);
        }
        Some(Err(reason)) => {
            tracing::warn!(
                reason,
                "GPU decoders cannot share the network's CUDA context, so decoding and inference are slower"
            );
        }
        None => {}
    }
}

/// Makes the GPU decoders of all cameras share one CUDA context.
///
/// Otherwise each pipeline would create its own. A GPU works for one context at a time, and each context takes about
/// 300 MB of its memory.
pub(crate) fn share_context(message: &gst::MessageRef) {
    match message.view() {
        gst::MessageView::NeedContext(need) if need.context_type() == CUDA_CONTEXT => {
            let element = message.src().and_then(|source| source.downcast_ref::<gst::Element>());
            if let (Some(element), Some(context)) = (element, &*shared_context()) {
                element.set_context(context);
            }
        }
        gst::MessageView::HaveContext(have) => {
            let context = have.context();
            if context.context_type() == CUDA_CONTEXT {
                shared_context().get_or_insert(context);
            }
        }
        _ => {}
    }
}

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
            return Err(format!("GStreamer cannot create a context for GPU {device}"));
        }
        Ok(gst::glib::translate::from_glib_full(context))
    }
}

#[cfg(test)]
mod tests {
    use lookout_stage::{Nv12Frame, Pixels, ScalePlan};

    use super::*;

    #[test]
    fn wrapping_a_context_without_a_driver_is_an_error() {
        #[derive(Debug)]
        struct NoGpu;
        impl GpuScaler for NoGpu {
            fn device(&self) -> usize {
                99
            }
            fn context(&self) -> usize {
                0
            }
            fn scale(&self, _: &Nv12Frame, _: &ScalePlan) -> Result<Pixels, String> {
                Err("no GPU".into())
            }
        }
        crate::init().unwrap();
        assert!(wrap_context(&NoGpu).is_err());
    }
}
