//! Whether all needed records are being read, which the absence rules depend on.

use std::time::Instant;

use lookout_broker::{ReadProblem, RecordReader};
use lookout_schema::RecordKind;

/// The state of reading from Kafka.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Why the monitor does not read all records that it needs.
    trouble: Option<String>,
    /// Missing optional data, shown on the web page.
    notices: Vec<String>,
    /// Whether all needed topics were being read at the last check.
    is_sure: bool,
    /// Whether they ever were.
    has_started: bool,
}

/// Returns whether the monitor can work without records of this kind: the page then lacks images, or the
/// zones and lines of the registry.
fn is_optional(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::Snapshot | RecordKind::Camera)
}

impl Reading {
    /// Checks the state of a reader.
    pub(super) fn update(&mut self, reader: &RecordReader, now: Instant) {
        self.take(reader.troubles(now), reader.reads_all(|kind| !is_optional(kind), now));
    }

    fn take(&mut self, troubles: Vec<ReadProblem>, reads_all: bool) {
        self.is_sure = reads_all;
        self.has_started |= reads_all;
        let (optional, needed): (Vec<_>, Vec<_>) =
            troubles.into_iter().partition(|trouble| trouble.kind.is_some_and(is_optional));
        let reasons: Vec<String> = needed.into_iter().map(|trouble| trouble.reason).collect();
        self.trouble = match (reasons.is_empty(), self.has_started) {
            (false, _) => Some(format!("records cannot be read: {}", reasons.join("; "))),
            (true, false) => Some("reading from Kafka has not started yet".into()),
            (true, true) => None,
        };
        self.notices = optional.iter().map(notice).collect();
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Returns the messages for the web page.
    pub(super) fn shown(&self) -> Vec<String> {
        let trouble = self.trouble.iter().map(|reason| format!("This page is not up to date: {reason}"));
        trouble.chain(self.notices.iter().cloned()).collect()
    }

    /// Returns whether a missing record means that there is no such record.
    pub(super) fn is_sure(&self) -> bool {
        self.is_sure && self.trouble.is_none()
    }
}

fn notice(trouble: &ReadProblem) -> String {
    let lacks = match trouble.kind {
        Some(RecordKind::Snapshot) => "Images are",
        Some(RecordKind::Camera) => "Changes of the camera registry are",
        _ => "Some records are",
    };
    format!("{lacks} not available: {}", trouble.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_snapshots_are_a_notice_and_unreadable_frames_a_failure() {
        let trouble = |kind| ReadProblem { kind, reason: "refused".into() };
        let mut reading = Reading::default();
        assert!(!reading.is_sure());
        reading.take(vec![trouble(Some(RecordKind::Snapshot))], true);
        assert!(reading.is_sure() && reading.trouble().is_none());
        assert_eq!(reading.shown(), ["Images are not available: refused"]);
        for kind in [None, Some(RecordKind::Frame), Some(RecordKind::Status), Some(RecordKind::Alert)] {
            reading.take(vec![trouble(kind)], true);
            assert!(!reading.is_sure());
            assert_eq!(reading.shown(), ["This page is not up to date: records cannot be read: refused"]);
            assert_eq!(reading.trouble(), Some("records cannot be read: refused"));
        }
        reading.take(Vec::new(), true);
        assert!(reading.is_sure());
        // A partition without a leader for a moment is not reported yet.
        reading.take(Vec::new(), false);
        assert!(!reading.is_sure() && reading.trouble().is_none());
    }
}
