//! Snapshots: small images of whole frames.
//!
//! They are drawn from the decoded frame, not from the network's input. The input may have black bars, lack the
//! frame's sides or distort it, and may be smaller than the requested snapshot.
//!
//! The camera's thread draws them after it has passed on the frame. A separate thread would have to hold decoded
//! frames, and a decoder has few buffers and stops when all are in use.

use std::time::Duration;

use gstreamer as gst;
use lookout_config::SnapshotSettings;
use lookout_schema::Size;
use lookout_stage::{Canvas, ResizeMode, Snapshot, SnapshotPace};

use crate::{orientation::Orientation, preprocessor::Preprocessor};

/// Draws a camera's snapshots when they are due.
#[derive(Debug)]
pub(crate) struct Snapshots {
    width: u32,
    pace: SnapshotPace,
    preprocessor: Option<Preprocessor>,
}

impl Snapshots {
    pub(crate) fn new(settings: SnapshotSettings) -> Self {
        Self { width: settings.width.get(), pace: SnapshotPace::new(settings.interval), preprocessor: None }
    }

    /// Returns an empty snapshot for a frame at time `at` and the canvas to draw it on, if a snapshot is due.
    pub(crate) fn due(&self, at: Duration) -> Option<(Snapshot, Canvas)> {
        self.pace.due(at).map(Snapshot::blank)
    }

    /// Draws the frame in `sample` on `canvas`.
    ///
    /// `source` is the frame's displayed size in pixels, after it is turned by `orientation`.
    pub(crate) fn draw(
        &mut self,
        canvas: Canvas,
        sample: &gst::Sample,
        orientation: Orientation,
        source: Size,
    ) {
        let size = within(source, self.width);
        let current = self.preprocessor.take().filter(|preprocessor| preprocessor.input() == size);
        let preprocessor =
            self.preprocessor.insert(current.unwrap_or_else(|| Preprocessor::new(size, ResizeMode::Stretch)));
        match preprocessor.fit(sample, orientation) {
            Ok(fitted) => canvas.draw(fitted.pixels),
            Err(error) => tracing::debug!(%error, "a snapshot could not be drawn"),
        }
    }
}

/// Returns the size of a snapshot with the shape of `source`.
///
/// It is no wider than `width` and the source, and no higher than [`MAX_SHAPE`] times `width`.
fn within(source: Size, width: u32) -> Size {
    let (source_width, source_height) = (u64::from(source.width), u64::from(source.height));
    let max_height = u64::from(width) * MAX_SHAPE;
    // Rounded to the nearest integer, and at least one pixel.
    let scaled = |side: u64, to: u64, from: u64| ((to * side * 2 / from).div_ceil(2)).max(1) as u32;
    let Size { width, height } = match source {
        Size { width: narrow, .. } if narrow <= width => source,
        _ => Size { width, height: scaled(source_height, u64::from(width), source_width) },
    };
    if u64::from(height) <= max_height {
        return Size { width, height };
    }
    Size { width: scaled(source_width, max_height, source_height), height: max_height as u32 }
}

/// The highest ratio of a snapshot's height to the configured width. The JPEG of an image of 320x65535 pixels would
/// take seconds.
const MAX_SHAPE: u64 = 16;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use gstreamer_video as video;

    use super::*;

    #[test]
    fn a_snapshot_has_the_aspect_ratio_of_its_source_and_is_never_larger() {
        let size = |(width, height)| Size { width, height };
        for (source, image) in [
            ((1920, 1080), (320, 180)),
            ((768, 576), (320, 240)),
            ((1080, 1920), (320, 569)),
            ((320, 240), (320, 240)),
            ((160, 4000), (160, 4000)),
            ((8192, 8), (320, 1)),
            ((1, 65_535), (1, 5_120)),
            ((640, 65_535), (50, 5_120)),
        ] {
            assert_eq!(within(size(source), 320), size(image), "{source:?}");
        }
    }

    /// Returns a frame with a red upper half and a blue lower half, whose right half also has green.
    fn sample(width: u32, height: u32) -> gst::Sample {
        crate::init().unwrap();
        let info = video::VideoInfo::builder(video::VideoFormat::Rgb, width, height).build().unwrap();
        let mut bytes = vec![0; info.size()];
        for (y, row) in (0..).zip(bytes.chunks_exact_mut(info.stride()[0] as usize)) {
            for (x, rgb) in (0..width).zip(row.chunks_exact_mut(3)) {
                let (above, right) = (y < height / 2, x >= width / 2);
                rgb.copy_from_slice(&[u8::from(above) * 255, u8::from(right) * 255, u8::from(!above) * 255]);
            }
        }
        let buffer = gst::Buffer::from_mut_slice(bytes);
        gst::Sample::builder().buffer(&buffer).caps(&info.to_caps().unwrap()).build()
    }

    #[test]
    fn snapshots_show_the_whole_frame_when_the_frame_size_changes() {
        let width = NonZeroU32::new(64).unwrap();
        let interval = Duration::from_secs(1);
        let mut snapshots = Snapshots::new(SnapshotSettings { interval, width, quality: 70 });
        for (second, (width, height)) in (0..).zip([(640, 360), (360, 640), (40, 40), (40, 40)]) {
            let source = Size { width, height };
            let at = Duration::from_secs(second);
            let (snapshot, canvas) = snapshots.due(at).unwrap();
            snapshots.draw(canvas, &sample(width, height), Orientation::default(), source);
            let image = snapshot.into_image().wait(Duration::ZERO).unwrap();
            assert!(snapshots.due(at + interval / 2).is_none());
            let Size { width, height } = image.size();
            assert_eq!(image.size(), within(source, 64));
            let color = |x: u32, y: u32| &image.rgb()[(y * width + x) as usize * 3..][..3];
            assert_eq!(color(0, 0), [255, 0, 0]);
            assert_eq!(color(width - 1, 0), [255, 255, 0]);
            assert_eq!(color(0, height - 1), [0, 0, 255]);
            assert_eq!(color(width - 1, height - 1), [0, 255, 255]);
        }
    }
}
