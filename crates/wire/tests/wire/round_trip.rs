//! Property tests: valid records round-trip in both formats, and invalid bytes are rejected with an error.

use lookout_schema::{AlertRecord, FrameRecord, RecordFormat, SnapshotRecord, StatusRecord, TrackRecord};
use lookout_wire::{DecodeError, WireRecord, decode, encode, format_of};
use proptest::prelude::*;

use crate::valid;

fn round_trips<T: WireRecord + PartialEq + std::fmt::Debug>(record: &T) -> Result<(), TestCaseError> {
    prop_assert!(record.check().is_ok(), "{:?}", record.check());
    for format in RecordFormat::ALL {
        let bytes = encode(record, format).unwrap();
        prop_assert_eq!(format_of(&bytes), format);
        let read = decode::<T>(&bytes);
        prop_assert!(read.is_ok(), "{:?}", read);
        prop_assert_eq!(&read.unwrap(), record);
    }
    Ok(())
}

/// Checks that damaged bytes are rejected, or decoded as a record that both formats can encode.
fn damaged<T: WireRecord + Clone + PartialEq + std::fmt::Debug>(
    record: &T,
    damage: &Damage,
) -> Result<(), TestCaseError> {
    for format in RecordFormat::ALL {
        let mut bytes = encode(record, format).unwrap();
        damage.apply(&mut bytes);
        if let Ok(read) = decode::<T>(&bytes) {
            let again = decode::<T>(&encode(&read, RecordFormat::Protobuf).unwrap());
            prop_assert_eq!(again.unwrap(), read.clone());
            let json = decode::<T>(&encode(&read, RecordFormat::Json).unwrap());
            prop_assert!(json.is_ok(), "{:?}", json);
        }
    }
    Ok(())
}

#[derive(Debug, Clone)]
struct Damage {
    at: prop::sample::Index,
    bytes: Vec<u8>,
    cut: bool,
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..12), any::<bool>())
            .prop_map(|(at, bytes, cut)| Self { at, bytes, cut })
    }

    fn apply(&self, record: &mut Vec<u8>) {
        let at = self.at.index(record.len());
        if self.cut {
            record.truncate(at);
            record.extend(&self.bytes);
        } else {
            let end = record.len().min(at + self.bytes.len());
            record[at..end].copy_from_slice(&self.bytes[..end - at]);
        }
    }
}

proptest! {
    #[test]
    fn frames_round_trip(record in valid::frame()) {
        round_trips(&record)?;
    }

    #[test]
    fn status_records_round_trip(record in valid::status()) {
        round_trips(&record)?;
    }

    #[test]
    fn snapshots_round_trip(record in valid::snapshot()) {
        round_trips(&record)?;
    }

    #[test]
    fn tracks_round_trip(record in valid::track()) {
        round_trips(&record)?;
    }

    #[test]
    fn alerts_round_trip(record in valid::alert()) {
        round_trips(&record)?;
    }

    #[test]
    fn decodes_or_rejects_damaged_frames_and_status(
        frame in valid::frame(), status in valid::status(), damage in Damage::any()
    ) {
        damaged(&frame, &damage)?;
        damaged(&status, &damage)?;
    }

    #[test]
    fn decodes_or_rejects_damaged_records_of_consumers(
        snapshot in valid::snapshot(), track in valid::track(), alert in valid::alert(), damage in Damage::any()
    ) {
        damaged(&snapshot, &damage)?;
        damaged(&track, &damage)?;
        damaged(&alert, &damage)?;
    }

    #[test]
    fn rejects_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode::<FrameRecord>(&bytes).is_err());
        prop_assert!(decode::<StatusRecord>(&bytes).is_err());
        prop_assert!(decode::<SnapshotRecord>(&bytes).is_err());
        prop_assert!(decode::<TrackRecord>(&bytes).is_err());
        prop_assert!(decode::<AlertRecord>(&bytes).is_err());
    }
}

#[test]
fn rejects_invalid_records() {
    let frame = valid::usual_frame;
    let error = |record: &FrameRecord| {
        let bytes = encode(record, RecordFormat::Protobuf).unwrap();
        decode::<FrameRecord>(&bytes).unwrap_err()
    };
    let mut record = frame();
    record.detections[3].score = f32::NAN;
    assert!(matches!(error(&record), DecodeError::InvalidRecord(wrong) if wrong.field == "detections.score"));
    let mut record = frame();
    record.detections[3].bbox.x2 = f32::INFINITY;
    assert!(matches!(error(&record), DecodeError::InvalidRecord(wrong) if wrong.field == "detections.box"));
    let mut record = frame();
    record.schema = "lookout.frame/2".into();
    assert_eq!(error(&record).to_string(), "its schema is `lookout.frame/2`, supported is `lookout.frame/1`");
    // A record of another kind uses the same field numbers for other fields.
    let track = encode(&frame(), RecordFormat::Protobuf).unwrap();
    assert!(decode::<TrackRecord>(&track).is_err());
    assert!(matches!(decode::<FrameRecord>(b""), Err(DecodeError::Field(wrong)) if wrong.field == "camera"));
    let error = decode::<FrameRecord>(b"hello").unwrap_err().to_string();
    assert!(error.starts_with("it is neither JSON nor Protobuf: "), "{error}");
}

#[test]
fn ignores_fields_of_later_versions() {
    let record = valid::usual_frame();
    let mut bytes = encode(&record, RecordFormat::Protobuf).unwrap();
    // Field 2000, a string.
    bytes.extend([0x82, 0x7D, 3, b'n', b'e', b'w']);
    assert_eq!(decode::<FrameRecord>(&bytes).unwrap(), record);
    let mut json = serde_json::to_value(&record).unwrap();
    json["new"] = "new".into();
    assert_eq!(decode::<FrameRecord>(json.to_string().as_bytes()).unwrap(), record);
}
