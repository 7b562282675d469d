//! Cameras whose GPU decoder fails, tested with a fake element in place of nvcodec's.
//!
//! The element is registered in this process only, under a name like those of nvcodec's decoders.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "files/common.rs"]
#[expect(dead_code, reason = "the tests of files use the rest")]
mod common;

use std::{
    path::Path,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use lookout_schema::RetryReason;
use lookout_stage::SourceEnd;

const NAME: &str = "nvh264testdec";
const FRAMES: usize = 30;

/// The behavior of the decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Works,
    /// It cannot open the device.
    DoesNotStart,
    /// Returns an error, as nvcodec's decoders do without a free session.
    ReturnsError,
    PostsError,
    GivesNoFrame,
    /// Returns an error after this many frames.
    ReturnsErrorAfter(usize),
}

#[derive(Debug)]
struct Lab {
    mood: Mood,
    /// Number of decoders that were started or failed to start.
    started: usize,
    frames: usize,
    /// Whether the decoder was allowed to output GPU memory.
    had_gpu_memory: bool,
}

static LAB: Mutex<Lab> = Mutex::new(Lab { mood: Mood::Works, started: 0, frames: 0, had_gpu_memory: false });

fn lab() -> MutexGuard<'static, Lab> {
    LAB.lock().unwrap_or_else(PoisonError::into_inner)
}

mod imp {
    use gst::subclass::prelude::*;

    use super::*;

    #[derive(Debug)]
    pub(crate) struct TestDecoder {
        sink: gst::Pad,
        src: gst::Pad,
        size: AtomicUsize,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TestDecoder {
        const NAME: &'static str = "LookoutTestGpuDecoder";
        type Type = super::TestDecoder;
        type ParentType = gst::Element;

        fn with_class(class: &Self::Class) -> Self {
            let sink = gst::Pad::builder_from_template(&class.pad_template("sink").unwrap())
                .chain_function(|_, parent, buffer| {
                    let failed = || Err(gst::FlowError::Error);
                    Self::catch_panic_pad_function(parent, failed, |decoder| decoder.chain(&buffer))
                })
                .event_function(|pad, parent, event| {
                    Self::catch_panic_pad_function(parent, || false, |decoder| decoder.event(pad, event))
                })
                .build();
            let src = gst::Pad::from_template(&class.pad_template("src").unwrap());
            Self { sink, src, size: AtomicUsize::new(0) }
        }
    }

    impl ObjectImpl for TestDecoder {
        fn constructed(&self) {
            self.parent_constructed();
            self.obj().add_pad(&self.sink).unwrap();
            self.obj().add_pad(&self.src).unwrap();
        }
    }

    impl GstObjectImpl for TestDecoder {}

    impl ElementImpl for TestDecoder {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                let klass = "Codec/Decoder/Video/Hardware";
                gst::subclass::ElementMetadata::new("Test decoder", klass, "Decodes nothing", "Lookout")
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let template = |name, direction, caps: &str| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps.parse().unwrap())
                        .unwrap()
                };
                vec![
                    template(
                        "sink",
                        gst::PadDirection::Sink,
                        "video/x-h264, stream-format=byte-stream, alignment=au",
                    ),
                    template(
                        "src",
                        gst::PadDirection::Src,
                        "video/x-raw(memory:CUDAMemory), format=NV12; video/x-raw, format=NV12",
                    ),
                ]
            });
            &TEMPLATES
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            if transition == gst::StateChange::NullToReady {
                let mut lab = lab();
                lab.started += 1;
                if lab.mood == Mood::DoesNotStart {
                    return Err(gst::StateChangeError);
                }
            }
            self.parent_change_state(transition)
        }
    }

    impl TestDecoder {
        fn event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
            let gst::EventView::Caps(coded) = event.view() else {
                return gst::Pad::event_default(pad, Some(&*self.obj()), event);
            };
            let coded = coded.caps().structure(0).unwrap();
            let side = |name| coded.get::<i32>(name).unwrap();
            let (width, height) = (side("width"), side("height"));
            self.size.store((width * height * 3 / 2) as usize, SeqCst);
            // Like nvcodec's decoders, it chooses GPU memory if that is allowed.
            let allowed = self.src.allowed_caps().unwrap();
            let has_gpu_memory = allowed.to_string().contains("CUDAMemory");
            lab().had_gpu_memory |= has_gpu_memory;
            let mut caps = gst::Caps::builder("video/x-raw")
                .field("format", "NV12")
                .field("width", width)
                .field("height", height)
                .field("framerate", gst::Fraction::new(25, 1))
                .build();
            if has_gpu_memory {
                caps.make_mut().set_features(0, Some(gst::CapsFeatures::new(["memory:CUDAMemory"])));
            }
            self.src.push_event(gst::event::Caps::new(&caps))
        }

        fn chain(&self, packet: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let Lab { mood, frames, .. } = *lab();
            match mood {
                Mood::ReturnsError => return Err(gst::FlowError::Error),
                Mood::ReturnsErrorAfter(count) if frames >= count => return Err(gst::FlowError::Error),
                Mood::PostsError => {
                    gst::element_imp_error!(self, gst::StreamError::Decode, ("out of GPU memory"));
                    return Err(gst::FlowError::Error);
                }
                Mood::GivesNoFrame => return Ok(gst::FlowSuccess::Ok),
                Mood::Works | Mood::DoesNotStart | Mood::ReturnsErrorAfter(_) => {}
            }
            let mut frame = gst::Buffer::from_mut_slice(vec![128_u8; self.size.load(SeqCst)]);
            frame.get_mut().unwrap().set_pts(packet.pts());
            lab().frames += 1;
            self.src.push(frame)
        }
    }
}

glib::wrapper! {
    pub(crate) struct TestDecoder(ObjectSubclass<imp::TestDecoder>) @extends gst::Element, gst::Object;
}

/// The result of reading a file.
#[derive(Debug)]
struct Decoded {
    seen: common::Seen,
    lab: Lab,
    fallbacks: usize,
}

/// Reads a file that `encoder` writes, while the GPU decoder has the behavior `mood`.
fn decode(mood: Mood, encoder: &str, more: &str) -> Decoded {
    static REGISTER: Once = Once::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    lookout_ingest::init().unwrap();
    REGISTER.call_once(|| {
        // Below the rank of the CPU decoders, because the choice must not depend on it. On a machine with a
        // GPU, the rank is higher.
        let has_gpu = gst::ElementFactory::find("nvh264dec").is_some();
        let rank = if has_gpu { gst::Rank::PRIMARY + 100 } else { gst::Rank::MARGINAL };
        gst::Element::register(None, NAME, rank, TestDecoder::static_type()).unwrap();
    });
    *lab() = Lab { mood, started: 0, frames: 0, had_gpu_memory: false };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mkv");
    let image = common::image(FRAMES, 320, 240);
    common::write(&format!("{image} ! {encoder} ! matroskamux ! filesink location={}", path.display()));
    read(&path, more)
}

fn read(path: &Path, more: &str) -> Decoded {
    let fallbacks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fallbacks);
    let settings = common::settings(&path.display().to_string(), more);
    let adapt = |source: lookout_ingest::CameraSource| {
        source.with_gpu(None, move |camera| {
            assert_eq!(camera.as_str(), "cam");
            count.fetch_add(1, SeqCst);
        })
    };
    let seen = common::read_as(settings, adapt, |_| ());
    let Lab { mood, started, frames, had_gpu_memory } = *lab();
    Decoded { seen, lab: Lab { mood, started, frames, had_gpu_memory }, fallbacks: fallbacks.load(SeqCst) }
}

fn h264() -> String {
    common::h264(10, 0)
}

#[test]
fn a_gpu_decoder_is_used_and_outputs_frames_in_system_memory() {
    for choice in ["", "decoder = \"auto\""] {
        let decoded = decode(Mood::Works, &h264(), choice);
        decoded.seen.ended_after(FRAMES);
        let lab = &decoded.lab;
        assert_eq!((lab.started, lab.frames, decoded.fallbacks), (1, FRAMES, 0), "{choice}");
        assert!(!lab.had_gpu_memory);
    }
}

#[test]
fn a_camera_whose_gpu_decoder_fails_falls_back_to_the_cpu() {
    for mood in [Mood::ReturnsError, Mood::PostsError, Mood::GivesNoFrame, Mood::DoesNotStart] {
        let decoded = decode(mood, &h264(), "decoder = \"auto\"");
        decoded.seen.ended_after(FRAMES);
        assert_eq!((decoded.lab.started, decoded.lab.frames, decoded.fallbacks), (1, 0, 1), "{mood:?}");
    }
}

#[test]
fn a_camera_with_decoder_cpu_uses_no_gpu_decoder() {
    let decoded = decode(Mood::Works, &h264(), "decoder = \"cpu\"");
    decoded.seen.ended_after(FRAMES);
    assert_eq!((decoded.lab.started, decoded.fallbacks), (0, 0));
}

#[test]
fn a_camera_that_requires_the_gpu_fails_when_its_decoder_fails() {
    for (mood, what) in [
        (Mood::ReturnsError, "nvh264testdec failed: it returned an error"),
        (Mood::PostsError, "nvh264testdec failed: out of GPU memory"),
        (Mood::GivesNoFrame, "nvh264testdec failed: it returned no frame for 30 packets"),
        (Mood::DoesNotStart, "nvh264testdec cannot be started for video/x-h264"),
    ] {
        let decoded = decode(mood, &h264(), "decoder = \"gpu\"");
        assert_eq!((decoded.seen.frames, decoded.fallbacks), (0, 0), "{mood:?}");
        assert!(decoded.seen.detail().contains(what), "{mood:?}: {:?}", decoded.seen);
    }
}

#[test]
fn a_camera_that_requires_the_gpu_fails_if_no_gpu_decoder_accepts_its_video() {
    let decoded = decode(Mood::Works, "jpegenc", "decoder = \"gpu\"");
    assert!(matches!(decoded.seen.end, SourceEnd::Failed { reason: RetryReason::Undecodable, .. }));
    assert!(decoded.seen.detail().contains("no decoder of nvcodec accepts image/jpeg"), "{decoded:?}");
}

#[test]
fn a_file_is_not_reread_after_some_of_its_frames_were_published() {
    let decoded = decode(Mood::ReturnsErrorAfter(10), &h264(), "decoder = \"auto\"");
    assert_eq!((decoded.seen.frames, decoded.fallbacks), (10, 1), "{decoded:?}");
    assert!(decoded.seen.detail().contains("decoder = \"cpu\""), "{decoded:?}");
}
