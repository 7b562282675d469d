//! The topics' names.

use thiserror::Error;

/// The names of Lookout's topics under one prefix. The major version of the records stands in the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    pub frames: String,
    pub status: String,
    /// The registry of cameras, compacted.
    pub cameras: String,
    /// Who owns which partition of the registry, compacted; it has one partition, so that its offsets order all
    /// claims.
    pub claims: String,
}

/// Why a text cannot begin a topic's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no topic prefix: use 1 to 200 of the letters a-z, A-Z, 0-9, `.`, `_`, `-`")]
pub struct InvalidTopicPrefix(pub String);

impl Topics {
    pub fn new(prefix: &str) -> Result<Self, InvalidTopicPrefix> {
        let plain = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !plain || prefix.is_empty() || prefix.len() > 200 {
            return Err(InvalidTopicPrefix(prefix.chars().take(80).collect()));
        }
        let topic = |what: &str| format!("{prefix}.{what}.v1");
        Ok(Self {
            frames: topic("frames"),
            status: topic("status"),
            cameras: topic("cameras"),
            claims: topic("claims"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_checked() {
        assert_eq!(Topics::new("lookout").unwrap().frames, "lookout.frames.v1");
        for bad in ["", "a b", "ä", "a/b"] {
            assert!(Topics::new(bad).is_err(), "{bad:?}");
        }
    }
}
