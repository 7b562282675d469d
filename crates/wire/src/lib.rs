//! Records to bytes and back: JSON, and the Protobuf of `schemas/lookout.proto`.
//!
//! A reader needs not be told which it has: JSON begins with `{`, and Protobuf with a field's key, of which none is
//! that byte; it would begin a group, which proto3 does not have.

mod convert;
mod proto;

use lookout_schema::{
    AlertRecord, FrameRecord, RecordFormat, SnapshotRecord, StatusRecord, TrackRecord, Unsound,
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

pub use convert::BadField;

/// A record that is written in either format.
pub trait WireRecord: Serialize + DeserializeOwned + sealed::Sealed {
    /// What `schema` says of a record that this program knows.
    const SCHEMA: &'static str;
    /// The record in Protobuf.
    type Proto: Message + Default + for<'a> From<&'a Self> + TryInto<Self, Error = BadField>;

    /// What it says of itself.
    fn schema(&self) -> &str;

    /// # Errors
    /// What its writer may not write.
    fn check(&self) -> Result<(), Unsound>;
}

/// Why bytes are no record.
#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("it is neither JSON nor Protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error(transparent)]
    Field(#[from] BadField),
    /// Fields of another version may bear the same names and mean other things.
    #[error("its schema is `{found}`, known is `{known}`")]
    Version { found: String, known: &'static str },
    #[error(transparent)]
    Unsound(#[from] Unsound),
}

/// The record as bytes.
///
/// # Errors
/// It cannot be written as JSON.
pub fn encode<T: WireRecord>(record: &T, format: RecordFormat) -> Result<Vec<u8>, serde_json::Error> {
    match format {
        RecordFormat::Json => serde_json::to_vec(record),
        RecordFormat::Protobuf => Ok(T::Proto::from(record).encode_to_vec()),
    }
}

/// The record in `bytes`, of either format, which holds nothing that its writer may not write.
///
/// # Errors
/// Why there is none.
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

/// The format of a record's bytes, by the first of them.
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

            fn check(&self) -> Result<(), Unsound> {
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
