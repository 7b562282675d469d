//! A clip of a camera's video, which is rendered and encoded once and can be served many times.

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gstreamer as gst;
use gstreamer_app as gst_app;
use lookout_schema::Size;

use crate::{FrameTruth, RenderedFrame, Renderer, Scene, SimError, Weather};

/// The content and encoding of a clip.
#[derive(Debug, Clone, Copy)]
pub struct ClipSettings {
    pub scene: Scene,
    pub camera: usize,
    pub weather: Weather,
    pub size: Size,
    pub fps: u32,
    pub frames: u64,
    pub kbit_s: u32,
}

/// H.264 (ITU-T H.264) in access units, with the ground truth of each.
#[derive(Debug)]
pub struct Clip {
    pub settings: ClipSettings,
    pub units: Vec<Unit>,
    pub truth: Vec<FrameTruth>,
}

/// One access unit; a key frame includes its parameter sets.
#[derive(Debug, Clone)]
pub struct Unit {
    pub data: gst::Buffer,
    pub is_key: bool,
}

impl ClipSettings {
    /// Returns the time of a frame, in seconds from the start of the clip.
    pub fn at_s(&self, frame: u64) -> f64 {
        frame as f64 / f64::from(self.fps)
    }
}

impl Clip {
    /// Renders and encodes a clip.
    ///
    /// # Errors
    /// Returns an error if the size cannot be rendered, or if GStreamer lacks x264.
    pub fn make(settings: ClipSettings) -> Result<Self, SimError> {
        let ClipSettings { scene, camera, weather, size, fps, frames, kbit_s } = settings;
        let mut renderer = Renderer::new(scene, camera, size, weather).ok_or(SimError::Size(size))?;
        let mut encoder = Encoder::start(
            &format!(
                "x264enc tune=zerolatency speed-preset=veryfast bitrate={kbit_s} key-int-max={fps} threads=1 \
             ! h264parse config-interval=-1 \
             ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false"
            ),
            size,
            fps,
        )?;
        let mut truth = Vec::new();
        let mut units = Vec::new();
        for n in 0..frames {
            let (rendered, of_frame) = renderer.frame(n, settings.at_s(n));
            truth.push(of_frame);
            encoder.push(rendered, n)?;
            units.extend(encoder.ready());
        }
        units.extend(encoder.finish()?);
        Ok(Self { settings, units, truth })
    }
}

/// A GStreamer pipeline that feeds frames to the elements in `description`; its appsink, if any, is called `out`.
pub(crate) struct Encoder {
    pipeline: gst::Pipeline,
    source: AppSrc,
    sink: Option<AppSink>,
    fps: u32,
}

fn failed(error: impl std::fmt::Display) -> SimError {
    SimError::Encode { reason: error.to_string() }
}

impl Encoder {
    pub(crate) fn start(description: &str, size: Size, fps: u32) -> Result<Self, SimError> {
        gst::init().map_err(failed)?;
        let all =
            format!("appsrc name=in format=time block=true max-buffers=4 ! videoconvert ! {description}");
        let pipeline = gst::parse::launch(&all).map_err(failed)?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| failed("not a pipeline"))?;
        let source = pipeline.by_name("in").and_then(|element| element.downcast::<AppSrc>().ok());
        let source = source.ok_or_else(|| failed("appsrc is missing"))?;
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "RGB")
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .field("framerate", gst::Fraction::new(fps as i32, 1))
            .build();
        source.set_caps(Some(&caps));
        let sink = pipeline.by_name("out").and_then(|element| element.downcast::<AppSink>().ok());
        pipeline.set_state(gst::State::Playing).map_err(failed)?;
        Ok(Self { pipeline, source, sink, fps })
    }

    /// Encodes the `n`th frame. GStreamer expects rows that are padded to 4 bytes, so the width has to be a multiple of
    /// 4.
    pub(crate) fn push(&mut self, rendered: RenderedFrame, n: u64) -> Result<(), SimError> {
        let frame = gst::ClockTime::SECOND / u64::from(self.fps);
        let mut buffer = gst::Buffer::from_mut_slice(rendered.rgb);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(frame * n);
            buffer.set_duration(frame);
        }
        match self.source.push_buffer(buffer) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.reason().unwrap_or_else(|| failed(error))),
        }
    }

    /// Returns the access units that were encoded since the last call.
    pub(crate) fn ready(&self) -> Vec<Unit> {
        let pull = || self.sink.as_ref()?.try_pull_sample(gst::ClockTime::ZERO);
        std::iter::from_fn(pull).filter_map(|sample| unit(&sample)).collect()
    }

    /// Encodes the remaining frames and returns their access units.
    pub(crate) fn finish(self) -> Result<Vec<Unit>, SimError> {
        self.source.end_of_stream().map_err(failed)?;
        let mut units = Vec::new();
        if let Some(sink) = &self.sink {
            while let Ok(sample) = sink.pull_sample() {
                units.extend(unit(&sample));
            }
        } else if let Some(bus) = self.pipeline.bus() {
            let ends = [gst::MessageType::Eos, gst::MessageType::Error];
            let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
            match end.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Eos(_)) => {}
                Some(gst::MessageView::Error(error)) => return Err(failed(error.error())),
                _ => return Err(failed("the encoder did not reach the end of the stream within 60 s")),
            }
        }
        match self.reason() {
            Some(error) => Err(error),
            None => Ok(units),
        }
    }

    /// Returns the error that ended the pipeline, if there is one.
    fn reason(&self) -> Option<SimError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(failed(error.error())),
            _ => None,
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn unit(sample: &gst::Sample) -> Option<Unit> {
    let data = sample.buffer_owned()?;
    let is_key = !data.flags().contains(gst::BufferFlags::DELTA_UNIT);
    Some(Unit { data, is_key })
}
