//! What a message on one of the topics holds.

use lookout_schema::{FrameRecord, StatusRecord};

/// A record of one of the topics.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadRecord {
    Frame(Box<FrameRecord>),
    Status(Box<StatusRecord>),
    /// A message that is none of ours, or of a version that this program does not know.
    Unreadable {
        topic: String,
        partition: i32,
        offset: i64,
        reason: String,
    },
}

/// What a topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Frame,
    Status,
}

/// Reads a message's payload, or says why that cannot be done.
pub(crate) fn decode(payload: &[u8], kind: Kind) -> Result<ReadRecord, String> {
    let (record, found, known) = match kind {
        Kind::Frame => {
            let frame: Box<FrameRecord> = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
            let schema = frame.schema.clone();
            (ReadRecord::Frame(frame), schema, FrameRecord::SCHEMA)
        }
        Kind::Status => {
            let status: Box<StatusRecord> = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
            let schema = match &*status {
                StatusRecord::Camera(camera) => camera.schema.clone(),
                StatusRecord::Worker(worker) => worker.schema.clone(),
            };
            (ReadRecord::Status(status), schema, StatusRecord::SCHEMA)
        }
    };
    // Fields of another version may bear the same names and mean other things.
    if found == known { Ok(record) } else { Err(format!("its schema is `{found}`, known is `{known}`")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = r#"{"kind":"camera","schema":"SCHEMA","at":"2026-11-24T08:00:00Z","camera":"gate",
        "worker":"edge-1","epoch":1,"status":"running","reconnects":0,"fps":5.0,"new_field":{"x":[1]},
        "ledger":{"received":0,"processing":0,"published":0,"delivered":0,"in_flight":0,"spooled":0,
        "dropped":{},"expired":{}}}"#;

    #[test]
    fn fields_that_are_not_known_are_ignored_and_versions_that_are_not_known_are_told() {
        let known = STATUS.replace("SCHEMA", StatusRecord::SCHEMA);
        assert!(matches!(decode(known.as_bytes(), Kind::Status), Ok(ReadRecord::Status(_))));
        let later = STATUS.replace("SCHEMA", "lookout.status/2");
        let reason = decode(later.as_bytes(), Kind::Status).unwrap_err();
        assert_eq!(reason, "its schema is `lookout.status/2`, known is `lookout.status/1`");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_a_reason(mut bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0usize..400) {
            for kind in [Kind::Frame, Kind::Status] {
                prop_assert!(decode(&bytes, kind).is_err());
            }
            // A record that was damaged on its way.
            let mut record = STATUS.replace("SCHEMA", StatusRecord::SCHEMA).into_bytes();
            let at = at.min(record.len());
            record.truncate(at);
            record.append(&mut bytes);
            let _ = decode(&record, Kind::Status);
        }
    }
}
