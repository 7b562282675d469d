//! Snapshots: a separate thread encodes the images from the recorder as JPEG and publishes them to the sink.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, bounded};
use jpeg_encoder::{ColorType, Encoder};
use lookout_config::SnapshotSettings;
use lookout_schema::{FrameRecord, SnapshotRecord};
use lookout_stage::{DropOldestSender, PendingImage, Pixels, RecordSink};
use tokio::{sync::oneshot, time::timeout};

use crate::metrics::{Metrics, SnapshotLoss};

/// A snapshot's image, and the record of its frame.
struct Shot {
    frame: FrameRecord,
    image: PendingImage,
}

/// The recorder's side. It never waits, so a slow encoder only loses snapshots.
pub(crate) struct Snapshots {
    shots: DropOldestSender<Shot>,
    metrics: Arc<Metrics>,
    /// Closed when the thread has ended.
    ended: oneshot::Receiver<()>,
}

/// Maximum memory of waiting images, if they were as high as they are wide.
const WAITING_BYTES: u64 = 32 * 1024 * 1024;

/// How long to wait for an image to be drawn. Drawing starts when its frame enters the queue, so an image that is
/// missing after this time will not be drawn.
const DRAWN_WITHIN: Duration = Duration::from_secs(1);

/// How long a stopping worker waits for the last snapshots.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

fn capacity(width: u64) -> usize {
    (WAITING_BYTES / (width * width * 3)).clamp(4, 256) as usize
}

impl Snapshots {
    /// Starts the thread.
    pub(crate) fn start(
        settings: SnapshotSettings,
        sink: Arc<dyn RecordSink>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (shots, waiting) = bounded(capacity(settings.width.get().into()));
        let shots = DropOldestSender::new(shots, &waiting);
        let (end, ended) = oneshot::channel();
        let counted = Arc::clone(&metrics);
        thread::Builder::new().name("snapshots".into()).spawn(move || {
            run(&waiting, settings.quality, sink.as_ref(), &counted);
            drop(end);
        })?;
        Ok(Self { shots, metrics, ended })
    }

    /// Enqueues the snapshot of a frame whose record is published.
    pub(crate) fn offer(&self, frame: FrameRecord, image: PendingImage) {
        let lost = |_| self.metrics.snapshot_lost(SnapshotLoss::QueueFull);
        self.shots.send(Shot { frame, image }, lost);
    }

    /// Waits briefly until the last snapshots are at the sink.
    pub(crate) async fn finish(self) {
        let Self { shots, ended, .. } = self;
        drop(shots);
        // The channel is closed, never sent to.
        if timeout(FINISH_WITHIN, ended).await.is_err() {
            tracing::warn!("the last snapshots were not sent in time, they are dropped");
        }
    }
}

fn run(shots: &Receiver<Shot>, quality: u8, sink: &dyn RecordSink, metrics: &Metrics) {
    for shot in shots {
        let camera = shot.frame.camera.clone();
        match catch_unwind(AssertUnwindSafe(|| record(shot, quality))) {
            Ok(Some(snapshot)) => {
                metrics.snapshot_published();
                sink.snapshot(&snapshot);
            }
            Ok(None) => {
                tracing::debug!(%camera, "a snapshot could not be drawn or encoded");
                metrics.snapshot_lost(SnapshotLoss::Encode);
            }
            Err(_) => {
                metrics.snapshot_lost(SnapshotLoss::Encode);
                metrics.stage_restarted();
                tracing::error!(%camera, "creating a snapshot panicked");
            }
        }
    }
}

fn record(Shot { frame, image }: Shot, quality: u8) -> Option<SnapshotRecord> {
    let pixels = image.wait(DRAWN_WITHIN)?;
    let jpeg = jpeg(&pixels, quality)?;
    Some(SnapshotRecord {
        schema: SnapshotRecord::SCHEMA.into(),
        camera: frame.camera,
        worker: frame.worker,
        epoch: frame.epoch,
        session: frame.session,
        seq: frame.seq,
        captured_at: frame.captured_at,
        clock: frame.clock,
        source: frame.source,
        image: pixels.size(),
        jpeg,
        detections: frame.detections,
    })
}

/// Returns a JPEG of `quality`, or of a lower quality if it would exceed the maximum size of a record.
fn jpeg(pixels: &Pixels, mut quality: u8) -> Option<Vec<u8>> {
    let size = pixels.size();
    let (width, height) = (size.width.try_into().ok()?, size.height.try_into().ok()?);
    while quality > 0 {
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, quality).encode(pixels.rgb(), width, height, ColorType::Rgb).ok()?;
        if jpeg.len() <= SnapshotRecord::MAX_JPEG {
            return Some(jpeg);
        }
        quality = quality * 2 / 3;
    }
    None
}

#[cfg(test)]
mod tests {
    use lookout_schema::Size;

    use super::*;

    #[test]
    fn the_memory_of_waiting_snapshots_is_bounded() {
        assert_eq!([64, 320, 1280, 1920].map(capacity), [256, 109, 6, 4]);
    }

    #[test]
    fn a_snapshot_that_would_be_too_large_is_encoded_at_lower_quality() {
        let size = Size { width: 1920, height: 1080 };
        // Noise, which no encoder can compress well.
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let rgb: Vec<u8> = (0..size.width * size.height * 3).map(|_| noise()).collect();
        let large = jpeg(&Pixels::new(size, rgb).unwrap(), 100).unwrap();
        assert!(large.len() <= SnapshotRecord::MAX_JPEG && large.len() > 50_000, "{}", large.len());
        assert_eq!(large[..2], [0xff, 0xd8]);
    }
}
