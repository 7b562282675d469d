//! Snapshots, small images of frames, and the rate limit that decides when a camera's next one is due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::Pixels;

/// Limits how often a snapshot of a camera is taken. Times may come from any monotonic clock.
#[derive(Debug, Clone)]
pub struct SnapshotPace {
    every: Duration,
    /// When the last snapshot was due, in nanoseconds.
    last: Arc<AtomicU64>,
}

const NEVER: u64 = u64::MAX;

impl SnapshotPace {
    /// Creates a limit of at least `every` between two snapshots.
    pub fn new(every: Duration) -> Self {
        Self { every, last: Arc::new(AtomicU64::new(NEVER)) }
    }

    /// Returns the right to take a snapshot of a frame with time `at`, or `None` if none is due. If `at` is more than
    /// `every` before the last snapshot, the clock has jumped back and a snapshot is due.
    pub fn due(&self, at: Duration) -> Option<SnapshotPermit> {
        let at = u64::try_from(at.as_nanos()).unwrap_or(NEVER - 1);
        let last = self.last.load(Relaxed);
        if last != NEVER && u128::from(at.abs_diff(last)) < self.every.as_nanos() {
            return None;
        }
        self.last.store(at, Relaxed);
        Some(SnapshotPermit { last: Arc::clone(&self.last), at })
    }
}

/// The right to take one snapshot. If it is dropped unused, for example with its frame, the camera's next frame is due,
/// so a worker that drops most frames still publishes snapshots at the full rate.
#[derive(Debug)]
pub struct SnapshotPermit {
    last: Arc<AtomicU64>,
    at: u64,
}

impl Drop for SnapshotPermit {
    fn drop(&mut self) {
        // If a later snapshot has been due since, nothing has to be replaced.
        let _ = self.last.compare_exchange(self.at, NEVER, Relaxed, Relaxed);
    }
}

/// A small image of the whole source frame. It travels with the frame and is drawn in the meantime, so the frame does
/// not wait for it.
#[derive(Debug)]
pub struct Snapshot {
    image: PendingImage,
    leave: SnapshotPermit,
}

/// The sending side of a snapshot, to which its image is drawn.
#[derive(Debug)]
pub struct Canvas(Sender<Pixels>);

/// The receiving side of a snapshot: a small image that has been drawn or will be.
#[derive(Debug)]
pub struct PendingImage(Receiver<Pixels>);

impl Snapshot {
    /// Creates a snapshot to travel with its frame, and the canvas on which to draw it once the frame is on its way.
    pub fn blank(leave: SnapshotPermit) -> (Self, Canvas) {
        let (canvas, image) = bounded(1);
        (Self { image: PendingImage(image), leave }, Canvas(canvas))
    }

    /// Returns the image and marks the snapshot as taken, after inference on its frame.
    pub fn into_image(self) -> PendingImage {
        let Self { image, mut leave } = self;
        leave.at = NEVER;
        image
    }
}

impl Canvas {
    /// Sends the image of the snapshot to its [`PendingImage`].
    pub fn draw(self, pixels: Pixels) {
        // If the frame was dropped, nothing receives its image.
        let _ = self.0.try_send(pixels);
    }
}

impl PendingImage {
    /// Waits until the image is drawn. Returns `None` if drawing failed or took longer than `patience`.
    pub fn wait(&self, patience: Duration) -> Option<Pixels> {
        self.0.recv_timeout(patience).ok()
    }
}

#[cfg(test)]
mod tests {
    use lookout_schema::Size;
    use proptest::prelude::*;

    use super::*;

    fn pace() -> SnapshotPace {
        SnapshotPace::new(Duration::from_secs(1))
    }

    fn take(leave: SnapshotPermit) {
        Snapshot::blank(leave).0.into_image();
    }

    #[test]
    fn an_image_is_drawn_while_its_frame_is_processed() {
        let pixels = Pixels::new(Size { width: 1, height: 1 }, vec![7; 3]).unwrap();
        let (snapshot, canvas) = Snapshot::blank(pace().due(Duration::ZERO).unwrap());
        canvas.draw(pixels.clone());
        let drawn = snapshot.into_image().wait(Duration::ZERO).unwrap();
        assert_eq!(drawn.rgb(), pixels.rgb());
        let (snapshot, canvas) = Snapshot::blank(pace().due(Duration::ZERO).unwrap());
        drop(canvas);
        assert!(
            snapshot.into_image().wait(Duration::from_secs(60)).is_none(),
            "the canvas is dropped, so no image follows"
        );
        let (snapshot, canvas) = Snapshot::blank(pace().due(Duration::ZERO).unwrap());
        drop(snapshot);
        canvas.draw(pixels);
    }

    /// Returns the times of the frames with a snapshot, if all frames are processed.
    fn taken(pace: &SnapshotPace, times_ms: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let due = |ms: &u64| pace.due(Duration::from_millis(*ms)).map(take).is_some();
        times_ms.into_iter().filter(due).collect()
    }

    #[test]
    fn a_snapshot_is_due_at_the_first_frame_and_then_once_per_second() {
        assert_eq!(taken(&pace(), (0..100).map(|i| i * 40)), [0, 1000, 2000, 3000]);
        assert_eq!(taken(&pace(), [7, 999, 1006, 1007, 9000, 9999, 10_000]), [7, 1007, 9000, 10_000]);
    }

    #[test]
    fn snapshots_continue_when_the_time_restarts() {
        assert_eq!(taken(&pace(), [500_000, 499_900, 100, 200, 1100]), [500_000, 100, 1100]);
    }

    #[test]
    fn the_next_frame_is_due_after_one_was_dropped() {
        let pace = pace();
        drop(pace.due(Duration::ZERO).unwrap());
        let kept = pace.due(Duration::from_millis(40)).unwrap();
        assert!(pace.due(Duration::from_millis(80)).is_none(), "a snapshot is in progress");
        take(kept);
        assert!(pace.due(Duration::from_millis(1_000)).is_none());
        let early = pace.due(Duration::from_millis(1_040)).unwrap();
        let late = pace.due(Duration::from_millis(2_040)).unwrap();
        // A later snapshot exists, so dropping the earlier one must not make another due.
        drop(early);
        assert!(pace.due(Duration::from_millis(2_080)).is_none());
        take(late);
    }

    proptest! {
        #[test]
        fn snapshots_are_never_closer_than_the_minimum_interval(frames in prop::collection::vec((0u64..700, any::<bool>()), 0..200)) {
            let pace = pace();
            let (mut now, mut last) = (0, None);
            for (step, looked_at) in frames {
                now += step;
                let leave = pace.due(Duration::from_millis(now));
                prop_assert_eq!(leave.is_some(), last.is_none_or(|last| now - last >= 1000));
                if let Some(leave) = leave.filter(|_| looked_at) {
                    take(leave);
                    last = Some(now);
                }
            }
        }
    }
}
