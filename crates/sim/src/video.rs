//! Writes a simulated camera as a video file, with a file of ground truth that has one line of JSON per frame.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::{ClipSettings, Renderer, SimError, clip::Encoder};

/// Writes an MP4 file with H.264 to `video`, and its ground truth to `truth`.
///
/// # Errors
/// Returns an error if a file cannot be written, or if GStreamer lacks x264.
pub fn write_video(
    video: &Path,
    truth: &Path,
    settings: ClipSettings,
    mut progress: impl FnMut(u64),
) -> Result<(), SimError> {
    let ClipSettings { scene, camera, weather, size, fps, frames, kbit_s } = settings;
    let write_failed = |source: io::Error| SimError::Write { path: truth.to_owned(), source };
    // Checked before anything is rendered, because GStreamer's message for a file that cannot be written is less clear.
    File::create(video).map_err(|source| SimError::Write { path: video.to_owned(), source })?;
    let mut lines = BufWriter::new(File::create(truth).map_err(write_failed)?);
    let mut renderer = Renderer::new(scene, camera, size, weather).ok_or(SimError::Size(size))?;
    let location = video.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let encode = format!(
        "x264enc speed-preset=veryfast bitrate={kbit_s} key-int-max={} threads=1 ! h264parse \
         ! mp4mux faststart=true ! filesink location=\"{location}\"",
        fps * 2
    );
    let mut encoder = Encoder::start(&encode, size, fps)?;
    for n in 0..frames {
        let (rendered, of_frame) = renderer.frame(n, n as f64 / f64::from(fps));
        serde_json::to_writer(&mut lines, &of_frame).map_err(|error| write_failed(error.into()))?;
        lines.write_all(b"\n").map_err(write_failed)?;
        encoder.push(rendered, n)?;
        progress(n + 1);
    }
    encoder.finish()?;
    lines.flush().map_err(write_failed)
}
