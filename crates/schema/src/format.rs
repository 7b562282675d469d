//! Encodings of records.

/// Encoding of the frame, status, snapshot, track and alert records. Camera and claim records are always
/// JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RecordFormat {
    /// `schemas/*.schema.json`
    #[default]
    Json,
    /// `schemas/lookout.proto`
    Protobuf,
}

impl RecordFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Json, Self::Protobuf];

    /// Returns the name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}
