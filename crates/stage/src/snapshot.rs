//! Small pictures that go beside their frames, and when a camera's next one is due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::Pixels;

/// Says of which frames of a camera a snapshot is due. Times are those of any clock that grows.
#[derive(Debug, Clone)]
pub struct SnapshotPace {
    every: Duration,
    /// When the last one was due, in nanoseconds.
    last: Arc<AtomicU64>,
}

const NEVER: u64 = u64::MAX;

impl SnapshotPace {
    /// A pace that leaves `every` between two snapshots at least.
    pub fn new(every: Duration) -> Self {
        Self { every, last: Arc::new(AtomicU64::new(NEVER)) }
    }

    /// Leave to take the snapshot of a frame of the time `at`, where one is due. A time so far back that it
    /// is no jitter begins anew.
    pub fn due(&self, at: Duration) -> Option<SnapshotLeave> {
        let at = u64::try_from(at.as_nanos()).unwrap_or(NEVER - 1);
        let last = self.last.load(Relaxed);
        if last != NEVER && u128::from(at.abs_diff(last)) < self.every.as_nanos() {
            return None;
        }
        self.last.store(at, Relaxed);
        Some(SnapshotLeave { last: Arc::clone(&self.last), at })
    }
}

/// Leave to take one snapshot. Where it is lost on the way, as its frame was dropped, the camera's next frame
/// is due: so a worker that drops most frames has as many snapshots as any other.
#[derive(Debug)]
pub struct SnapshotLeave {
    last: Arc<AtomicU64>,
    at: u64,
}

impl Drop for SnapshotLeave {
    fn drop(&mut self) {
        // Where a later one is due already, there is nothing to make up for.
        let _ = self.last.compare_exchange(self.at, NEVER, Relaxed, Relaxed);
    }
}

/// The whole of a source frame as a small picture, which goes with the frame and is drawn meanwhile: so the
/// frame does not wait for it.
#[derive(Debug)]
pub struct Snapshot {
    picture: Picture,
    leave: SnapshotLeave,
}

/// Where a snapshot is drawn.
#[derive(Debug)]
pub struct Canvas(Sender<Pixels>);

/// A small picture that is drawn by now, or will be.
#[derive(Debug)]
pub struct Picture(Receiver<Pixels>);

impl Snapshot {
    /// A snapshot to go with its frame, and where to draw it once the frame is on its way.
    pub fn blank(leave: SnapshotLeave) -> (Self, Canvas) {
        let (canvas, picture) = bounded(1);
        (Self { picture: Picture(picture), leave }, Canvas(canvas))
    }

    /// Its picture, now that the frame was looked at.
    pub fn into_picture(self) -> Picture {
        let Self { picture, mut leave } = self;
        leave.at = NEVER;
        picture
    }
}

impl Canvas {
    pub fn draw(self, pixels: Pixels) {
        // Nobody waits for the picture of a frame that was dropped.
        let _ = self.0.try_send(pixels);
    }
}

impl Picture {
    /// Waits until it is drawn; none where that failed, or took longer than `patience`.
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

    fn take(leave: SnapshotLeave) {
        Snapshot::blank(leave).0.into_picture();
    }

    #[test]
    fn a_picture_is_drawn_while_its_frame_is_on_its_way() {
        let pixels = Pixels::new(Size { width: 1, height: 1 }, vec![7; 3]).unwrap();
        let (snapshot, canvas) = Snapshot::blank(pace().due(Duration::ZERO).unwrap());
        canvas.draw(pixels.clone());
        let drawn = snapshot.into_picture().wait(Duration::ZERO).unwrap();
        assert_eq!(drawn.rgb(), pixels.rgb());
        let (snapshot, canvas) = Snapshot::blank(pace().due(Duration::ZERO).unwrap());
        drop(canvas);
        assert!(snapshot.into_picture().wait(Duration::from_secs(60)).is_none(), "nobody draws it any more");
        let (snapshot, canvas) = Snapshot::blank(pace().due(Duration::ZERO).unwrap());
        drop(snapshot);
        canvas.draw(pixels);
    }

    /// Of frames at these times, all looked at, those with a snapshot.
    fn taken(pace: &SnapshotPace, times_ms: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let due = |ms: &u64| pace.due(Duration::from_millis(*ms)).map(take).is_some();
        times_ms.into_iter().filter(due).collect()
    }

    #[test]
    fn the_first_frame_is_due_and_then_one_a_second() {
        assert_eq!(taken(&pace(), (0..100).map(|i| i * 40)), [0, 1000, 2000, 3000]);
        assert_eq!(taken(&pace(), [7, 999, 1006, 1007, 9000, 9999, 10_000]), [7, 1007, 9000, 10_000]);
    }

    #[test]
    fn a_time_that_begins_anew_does_not_stop_them() {
        assert_eq!(taken(&pace(), [500_000, 499_900, 100, 200, 1100]), [500_000, 100, 1100]);
    }

    #[test]
    fn where_a_frame_is_dropped_the_next_is_due() {
        let pace = pace();
        drop(pace.due(Duration::ZERO).unwrap());
        let kept = pace.due(Duration::from_millis(40)).unwrap();
        assert!(pace.due(Duration::from_millis(80)).is_none(), "one is on its way");
        take(kept);
        assert!(pace.due(Duration::from_millis(1_000)).is_none());
        let early = pace.due(Duration::from_millis(1_040)).unwrap();
        let late = pace.due(Duration::from_millis(2_040)).unwrap();
        // There is a later one, which must not have a second beside it.
        drop(early);
        assert!(pace.due(Duration::from_millis(2_080)).is_none());
        take(late);
    }

    proptest! {
        #[test]
        fn two_are_never_nearer_than_they_may_be(frames in prop::collection::vec((0u64..700, any::<bool>()), 0..200)) {
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
