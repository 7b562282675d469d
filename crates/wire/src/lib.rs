//! Encoding and decoding of records, as JSON or as the Protobuf messages of `schemas/lookout.proto`.
//!
//! A reader does not need to know the format. JSON starts with `{`. As a Protobuf tag, that byte would start a group,
//! which proto3 does not have.
#![warn(missing_docs)]

mod convert;
mod proto;
mod read_record;
mod registry_record;

use lookout_schema::{
    AlertRecord, FrameRecord, InvalidRecord, RecordFormat, SnapshotRecord, StatusRecord, TrackRecord,
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

pub use convert::BadField;
pub use read_record::{Offsets, ReadRecord, RecordWithOffset, TopicIds, decode_message};
pub use registry_record::decode_registry_record;

/// A record that can be encoded in both formats.
pub trait WireRecord: Serialize + DeserializeOwned + sealed::Sealed {
    /// The `schema` of the records that this program knows.
    const SCHEMA: &'static str;
    /// The Protobuf message type of the record.
    type Proto: Message + Default + for<'a> From<&'a Self> + TryInto<Self, Error = BadField>;

    /// Returns the `schema` field of this record.
    fn schema(&self) -> &str;

    /// Validates the record.
    ///
    /// # Errors
    /// Returns the first invalid field, with a value that writers must not write.
    fn check(&self) -> Result<(), InvalidRecord>;
}

/// The error of bytes that cannot be decoded as a valid record.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The bytes start as JSON, and are not a valid record in JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The bytes are not a valid Protobuf message of the record's type.
    #[error("it is neither JSON nor Protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A field of the Protobuf message is missing or invalid.
    #[error(transparent)]
    Field(#[from] BadField),
    /// The schema version is not supported: its fields may have the same names and other meanings.
    #[error("its schema is `{found}`, supported is `{known}`")]
    Version {
        /// The schema of the record, cut to 80 characters.
        found: String,
        /// The supported schema.
        known: &'static str,
    },
    /// The record holds values that no writer may write.
    #[error(transparent)]
    InvalidRecord(#[from] InvalidRecord),
}

/// Encodes a record.
///
/// # Errors
/// Fails if the record cannot be serialized as JSON.
pub fn encode<T: WireRecord>(record: &T, format: RecordFormat) -> Result<Vec<u8>, serde_json::Error> {
    match format {
        RecordFormat::Json => serde_json::to_vec(record),
        RecordFormat::Protobuf => Ok(T::Proto::from(record).encode_to_vec()),
    }
}

/// Decodes and validates a record in either format.
///
/// # Errors
/// Fails if the bytes cannot be decoded, have an unsupported schema, or contain an invalid record.
///
/// # Examples
/// ```
/// use lookout_schema::{AlertRecord, RecordFormat};
/// use lookout_wire::{decode, encode};
///
/// let json = r#"{
///     "schema": "lookout.alert/1", "id": "edge-1-down", "version": 1, "consumer": "monitor", "rule": "worker",
///     "state": "raised", "level": "critical", "at": "2026-11-24T08:00:00Z", "raised_at": "2026-11-24T08:00:30Z",
///     "published_at": "2026-11-24T08:00:30Z", "age_ms": 30000, "worker": "edge-1",
///     "message": "edge-1 publishes no status records", "evidence": {"kind": "worker_down", "for_s": 30.0}
/// }"#;
/// let alert: AlertRecord = decode(json.as_bytes())?;
/// let bytes = encode(&alert, RecordFormat::Protobuf)?;
/// assert_eq!(decode::<AlertRecord>(&bytes)?, alert);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode<T: WireRecord>(bytes: &[u8]) -> Result<T, DecodeError> {
    let record: T = match format_of(bytes) {
        RecordFormat::Json => serde_json::from_slice(bytes)?,
        RecordFormat::Protobuf => T::Proto::decode(bytes)?.try_into()?,
    };
    if record.schema() != T::SCHEMA {
        let found = record.schema().chars().take(80).collect();
        return Err(DecodeError::Version { found, known: T::SCHEMA });
    }
    record.check()?;
    Ok(record)
}

/// Returns the format of an encoded record, which its first byte determines.
pub fn format_of(bytes: &[u8]) -> RecordFormat {
    if bytes.first() == Some(&b'{') { RecordFormat::Json } else { RecordFormat::Protobuf }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! wire_record {
    ($record:ident, $this:ident => $schema:expr) => {
        impl sealed::Sealed for $record {}

        impl WireRecord for $record {
            const SCHEMA: &'static str = $record::SCHEMA;
            type Proto = proto::$record;

            fn schema(&self) -> &str {
                let $this = self;
                $schema
            }

            fn check(&self) -> Result<(), InvalidRecord> {
                self.check()
            }
        }
    };
}

wire_record!(FrameRecord, frame => &frame.schema);
wire_record!(SnapshotRecord, snapshot => &snapshot.schema);
wire_record!(TrackRecord, track => &track.schema);
wire_record!(AlertRecord, alert => &alert.schema);
wire_record!(StatusRecord, status => match status {
    StatusRecord::Camera(camera) => &camera.schema,
    StatusRecord::Worker(worker) => &worker.schema,
});
