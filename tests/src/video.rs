//! Video files for tests: the clip, and small generated files.

use std::{
    env,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use gst::prelude::*;
use gstreamer as gst;
use lookout_schema::Size;

/// People walking, 768x576, [`CLIP_FRAMES`] frames: `vtest.avi` of Debian's `opencv-doc`.
pub fn clip() -> PathBuf {
    let usual = || "/usr/share/doc/opencv-doc/examples/data/vtest.avi".into();
    env::var_os("LOOKOUT_CLIP").map_or_else(usual, PathBuf::from)
}

/// Frames in [`clip`].
pub const CLIP_FRAMES: u64 = 795;

/// Writes an MP4 file: 320x240 H.264 at 25 frames/s, with sound. Its index (`moov`) comes before the frames
/// if `index_first`, else after them, where a recorder writes it at the end of the recording.
pub fn write_mp4(path: &Path, frames: u32, index_first: bool) -> anyhow::Result<()> {
    // 1024 samples at 44.1 kHz: there are 1.7 times as many audio buffers as frames.
    let sound = frames * 17 / 10;
    write(&format!(
        "videotestsrc num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=25/1 \
         ! x264enc speed-preset=ultrafast ! h264parse ! mp4mux faststart={index_first} name=mux \
         ! filesink location={} audiotestsrc num-buffers={sound} ! avenc_aac ! mux.",
        path.display()
    ))
}

/// Writes an MP4 file with sound and without video.
pub fn write_sound(path: &Path) -> anyhow::Result<()> {
    write(&format!(
        "audiotestsrc num-buffers=100 ! avenc_aac ! mp4mux ! filesink location={}",
        path.display()
    ))
}

/// Writes an AVI file of JPEGs at 25 frames/s. The quarters of each frame are red and green above blue and
/// white.
pub fn write_quarters(path: &Path, size: Size, frames: u32) -> anyhow::Result<()> {
    let (width, height) = (size.width / 2, size.height / 2);
    let quarters = [(0, 0, "ff0000"), (width, 0, "00ff00"), (0, height, "0000ff"), (width, height, "ffffff")];
    let mut description = String::from("compositor name=mix");
    for (i, (x, y, _)) in quarters.iter().enumerate() {
        let _ = write!(description, " sink_{i}::xpos={x} sink_{i}::ypos={y}");
    }
    let _ = write!(
        description,
        " ! videoconvert ! jpegenc quality=95 ! avimux ! filesink location={}",
        path.display()
    );
    for (i, (_, _, color)) in quarters.iter().enumerate() {
        let _ = write!(
            description,
            " videotestsrc pattern=solid-color foreground-color=0xff{color} num-buffers={frames} \
             ! video/x-raw,width={width},height={height},framerate=25/1 ! mix.sink_{i}"
        );
    }
    write(&description)
}

/// Writes 320x240 frames of a moving ball at 25 frames/s as an H.264 byte stream, as cameras send it: without
/// access unit delimiters, and with a key frame every `gop` frames, which starts with SPS and PPS.
pub fn write_h264(path: &Path, frames: u32, gop: u32) -> anyhow::Result<()> {
    write(&format!(
        "videotestsrc num-buffers={frames} pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 aud=false key-int-max={gop} \
         ! video/x-h264,stream-format=byte-stream ! filesink location={}",
        path.display()
    ))
}

/// Returns the NAL units of an H.264 byte stream, each with its start code.
pub fn nal_units(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<_> = (0..stream.len().saturating_sub(3))
        .filter(|at| stream[*at..].starts_with(&[0, 0, 1]))
        .map(|at| at - usize::from(at > 0 && stream[at - 1] == 0))
        .collect();
    starts.push(stream.len());
    starts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// Returns the type of an H.264 NAL unit: 1 is a slice that is predicted from other frames, 5 a slice of a
/// key frame.
pub fn nal_type(unit: &[u8]) -> u8 {
    let header = unit.iter().position(|byte| *byte == 1).map_or(0, |one| one + 1);
    unit.get(header).map_or(0, |header| header & 31)
}

/// Writes `frames` concatenated JPEGs, without timestamps.
pub fn write_mjpeg(path: &Path, frames: u32) -> anyhow::Result<()> {
    write(&format!(
        "videotestsrc num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=10/1 ! jpegenc \
         ! filesink location={}",
        path.display()
    ))
}

/// Writes an MPEG transport stream: 320x240 H.264 at 25 frames/s, with noise, so that each frame takes many
/// packets.
pub fn write_ts(path: &Path, frames: u32) -> anyhow::Result<()> {
    write(&format!(
        "videotestsrc num-buffers={frames} pattern=smpte ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc speed-preset=ultrafast threads=1 bitrate=1500 key-int-max=100 bframes=0 ! h264parse ! mpegtsmux \
         ! filesink location={}",
        path.display()
    ))
}

/// Runs a GStreamer pipeline that writes a file, until its end of stream.
pub fn write(description: &str) -> anyhow::Result<()> {
    gst::init()?;
    let pipeline = gst::parse::launch(description)?;
    let bus = pipeline.downcast_ref::<gst::Pipeline>().and_then(gst::Pipeline::bus).context("no bus")?;
    pipeline.set_state(gst::State::Playing)?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    pipeline.set_state(gst::State::Null)?;
    let end = end.context("the file was not written in time")?;
    ensure!(end.type_() == gst::MessageType::Eos, "{end:?}");
    Ok(())
}

/// Writes an animated GIF with noise in four colors, 200 ms per frame.
pub fn write_gif(path: &Path, width: u16, height: u16, frames: u32) -> anyhow::Result<()> {
    let palette = [255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255];
    let mut encoder = gif::Encoder::new(std::fs::File::create(path)?, width, height, &palette)?;
    let mut number = 1u32;
    for _ in 0..frames {
        let pixels: Vec<u8> = std::iter::repeat_with(|| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 30) as u8
        })
        .take(usize::from(width) * usize::from(height))
        .collect();
        let frame = gif::Frame { width, height, delay: 20, buffer: pixels.into(), ..Default::default() };
        encoder.write_frame(&frame)?;
    }
    Ok(())
}
