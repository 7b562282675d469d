//! The record of a message on one of the topics, with its offset.

use std::collections::BTreeMap;

use lookout_schema::{
    AlertRecord, FrameRecord, RecordKind, RegistryRecord, SnapshotRecord, StatusRecord, TrackRecord,
    shortened,
};

use crate::{WireRecord, decode, decode_registry_record};

/// A record of one of the topics.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadRecord {
    /// Result of a frame.
    Frame(Box<FrameRecord>),
    /// Status of a camera or a worker.
    Status(Box<StatusRecord>),
    /// A small image of a frame.
    Snapshot(Box<SnapshotRecord>),
    /// State of a track.
    Track(Box<TrackRecord>),
    /// An alert.
    Alert(Box<AlertRecord>),
    /// A record of the registry. Its camera is named by the key.
    Camera {
        /// Key of the message: the camera's id.
        key: String,
        /// Its content.
        record: RegistryRecord,
    },
    /// A message that is not a Lookout record, is an invalid record, or has a version that this program does not
    /// know.
    Unreadable {
        /// Name of the topic.
        topic: String,
        /// Partition of the message.
        partition: i32,
        /// Offset of the message.
        offset: i64,
        /// Why it is unreadable.
        reason: String,
    },
}

/// A record with its partition and offset.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordWithOffset {
    /// Kind of the topic.
    pub kind: RecordKind,
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
    /// Whether the partition's offsets restart with this record: the topic was deleted and recreated, or the brokers
    /// have lost records and reuse their offsets.
    pub offsets_restart: bool,
    /// The record.
    pub record: ReadRecord,
}

/// The offset of the next record to read, by kind and partition.
pub type Offsets = BTreeMap<(RecordKind, i32), i64>;

/// The topic ids of the brokers. A topic that is recreated under its old name gets a new id.
pub type TopicIds = BTreeMap<RecordKind, String>;

/// Decodes the message of a topic of kind `kind`.
///
/// # Errors
/// The reason why the message is not a valid record.
pub fn decode_message(key: &[u8], payload: Option<&[u8]>, kind: RecordKind) -> Result<ReadRecord, String> {
    let value = payload.unwrap_or_default();
    match kind {
        RecordKind::Camera => {
            let key = String::from_utf8_lossy(key).into_owned();
            let record = decode_registry_record(&key, payload);
            Ok(ReadRecord::Camera { key, record })
        }
        RecordKind::Frame => {
            let frame: Box<FrameRecord> = boxed(value)?;
            keyed(key, frame.camera.as_str())?;
            Ok(ReadRecord::Frame(frame))
        }
        RecordKind::Status => {
            let status: Box<StatusRecord> = boxed(value)?;
            let id = match &*status {
                StatusRecord::Camera(camera) => camera.camera.as_str(),
                StatusRecord::Worker(worker) => worker.worker.as_str(),
            };
            keyed(key, id)?;
            Ok(ReadRecord::Status(status))
        }
        RecordKind::Snapshot => {
            let snapshot: Box<SnapshotRecord> = boxed(value)?;
            keyed(key, snapshot.camera.as_str())?;
            Ok(ReadRecord::Snapshot(snapshot))
        }
        RecordKind::Track => {
            let track: Box<TrackRecord> = boxed(value)?;
            keyed(key, track.camera.as_str())?;
            Ok(ReadRecord::Track(track))
        }
        RecordKind::Alert => boxed(value).map(ReadRecord::Alert),
    }
}

/// Checks that a record's key is its own id: the key decides the partition and thereby the record's order.
fn keyed(key: &[u8], id: &str) -> Result<(), String> {
    if key == id.as_bytes() {
        return Ok(());
    }
    Err(format!("its key is `{}`, but its id is `{id}`", shortened(&String::from_utf8_lossy(key))))
}

fn boxed<T: WireRecord>(value: &[u8]) -> Result<Box<T>, String> {
    decode(value).map(Box::new).map_err(|error| error.to_string())
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
    fn ignores_unknown_fields_and_rejects_unknown_versions() {
        let known = STATUS.replace("SCHEMA", StatusRecord::SCHEMA);
        assert!(matches!(
            decode_message(b"gate", Some(known.as_bytes()), RecordKind::Status),
            Ok(ReadRecord::Status(_))
        ));
        let later = STATUS.replace("SCHEMA", "lookout.status/2");
        let reason = decode_message(b"gate", Some(later.as_bytes()), RecordKind::Status).unwrap_err();
        assert_eq!(reason, "its schema is `lookout.status/2`, supported is `lookout.status/1`");
    }

    #[test]
    fn rejects_invalid_records() {
        let status = STATUS.replace("SCHEMA", StatusRecord::SCHEMA);
        for (good, bad, reason) in [
            ("\"fps\":5.0", "\"fps\":-1", "`fps`"),
            ("\"fps\":5.0", "\"fps\":1e999", "number out of range"),
            ("\"camera\":\"gate\"", "\"camera\":\"<script>\"", "camera id"),
            ("\"reconnects\":0", "\"reconnects\":\"0\"", "invalid type"),
        ] {
            assert!(status.contains(good));
            let error =
                decode_message(b"gate", Some(status.replace(good, bad).as_bytes()), RecordKind::Status)
                    .unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn shortens_long_keys_and_texts_in_errors() {
        let key = "k".repeat(5_000);
        let status = STATUS.replace("SCHEMA", StatusRecord::SCHEMA);
        let reason = decode_message(key.as_bytes(), Some(status.as_bytes()), RecordKind::Status).unwrap_err();
        assert!(reason.contains("kkk... (4700 more characters)") && reason.len() < 500, "{reason}");
        let Ok(ReadRecord::Camera { record: RegistryRecord::Bad(why), .. }) =
            decode_message(key.as_bytes(), Some(b"{"), RecordKind::Camera)
        else {
            panic!("the record was not rejected")
        };
        assert!(why.len() < 500, "{why}");
    }

    #[test]
    fn rejects_a_record_under_another_cameras_key() {
        let status = STATUS.replace("SCHEMA", StatusRecord::SCHEMA);
        let error = decode_message(b"yard", Some(status.as_bytes()), RecordKind::Status).unwrap_err();
        assert_eq!(error, "its key is `yard`, but its id is `gate`");
    }

    proptest! {
        #[test]
        fn decodes_or_rejects_any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0usize..400) {
            for kind in RecordKind::ALL {
                let read = decode_message(&bytes, Some(&bytes), kind);
                let is_rejected = matches!(read, Err(_) | Ok(ReadRecord::Camera { record: RegistryRecord::Bad(_) | RegistryRecord::Removed, .. }));
                prop_assert!(is_rejected, "{read:?}");
            }
            // A record that was damaged in transit.
            let mut record = STATUS.replace("SCHEMA", StatusRecord::SCHEMA).into_bytes();
            let at = at.min(record.len());
            record.truncate(at);
            record.append(&mut bytes);
            let _ = decode_message(&record, Some(&record), RecordKind::Status);
        }
    }
}
