//! Which records a camera or a worker has taken already.

use lookout_broker::Placed;
use lookout_schema::RecordKind;
use serde::{Deserialize, Serialize};

/// The last record taken of each kind: partition and offset. It is kept together with what was made of the records,
/// so a record that is read again after a restart is taken once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    frame: Option<(i32, i64)>,
    status: Option<(i32, i64)>,
}

impl Heard {
    /// Notes the record; false where it was taken before.
    pub(crate) fn take(&mut self, placed: &Placed) -> bool {
        let Some(last) = self.of(placed.kind) else { return true };
        let known =
            last.is_some_and(|(partition, offset)| partition == placed.partition && placed.offset <= offset);
        if !known {
            *last = Some((placed.partition, placed.offset));
        }
        !known
    }

    /// The topic begins anew, with offsets that mean other records. Gives whether some were known.
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
