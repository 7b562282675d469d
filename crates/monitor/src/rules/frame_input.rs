//! The input of the rules for one frame.

use lookout_schema::{CameraId, FrameRecord, FrameRef, Timestamp, TrackRecord};
use lookout_track::{SessionTracker, TrackId, TrackedFrame};

use super::alert_subject::AlertSubject;

/// A frame record with the tracks of its objects.
#[derive(Debug)]
pub(crate) struct FrameInput<'a> {
    pub(crate) frame: &'a FrameRecord,
    pub(crate) tracked: &'a TrackedFrame,
    pub(crate) session_tracker: &'a SessionTracker,
    /// The track records, ordered by id.
    objects: Vec<&'a TrackRecord>,
}

impl<'a> FrameInput<'a> {
    pub(crate) fn new(
        frame: &'a FrameRecord,
        tracked: &'a TrackedFrame,
        session_tracker: &'a SessionTracker,
    ) -> Self {
        Self { frame, tracked, session_tracker, objects: session_tracker.objects().collect() }
    }

    pub(crate) fn object(&self, id: TrackId) -> Option<&'a TrackRecord> {
        let at = self.objects.binary_search_by_key(&id.0, |track| track.id).ok()?;
        self.objects.get(at).copied()
    }

    /// Returns the object if it has one of `labels`, or if `labels` is empty.
    pub(crate) fn with_label(&self, id: TrackId, labels: &[String]) -> Option<&'a TrackRecord> {
        self.object(id).filter(|track| labels.is_empty() || labels.contains(&track.label))
    }

    pub(crate) fn camera(&self) -> &'a CameraId {
        &self.frame.camera
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.frame.captured_at
    }

    pub(crate) fn frame_ref(&self) -> FrameRef {
        FrameRef { epoch: self.frame.epoch, session: self.frame.session, seq: self.frame.seq }
    }

    pub(crate) fn subject(&self) -> AlertSubject<'a> {
        AlertSubject::Frame(&self.frame.camera, self.frame_ref())
    }

    /// Returns the number of objects in `zone`, or in the image without a zone, that have one of `labels`.
    pub(crate) fn count(&self, zone: Option<&str>, labels: &[String]) -> u64 {
        let counted = |id: TrackId| self.with_label(id, labels).is_some();
        let count = match zone {
            None => self.tracked.tracks.iter().filter(|track| counted(track.id)).count(),
            Some(zone) => {
                let inside = self.session_tracker.zones().filter(|(name, _)| *name == zone);
                inside.flat_map(|(_, visits)| visits).filter(|visit| counted(visit.id)).count()
            }
        };
        count as u64
    }

    /// Describes what [`Self::count`] counts, such as "person in zone door of gate".
    pub(crate) fn describe_counted(&self, zone: Option<&str>, labels: &[String]) -> String {
        let what = if labels.is_empty() { "objects".into() } else { labels.join(" or ") };
        let place = zone.map_or("the image".into(), |zone| format!("zone {zone}"));
        format!("{what} in {place} of {}", self.camera())
    }

    /// Returns an identifier of the frame that is unique within the camera.
    pub(crate) fn frame_id(&self) -> String {
        format!("{}/{}", self.frame.session, self.frame.seq)
    }
}
