//! GPU decoding with GStreamer's plugin `nvcodec`.
//!
//! The plugin's decoders are ordinary elements that decodebin selects. The plugin registers them if it finds
//! libnvcuvid and a GPU. If the network runs on the decoder's GPU, the decoders use the network's CUDA context, and
//! frames stay in GPU memory, where they are scaled. Otherwise the decoder copies each frame to host memory, and all
//! further processing is the same as with a CPU decoder.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use lookout_config::{CameraSettings, DecoderChoice, SourceUri};
use lookout_schema::{CameraId, RetryReason};

use crate::{
    Fault,
    cuda_memory::CUDA_MEMORY,
    decoder_policy::{DecoderPolicy, Evidence, GPU_RETRY, Offered, missing, order},
    fault::scrub,
};

/// Called with the id of a camera whose GPU decoder is replaced by a CPU decoder.
pub(crate) type OnFallback = Arc<dyn Fn(&CameraId) + Send + Sync>;

/// The decoder state of a camera, kept over all of its connections.
pub(crate) struct CameraDecoders {
    camera: CameraId,
    uri: SourceUri,
    policy: Mutex<DecoderPolicy>,
    on_fallback: Option<OnFallback>,
    scaling_gpu: Option<usize>,
}

impl CameraDecoders {
    /// Creates the state of a camera that has had no decoder failure.
    ///
    /// `on_fallback` is called with the camera's id each time a CPU decoder replaces its GPU decoder. `scaling_gpu`
    /// is the CUDA index of the GPU on which frames are scaled.
    pub(crate) fn new(
        settings: &CameraSettings,
        on_fallback: Option<OnFallback>,
        scaling_gpu: Option<usize>,
    ) -> Arc<Self> {
        let policy = Mutex::new(DecoderPolicy::new(settings.decoder));
        let (camera, uri) = (settings.id.clone(), settings.uri.clone());
        Arc::new(Self { camera, uri, policy, on_fallback, scaling_gpu })
    }

    fn policy(&self) -> MutexGuard<'_, DecoderPolicy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a failure of the GPU decoder `element`. Returns whether the camera falls back to a CPU decoder.
    fn fail(&self, element: &str, reason: &str) -> bool {
        let falls_back = self.policy().fail(Instant::now());
        if falls_back {
            tracing::warn!(
                camera = %self.camera,
                element,
                reason,
                gpu_retry_s = GPU_RETRY.as_secs(),
                "GPU decoder failed, falling back to the CPU"
            );
            if let Some(on_fallback) = &self.on_fallback {
                on_fallback(&self.camera);
            }
        }
        falls_back
    }
}

impl fmt::Debug for CameraDecoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CameraDecoders").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Checks that this machine can decode on a GPU if `settings` require it.
///
/// # Errors
/// `settings` require a GPU decoder, and this machine has none.
pub(crate) fn check(settings: &CameraSettings) -> Result<(), Fault> {
    if settings.decoder != DecoderChoice::Gpu {
        return Ok(());
    }
    let offered: Vec<_> = video_decoders().iter().map(offered).collect();
    let plugin = gst::Registry::get().find_plugin("nvcodec").is_some();
    match missing(plugin, &offered) {
        None => Ok(()),
        Some(what) => {
            let detail =
                format!("{}: `decoder = \"gpu\"` is not possible on this machine: {what}", settings.uri);
            Err(Fault::new(RetryReason::PipelineError, detail))
        }
    }
}

/// Returns the video decoders that decodebin tries, in descending order of rank.
pub(crate) fn video_decoders() -> glib::List<gst::ElementFactory> {
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL)
}

pub(crate) fn offered(factory: &gst::ElementFactory) -> Offered {
    let klass = factory.metadata("klass").unwrap_or_default().to_owned();
    Offered { name: factory.name().into(), klass }
}

/// The decoder state of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionDecoders {
    camera: Arc<CameraDecoders>,
    uses_gpu: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The GPU decoders that decodebin has tried.
    tried: Vec<GpuDecoder>,
    /// The GPU decoder that outputs the frames.
    selected: Option<GpuDecoder>,
    /// The first error that a GPU decoder posted: its name and the message.
    error: Option<(String, String)>,
    /// The first flow error that a GPU decoder returned: its name and the error.
    flow: Option<(String, gst::FlowError)>,
    /// Whether the source's data were refused because of a limit. No frame is expected then.
    is_refused: bool,
}

impl State {
    /// Returns the selected decoder, or all tried decoders before one is selected.
    fn in_use(&self) -> impl Iterator<Item = &GpuDecoder> {
        self.selected.iter().chain(&self.tried)
    }

    fn note_flow(&mut self) {
        if self.flow.is_none() {
            let failing = self.in_use().find_map(|decoder| Some((decoder.name.clone(), decoder.error()?)));
            self.flow = failing;
        }
    }
}

#[derive(Debug)]
struct GpuDecoder {
    name: String,
    element: glib::WeakRef<gst::Element>,
}

impl GpuDecoder {
    fn of(element: &gst::Element) -> Option<Self> {
        let offered = element.factory().as_ref().map(offered).filter(Offered::is_gpu)?;
        Some(Self { name: offered.name, element: element.downgrade() })
    }

    /// Returns whether the decoder is in a pipeline. decodebin removes decoders that do not start.
    fn has_started(&self) -> bool {
        self.element.upgrade().is_some_and(|element| element.parent().is_some())
    }

    /// Returns the flow error that the decoder returned for its last packet, if any.
    fn error(&self) -> Option<gst::FlowError> {
        let pad = self.element.upgrade()?.static_pad("sink")?.peer()?;
        // Other flow returns are not decoder errors: a pipeline that stops, or a stream that is not linked.
        let errors = [gst::FlowError::Error, gst::FlowError::NotNegotiated, gst::FlowError::NotSupported];
        pad.last_flow_result().err().filter(|flow| errors.contains(flow))
    }
}

impl ConnectionDecoders {
    /// Decides whether a new connection uses the GPU.
    pub(crate) fn new(camera: &Arc<CameraDecoders>) -> Arc<Self> {
        let uses_gpu = camera.policy().uses_gpu(Instant::now());
        Arc::new(Self { camera: Arc::clone(camera), uses_gpu, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the GPU decoders that decodebin adds to `pipeline`, and sets the memory type of their frames.
    pub(crate) fn watch(self: &Arc<Self>, pipeline: &gst::Pipeline) {
        let decoders = Arc::downgrade(self);
        pipeline.connect_deep_element_added(move |_, _, element| {
            let Some(decoders) = decoders.upgrade() else { return };
            if let Some(decoder) = GpuDecoder::of(element) {
                if let Some(pad) = element.static_pad("src") {
                    let scales = decoders.camera.scaling_gpu.is_some_and(|gpu| device(element) == Some(gpu));
                    offer_memory(&pad, scales);
                }
                decoders.state().tried.push(decoder);
            }
        });
    }

    /// Makes `decodebin` try decoders in the order of the camera's policy.
    pub(crate) fn sort(&self, decodebin: &gst::Element) {
        let uses_gpu = self.uses_gpu;
        decodebin.connect("autoplug-sort", false, move |values| {
            // None keeps decodebin's order.
            let sorted = values.get(3).and_then(|factories| sorted(factories, uses_gpu));
            Some(sorted.to_value())
        });
    }

    /// Records that decodebin has chosen `decoder` for the selected video stream. `decoder` is None for raw video.
    ///
    /// # Errors
    /// The camera requires a GPU decoder, and `decoder` is not one.
    pub(crate) fn select(&self, decoder: Option<&gst::Element>) -> Result<(), Fault> {
        let Some((element, factory)) = decoder.and_then(|decoder| Some((decoder, decoder.factory()?))) else {
            return Ok(());
        };
        let (offer, selected) = (offered(&factory), GpuDecoder::of(element));
        let CameraDecoders { camera, uri, .. } = &*self.camera;
        let is_gpu = selected.is_some();
        let failed = {
            let mut state = self.state();
            let failed = state.tried.iter().find(|tried| !is_gpu && !tried.has_started());
            let failed = failed.map(|tried| tried.name.clone());
            // From now on only the decoder of the selected stream matters.
            state.tried.clear();
            state.selected = selected;
            failed
        };
        if !is_gpu && self.camera.policy().needs_gpu() {
            let caps = element.static_pad("sink").and_then(|pad| pad.current_caps());
            let video = caps.as_deref().map_or_else(|| "its video".into(), format);
            let why = failed.map_or_else(
                || format!("no decoder of nvcodec accepts {video}"),
                |failed| format!("{failed} cannot be started for {video}"),
            );
            let detail = format!("{uri}: {why}; set `decoder = \"auto\"` to use {} on the CPU", offer.name);
            return Err(Fault::new(RetryReason::Undecodable, detail));
        }
        if let Some(failed) = failed {
            self.camera.fail(&failed, "it could not be started");
        }
        tracing::info!(%camera, element = offer.name, hardware = offer.is_hardware(), "decoder selected");
        Ok(())
    }

    /// Records an error that `source` posted. Returns whether `source` is a GPU decoder, which cannot continue after
    /// an error.
    pub(crate) fn note_error(&self, source: Option<&gst::Object>, error: &glib::Error) -> bool {
        let mut state = self.state();
        // The element may send EOS next, which replaces the decoder's last flow return. So it is read here.
        state.note_flow();
        let element = source.and_then(|source| source.downcast_ref::<gst::Element>());
        let Some(decoder) = element.and_then(GpuDecoder::of) else { return false };
        let posted = scrub(&self.camera.uri, error.message());
        state.error.get_or_insert((decoder.name, posted));
        true
    }

    /// Returns whether a GPU decoder has posted or returned an error.
    pub(crate) fn have_failed(&self) -> bool {
        let state = self.state();
        state.error.is_some() || state.flow.is_some()
    }

    /// Records that the source's data exceed a limit. A missing frame is then not the decoder's fault.
    pub(crate) fn refuse(&self) {
        self.state().is_refused = true;
    }

    /// Decides whether the GPU decoder of a connection that has ended failed.
    ///
    /// Uses `evidence` and the errors that the decoder posted and returned.
    pub(crate) fn judge(&self, evidence: &Evidence) -> Verdict {
        let mut state = self.state();
        state.note_flow();
        let Some(decoder) = state.in_use().next().map(|decoder| decoder.name.clone()) else {
            return Verdict::Fine;
        };
        if state.is_refused {
            return Verdict::Fine;
        }
        let (posted_by, error) = state.error.clone().unzip();
        let (returned_by, flow) = state.flow.clone().unzip();
        drop(state);
        let element = posted_by.or(returned_by).unwrap_or(decoder);
        let Evidence { is_silent, frames, unanswered, .. } = *evidence;
        match (Evidence { error, flow, is_silent, frames, unanswered }).failure() {
            None => Verdict::Fine,
            Some(reason) if self.camera.fail(&element, &reason) => Verdict::FallsBack,
            Some(reason) => Verdict::Failed { element, reason },
        }
    }
}

/// The result of a connection's GPU decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The decoder works, or the connection had none.
    Fine,
    /// The decoder failed. The camera's next connection uses a CPU decoder.
    FallsBack,
    /// The decoder failed, and the camera may only be decoded on the GPU.
    Failed { element: String, reason: String },
}

/// Returns an array of factories in the order in which decodebin should try them.
fn sorted(factories: &glib::Value, uses_gpu: bool) -> Option<glib::ValueArray> {
    let factories = factories.get::<glib::ValueArray>().ok()?;
    let offer = |factory: &glib::Value| Some(offered(&factory.get::<gst::ElementFactory>().ok()?));
    let offers: Vec<_> = factories.iter().map(offer).collect::<Option<_>>()?;
    Some(order(&offers, uses_gpu).into_iter().map(|index| factories[index].clone()).collect())
}

/// Returns the CUDA index of the GPU that the decoder `element` uses.
fn device(element: &gst::Element) -> Option<usize> {
    let property = element.find_property("cuda-device-id")?;
    (property.value_type() == glib::Type::U32).then(|| element.property::<u32>("cuda-device-id") as usize)
}

/// Restricts the caps downstream of the decoder's `pad` to host memory, or with `in_gpu` to GPU memory.
///
/// Without this, nvcodec's decoders choose `memory:CUDAMemory` wherever it is allowed.
fn offer_memory(pad: &gst::Pad, in_gpu: bool) {
    let kinds = gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PULL;
    pad.add_probe(kinds, move |_, info| {
        if let Some(gst::QueryViewMut::Caps(query)) = info.query_mut().map(gst::QueryRef::view_mut) {
            let caps = gst::Caps::builder("video/x-raw");
            let caps = if in_gpu { caps.features([CUDA_MEMORY]).build() } else { caps.build() };
            let offered = match query.result() {
                Some(result) => result.intersect(&caps),
                None => caps,
            };
            query.set_result(&offered);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Describes the fields of the coded `caps` that determine which decoders accept them.
fn format(caps: &gst::CapsRef) -> String {
    let Some(caps) = caps.structure(0) else { return "its video".into() };
    let mut text = caps.name().to_string();
    for key in ["profile", "chroma-format", "bit-depth-luma", "width", "height"] {
        if let Some(value) = caps.value(key).ok().and_then(|value| value.serialize().ok()) {
            text += &format!(", {key} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_requires_the_gpu_fails_without_a_gpu_decoder() {
        crate::init().unwrap();
        let text = "name = \"t\"\n[model]\narch = \"resnet50\"\nweights = \"random:0\"\n[[camera]]\nid = \"cam\"\n\
                    uri = \"clip.mp4\"\ndecoder = \"gpu\"\n";
        let pipeline = lookout_config::parse("/test.toml".as_ref(), text, &|_| None).unwrap();
        let has_gpu = video_decoders().iter().any(|factory| offered(factory).is_gpu());
        let checked = check(&pipeline.cameras[0]).map_err(|fault| fault.detail);
        assert_eq!(checked.is_ok(), has_gpu, "{checked:?}");
        assert!(checked.err().is_none_or(|detail| detail.contains("clip.mp4") && detail.contains("nvcodec")));
    }

    #[test]
    fn downstream_caps_select_the_memory_of_a_decoder() {
        crate::init().unwrap();
        let caps: gst::Caps =
            "video/x-raw(memory:CUDAMemory), format=NV12; video/x-raw, format=NV12".parse().unwrap();
        for (in_gpu, expected) in
            [(false, "video/x-raw, format=NV12"), (true, "video/x-raw(memory:CUDAMemory), format=NV12")]
        {
            let always = gst::PadPresence::Always;
            let template = gst::PadTemplate::new("src", gst::PadDirection::Src, always, &caps).unwrap();
            let pad = gst::Pad::builder_from_template(&template).build();
            // Accepts all caps, as decodebin's pad does before it is exposed.
            let peer = gst::Pad::new(gst::PadDirection::Sink);
            pad.link(&peer).unwrap();
            assert_eq!(pad.allowed_caps().unwrap().size(), 2);
            offer_memory(&pad, in_gpu);
            assert_eq!(pad.allowed_caps().unwrap(), expected.parse::<gst::Caps>().unwrap());
        }
    }

    #[test]
    fn a_coded_format_is_described_by_its_codec_profile_and_size() {
        crate::init().unwrap();
        let caps: gst::Caps =
            "video/x-h264, level=(string)4, profile=(string)high-4:2:2, width=1920, height=1080"
                .parse()
                .unwrap();
        assert_eq!(format(&caps), "video/x-h264, profile high-4:2:2, width 1920, height 1080");
    }
}
