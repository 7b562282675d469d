//! Runs a file as a camera, with the test in place of the worker, and writes files with GStreamer.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    thread,
    time::Duration,
};

use crossbeam_channel::bounded;
use gst::prelude::*;
use gstreamer as gst;
use lookout_config::CameraSettings;
use lookout_ingest::{CameraSource, Wanted};
use lookout_schema::Size;
use lookout_stage::{
    CameraLedger, FrameSkip, FrameSource, Permits, ResizeMode, SourceEnd, SourceOutlet, TryRecv, WhenFull,
    camera_queue, stop_signal,
};

/// The result of reading a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) end: SourceEnd,
    pub(crate) frames: usize,
    pub(crate) size: Option<Size>,
    /// Time from the first frame to the last.
    pub(crate) span_ms: i64,
}

impl Seen {
    pub(crate) fn detail(&self) -> &str {
        match &self.end {
            SourceEnd::Failed { detail, .. } => detail,
            _ => panic!("{self:?}"),
        }
    }

    /// Asserts that the file ended after `frames` frames.
    #[track_caller]
    pub(crate) fn ended_after(&self, frames: usize) {
        assert_eq!((&self.end, self.frames), (&SourceEnd::Ended, frames), "{self:?}");
    }
}

pub(crate) fn settings(uri: &str, more: &str) -> CameraSettings {
    let text = format!(
        "name = \"test\"\n[model]\narch = \"resnet50\"\nweights = \"random:0\"\n[kafka]\nbrokers = \"embedded\"\n\
         [[camera]]\nid = \"cam\"\nuri = {uri:?}\n{more}\n"
    );
    let pipeline = lookout_config::parse(Path::new("/test.toml"), &text, &|_| None).unwrap();
    pipeline.cameras.into_iter().next().unwrap()
}

/// Reads the file at `path` to its end.
pub(crate) fn read(path: &Path) -> Seen {
    read_with(settings(&path.display().to_string(), ""), |_| ())
}

/// Reads a file to its end, and calls `each` with the number of frames so far.
pub(crate) fn read_with(settings: CameraSettings, each: impl FnMut(usize)) -> Seen {
    read_as(settings, |source| source, each)
}

/// Reads a file to its end from the source that `adapt` returns.
pub(crate) fn read_as(
    settings: CameraSettings,
    adapt: impl FnOnce(CameraSource) -> CameraSource,
    mut each: impl FnMut(usize),
) -> Seen {
    let (wake_sender, wake) = bounded(1);
    let (intake, queue) = camera_queue(settings.queue, WhenFull::Block, wake_sender);
    let (_running, stop) = stop_signal();
    let (reports, report_receiver) = bounded(4096);
    let outlet = SourceOutlet {
        intake,
        ledger: CameraLedger::new(settings.id.clone()),
        permits: NonZeroUsize::new(64).map(Permits::new),
        reports,
        frame_skip: FrameSkip::default(),
        stop,
    };
    let wanted = Wanted {
        input: Size { width: 320, height: 192 },
        fit: ResizeMode::Letterbox,
        every: NonZeroU32::MIN,
        snapshots: None,
    };
    let mut source = adapt(CameraSource::new(settings, wanted));
    let camera = thread::spawn(move || source.run(&outlet));
    let (mut frames, mut size, mut times) = (0, None, Vec::new());
    loop {
        match queue.try_recv() {
            TryRecv::Frame(frame) => {
                frames += 1;
                size = Some(frame.header.source);
                times.push(frame.header.captured_at);
                let mut ticket = frame.ticket;
                ticket.published(1);
                ticket.sent();
                ticket.delivered();
                each(frames);
            }
            TryRecv::Ended => break,
            // The queue ends with its camera, which wakes this thread first.
            TryRecv::Empty => drop(wake.recv_timeout(Duration::from_secs(1))),
        }
    }
    drop(report_receiver);
    let span_ms = times.iter().max().zip(times.first()).map_or(0, |(last, first)| last.ms_since(*first));
    Seen { end: camera.join().unwrap(), frames, size, span_ms }
}

/// Runs a GStreamer pipeline until its end of stream.
pub(crate) fn write(description: &str) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(description).unwrap().downcast::<gst::Pipeline>().unwrap();
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let end = bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).unwrap();
    let end = end.unwrap();
    assert_eq!(end.type_(), gst::MessageType::Eos, "{description}: {end:?}");
}

/// Returns a pipeline that generates `frames` raw frames at 25 frames/s.
pub(crate) fn image(frames: usize, width: u32, height: u32) -> String {
    format!(
        "videotestsrc num-buffers={frames} ! video/x-raw,format=I420,width={width},height={height},framerate=25/1"
    )
}

/// Returns an H.264 encoder with a key frame every `gop` frames.
pub(crate) fn h264(gop: u32, b_frames: u32) -> String {
    format!(
        "x264enc speed-preset=ultrafast key-int-max={gop} bframes={b_frames} b-adapt=false option-string=scenecut=0 ! h264parse"
    )
}
