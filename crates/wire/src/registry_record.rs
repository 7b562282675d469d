//! Decoding of a message on the registry's topic.

use lookout_schema::{CameraId, CameraSpec};

use crate::record::shortened;

/// A record of the registry.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistryRecord {
    Camera(Box<CameraSpec>),
    Removed,
    /// The record cannot be used, with the reason.
    Bad(String),
}

impl RegistryRecord {
    /// Decodes a message.
    pub(crate) fn read(key: &str, payload: Option<&[u8]>) -> Self {
        match Self::parse(key, payload) {
            // The key and value in the reason may have any length.
            Self::Bad(why) => Self::Bad(shortened(&why)),
            record => record,
        }
    }

    fn parse(key: &str, payload: Option<&[u8]>) -> Self {
        let Some(payload) = payload.filter(|payload| !payload.is_empty()) else { return Self::Removed };
        if let Err(error) = key.parse::<CameraId>() {
            return Self::Bad(error.to_string());
        }
        match serde_json::from_slice::<CameraSpec>(payload) {
            Ok(spec) if spec.schema != CameraSpec::SCHEMA => {
                Self::Bad(format!("its schema is `{}`, supported is `{}`", spec.schema, CameraSpec::SCHEMA))
            }
            Ok(spec) if spec.id.as_str() != key => {
                Self::Bad(format!("its key is `{key}`, but its id is `{}`", spec.id))
            }
            Ok(spec) => Self::Camera(Box::new(spec)),
            Err(error) => Self::Bad(format!("not a valid camera record: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_a_camera_or_returns_the_reason() {
        let spec = CameraSpec::new("gate".parse().unwrap(), "test://ball");
        let json = serde_json::to_vec(&spec).unwrap();
        assert_eq!(RegistryRecord::read("gate", Some(&json)), RegistryRecord::Camera(Box::new(spec.clone())));
        assert_eq!(RegistryRecord::read("gate", None), RegistryRecord::Removed);
        let later = CameraSpec { schema: "lookout.camera/2".into(), ..spec };
        for (key, payload, part) in [
            ("a b", json.clone(), "camera id"),
            ("other", json, "its id is `gate`"),
            ("gate", serde_json::to_vec(&later).unwrap(), "supported is `lookout.camera/1`"),
            ("gate", b"{".to_vec(), "not a valid camera record"),
        ] {
            let RegistryRecord::Bad(why) = RegistryRecord::read(key, Some(&payload)) else { panic!("{key}") };
            assert!(why.contains(part), "{why}");
        }
    }
}
