//! Whether the records are read, and so whether what does not come is not there.

use std::time::Instant;

use lookout_broker::{ReadTrouble, RecordReader};
use lookout_schema::RecordKind;

/// What is known of how reading goes.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Why the monitor does not read all that it needs.
    trouble: Option<String>,
    /// What is missing on the page, without which the monitor goes on.
    notices: Vec<String>,
    /// Whether all that the monitor needs was being read when it was last looked.
    is_sure: bool,
    /// Whether it ever was.
    begun: bool,
}

/// Whether the monitor can do without records of this kind: its page then lacks images, or the places of the registry.
fn is_optional(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::Snapshot | RecordKind::Camera)
}

impl Reading {
    /// Looks at a reader.
    pub(super) fn look(&mut self, reader: &RecordReader, now: Instant) {
        self.take(reader.troubles(now), reader.reads_all(|kind| !is_optional(kind), now));
    }

    fn take(&mut self, troubles: Vec<ReadTrouble>, reads_all: bool) {
        self.is_sure = reads_all;
        self.begun |= reads_all;
        let (optional, needed): (Vec<_>, Vec<_>) =
            troubles.into_iter().partition(|trouble| trouble.kind.is_some_and(is_optional));
        let reasons: Vec<String> = needed.into_iter().map(|trouble| trouble.reason).collect();
        self.trouble = match (reasons.is_empty(), self.begun) {
            (false, _) => Some(format!("records cannot be read: {}", reasons.join("; "))),
            (true, false) => Some("nothing has been read yet".into()),
            (true, true) => None,
        };
        self.notices = optional.iter().map(notice).collect();
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What the page says of it.
    pub(super) fn shown(&self) -> Vec<String> {
        let trouble = self.trouble.iter().map(|reason| format!("What you see is not up to date: {reason}"));
        trouble.chain(self.notices.iter().cloned()).collect()
    }

    /// Whether it is known that nothing comes because there is nothing.
    pub(super) fn is_sure(&self) -> bool {
        self.is_sure && self.trouble.is_none()
    }
}

fn notice(trouble: &ReadTrouble) -> String {
    let lacks = match trouble.kind {
        Some(RecordKind::Snapshot) => "no images",
        Some(RecordKind::Camera) => "no changes of the registry of cameras",
        _ => "not all records",
    };
    format!("There are {lacks}: {}", trouble.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_that_may_not_be_read_are_a_notice_and_frames_are_trouble() {
        let trouble = |kind| ReadTrouble { kind, reason: "refused".into() };
        let mut reading = Reading::default();
        assert!(!reading.is_sure());
        reading.take(vec![trouble(Some(RecordKind::Snapshot))], true);
        assert!(reading.is_sure() && reading.trouble().is_none());
        assert_eq!(reading.shown(), ["There are no images: refused"]);
        for kind in [None, Some(RecordKind::Frame), Some(RecordKind::Status), Some(RecordKind::Alert)] {
            reading.take(vec![trouble(kind)], true);
            assert!(!reading.is_sure());
            assert_eq!(reading.shown(), ["What you see is not up to date: records cannot be read: refused"]);
            assert_eq!(reading.trouble(), Some("records cannot be read: refused"));
        }
        reading.take(Vec::new(), true);
        assert!(reading.is_sure());
        // A partition that has just lost its leader is no trouble yet.
        reading.take(Vec::new(), false);
        assert!(!reading.is_sure() && reading.trouble().is_none());
    }
}
