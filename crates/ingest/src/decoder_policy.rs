//! Decides which decoders a camera may use, when its GPU decoder has failed, and when the GPU is tried again.
//!
//! The functions are pure: the element factories, the evidence of a connection and the time are arguments.

use std::time::{Duration, Instant};

use gstreamer::FlowError;
use lookout_config::DecoderChoice;

/// A GStreamer element factory that decodebin can use for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) name: String,
    /// GStreamer's class, such as `Codec/Decoder/Video/Hardware`.
    pub(crate) klass: String,
}

/// The codecs that are decoded on the GPU. VP8, MPEG-2, MPEG-4 and JPEG stay on the CPU: cameras that send them have
/// small frames, and the caps of nvcodec's decoders do not state which streams of these codecs they cannot decode.
const GPU_CODECS: [&str; 4] = ["h264", "h265", "vp9", "av1"];

/// How long a CPU decoder replaces a GPU decoder that failed. The first connection after this time tries the GPU
/// again. A working connection is not closed for that.
pub(crate) const GPU_RETRY: Duration = Duration::from_secs(600);

/// Maximum number of packets that a decoder holds before it outputs the frame of the first: H.264 and H.265 reorder
/// up to 16 frames.
const MAX_DELAYED: u64 = 16;

impl Offered {
    fn is_decoder(&self) -> bool {
        self.klass.contains("Decoder")
    }

    pub(crate) fn is_hardware(&self) -> bool {
        self.is_decoder() && self.klass.contains("Hardware")
    }

    /// Returns whether this is a decoder of the nvcodec plugin: `nvh264dec`, `nvh264sldec`, or `nvh264device1dec` for a
    /// second GPU.
    fn is_nvcodec(&self) -> bool {
        self.is_hardware() && self.name.starts_with("nv") && self.name.ends_with("dec")
    }

    /// Returns whether this is a GPU decoder that cameras may use.
    pub(crate) fn is_gpu(&self) -> bool {
        let codec = self.name.strip_prefix("nv").unwrap_or_default();
        self.is_nvcodec() && GPU_CODECS.iter().any(|known| codec.starts_with(known))
    }
}

/// Returns the indices of the `offered` factories that decodebin tries for a stream, in the order of the attempts.
/// `offered` holds the factories that accept the stream, in decodebin's order.
///
/// With `uses_gpu`, GPU decoders come before all other decoders. In decodebin's order `avdec_h264` would precede
/// `nvh264dec`, because both have the same rank and are sorted by name. All other hardware decoders are left out.
/// Parsers stay before the decoders.
pub(crate) fn order(offered: &[Offered], uses_gpu: bool) -> Vec<usize> {
    let is_allowed = |factory: &Offered| !factory.is_hardware() || (uses_gpu && factory.is_gpu());
    let mut order: Vec<_> = (0..offered.len()).filter(|&index| is_allowed(&offered[index])).collect();
    order.sort_by_key(|&index| match &offered[index] {
        other if !other.is_decoder() => 0,
        decoder if decoder.is_gpu() => 1,
        _ => 2,
    });
    order
}

/// Returns what the machine lacks for `decoder = "gpu"`, if anything. `plugin` states whether the nvcodec plugin is
/// installed.
pub(crate) fn missing(plugin: bool, offered: &[Offered]) -> Option<&'static str> {
    if offered.iter().any(Offered::is_gpu) {
        return None;
    }
    Some(if plugin {
        "GStreamer's plugin `nvcodec` found no NVIDIA GPU, or the driver's libcuda.so.1 or libnvcuvid.so.1 is missing; \
         in a container, set NVIDIA_DRIVER_CAPABILITIES to include `video`; if the driver was installed after \
         GStreamer, remove GStreamer's registry cache (~/.cache/gstreamer-1.0)"
    } else {
        "GStreamer's plugin `nvcodec` is not installed; install GStreamer's plugins bad, which include it"
    })
}

/// Decides for one camera whether its connections use the GPU.
#[derive(Debug)]
pub(crate) struct DecoderPolicy {
    choice: DecoderChoice,
    failed_at: Option<Instant>,
}

impl DecoderPolicy {
    pub(crate) fn new(choice: DecoderChoice) -> Self {
        Self { choice, failed_at: None }
    }

    /// Returns whether a connection opened at `now` uses a GPU decoder where one accepts the stream.
    pub(crate) fn uses_gpu(&self, now: Instant) -> bool {
        match self.choice {
            DecoderChoice::Cpu => false,
            DecoderChoice::Gpu => true,
            DecoderChoice::Auto => {
                self.failed_at.is_none_or(|at| now.saturating_duration_since(at) >= GPU_RETRY)
            }
        }
    }

    /// Returns whether the camera fails if no GPU decoder can decode its stream.
    pub(crate) fn needs_gpu(&self) -> bool {
        self.choice == DecoderChoice::Gpu
    }

    /// Records that the GPU decoder failed at `now`, and returns whether a CPU decoder replaces it.
    pub(crate) fn fail(&mut self, now: Instant) -> bool {
        let falls_back = self.choice == DecoderChoice::Auto;
        if falls_back {
            self.failed_at = Some(now);
        }
        falls_back
    }
}

/// The evidence by which a connection that has ended shows whether its GPU decoder failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// The error that the decoder posted.
    pub(crate) error: Option<String>,
    /// The flow error that the decoder returned for its last packet.
    pub(crate) flow: Option<FlowError>,
    /// Whether the connection was closed because no frame came, or its stream ended without a frame.
    pub(crate) is_silent: bool,
    /// Number of frames that the decoder output.
    pub(crate) frames: u64,
    /// Number of packets since the last frame.
    pub(crate) unanswered: u64,
}

impl Evidence {
    /// Returns why the GPU decoder failed, or None if it did not.
    pub(crate) fn failure(&self) -> Option<String> {
        if let Some(error) = &self.error {
            return Some(error.clone());
        }
        // nvcodec's decoders post no error if no session is free, the GPU is out of memory or it does not support the
        // resolution. They only return a flow error for the packet, which the pipeline's source reports.
        match self.flow {
            Some(FlowError::NotNegotiated) => {
                return Some("it could not negotiate the format of its frames".into());
            }
            Some(FlowError::Error | FlowError::NotSupported) => {
                return Some(
                    "it returned an error for a packet, for example because no session or GPU memory is free"
                        .into(),
                );
            }
            _ => {}
        }
        let max_delayed = if self.frames == 0 { 0 } else { MAX_DELAYED };
        (self.is_silent && self.unanswered > max_delayed)
            .then(|| format!("it returned no frame for {} packets", self.unanswered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(factories: &[(&str, &str)]) -> Vec<Offered> {
        let factory = |&(name, klass): &(&str, &str)| Offered { name: name.into(), klass: klass.into() };
        factories.iter().map(factory).collect()
    }

    fn names(offered: &[Offered], uses_gpu: bool) -> Vec<&str> {
        order(offered, uses_gpu).into_iter().map(|index| offered[index].name.as_str()).collect()
    }

    const HARDWARE: &str = "Codec/Decoder/Video/Hardware";
    const SOFTWARE: &str = "Codec/Decoder/Video";

    #[test]
    fn gpu_decoders_are_tried_after_parsers_and_before_other_decoders() {
        let h264 = offered(&[
            ("h264parse", "Codec/Parser/Converter/Video"),
            ("avdec_h264", SOFTWARE),
            ("nvh264dec", HARDWARE),
            ("vah264dec", HARDWARE),
            ("nvh264device1dec", HARDWARE),
            ("nvh264sldec", HARDWARE),
        ]);
        let gpu = ["h264parse", "nvh264dec", "nvh264device1dec", "nvh264sldec", "avdec_h264"];
        assert_eq!(names(&h264, true), gpu);
        assert_eq!(names(&h264, false), ["h264parse", "avdec_h264"]);
    }

    #[test]
    fn nvcodec_is_not_used_for_codecs_that_are_decoded_on_the_cpu() {
        let other = offered(&[
            ("nvvp8dec", HARDWARE),
            ("vp8dec", SOFTWARE),
            ("nvjpegdec", HARDWARE),
            ("jpegdec", "Codec/Decoder/Image"),
        ]);
        assert_eq!(names(&other, true), ["vp8dec", "jpegdec"]);
        assert!(!offered(&[("nvh264enc", "Codec/Encoder/Video/Hardware")])[0].is_gpu());
    }

    #[test]
    fn reports_what_is_missing_for_gpu_decoding() {
        let cpu = offered(&[("avdec_h264", SOFTWARE)]);
        assert!(missing(false, &cpu).unwrap().contains("not installed"));
        assert!(missing(true, &cpu).unwrap().contains("libnvcuvid"));
        assert_eq!(missing(true, &offered(&[("nvh265dec", HARDWARE)])), None);
    }

    #[test]
    fn a_camera_falls_back_to_the_cpu_for_ten_minutes() {
        let start = Instant::now();
        let mut policy = DecoderPolicy::new(DecoderChoice::Auto);
        assert!(policy.uses_gpu(start) && !policy.needs_gpu());
        assert!(policy.fail(start));
        assert!(!policy.uses_gpu(start + GPU_RETRY - Duration::from_millis(1)));
        assert!(policy.uses_gpu(start + GPU_RETRY));
        assert!(policy.fail(start + GPU_RETRY), "a second failure falls back again");
        assert!(!policy.uses_gpu(start + GPU_RETRY * 2 - Duration::from_millis(1)));
    }

    #[test]
    fn a_camera_with_a_configured_decoder_does_not_fall_back() {
        let now = Instant::now();
        let mut gpu = DecoderPolicy::new(DecoderChoice::Gpu);
        assert!(!gpu.fail(now) && gpu.uses_gpu(now) && gpu.needs_gpu());
        let cpu = DecoderPolicy::new(DecoderChoice::Cpu);
        assert!(!cpu.uses_gpu(now) && !cpu.needs_gpu());
    }

    #[test]
    fn errors_flow_errors_and_packets_without_frames_count_as_decoder_failures() {
        let works = Evidence { frames: 100, unanswered: 3, ..Evidence::default() };
        let failure = |evidence: Evidence| evidence.failure();
        assert_eq!(failure(works.clone()), None, "the camera closed the connection");
        assert_eq!(failure(Evidence { flow: Some(FlowError::Flushing), ..works.clone() }), None);
        assert_eq!(
            failure(Evidence { is_silent: true, ..works.clone() }),
            None,
            "the camera stopped sending"
        );
        let error = Some("no CUDA context".to_owned());
        assert_eq!(failure(Evidence { error: error.clone(), ..works }), error);
        for flow in [FlowError::Error, FlowError::NotNegotiated] {
            assert!(failure(Evidence { flow: Some(flow), ..works.clone() }).is_some(), "{flow:?}");
        }
        assert!(failure(Evidence { is_silent: true, unanswered: 17, ..works }).is_some());
        let first = Evidence { unanswered: 1, ..Evidence::default() };
        assert_eq!(failure(first.clone()), None, "the connection was closed for another reason");
        assert!(failure(Evidence { is_silent: true, ..first }).unwrap().contains("1 packets"));
    }
}
