//! Deduplication of the records of a camera or a worker.

use lookout_schema::RecordKind;
use lookout_wire::RecordWithOffset;
use serde::{Deserialize, Serialize};

/// The partition and offset of the last applied record of each kind. It is stored together with the results
/// of the records, so that a record that is read again after a restart is applied once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedOffsets {
    frame: Option<(i32, i64)>,
    status: Option<(i32, i64)>,
}

impl AppliedOffsets {
    /// Notes the record. Returns `false` if it was applied before.
    pub(crate) fn take(&mut self, placed: &RecordWithOffset) -> bool {
        let Some(last) = self.of(placed.kind) else { return true };
        let known =
            last.is_some_and(|(partition, offset)| partition == placed.partition && placed.offset <= offset);
        if !known {
            *last = Some((placed.partition, placed.offset));
        }
        !known
    }

    /// Forgets the offsets of a topic that was recreated, because they now belong to other records. Returns
    /// whether there were any.
    pub(crate) fn forget(&mut self, kind: RecordKind, partition: i32) -> bool {
        let of_it = |(known, _): &mut (i32, i64)| *known == partition;
        self.of(kind).is_some_and(|last| last.take_if(of_it).is_some())
    }

    fn of(&mut self, kind: RecordKind) -> Option<&mut Option<(i32, i64)>> {
        match kind {
            RecordKind::Frame => Some(&mut self.frame),
            RecordKind::Status => Some(&mut self.status),
            RecordKind::Snapshot | RecordKind::Track | RecordKind::Alert | RecordKind::Camera => None,
        }
    }
}
