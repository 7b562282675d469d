//! Decoding of a message on the registry's topic.

use lookout_schema::{CameraId, CameraSpec, RegistryRecord, shortened};

/// Decodes a message of the registry.
pub fn decode_registry_record(key: &str, payload: Option<&[u8]>) -> RegistryRecord {
    match parse(key, payload) {
        // The key and value in the reason may have any length.
        RegistryRecord::Bad(why) => RegistryRecord::Bad(shortened(&why)),
        record => record,
    }
}

fn parse(key: &str, payload: Option<&[u8]>) -> RegistryRecord {
    let Some(payload) = payload.filter(|payload| !payload.is_empty()) else {
        return RegistryRecord::Removed;
    };
    if let Err(error) = key.parse::<CameraId>() {
        return RegistryRecord::Bad(error.to_string());
    }
    match serde_json::from_slice::<CameraSpec>(payload) {
        Ok(spec) if spec.schema != CameraSpec::SCHEMA => RegistryRecord::Bad(format!(
            "its schema is `{}`, supported is `{}`",
            spec.schema,
            CameraSpec::SCHEMA
        )),
        Ok(spec) if spec.id.as_str() != key => {
            RegistryRecord::Bad(format!("its key is `{key}`, but its id is `{}`", spec.id))
        }
        Ok(spec) => RegistryRecord::Camera(Box::new(spec)),
        Err(error) => RegistryRecord::Bad(format!("not a valid camera record: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_a_camera_or_returns_the_reason() {
        let spec = CameraSpec::new("gate".parse().unwrap(), "test://ball");
        let json = serde_json::to_vec(&spec).unwrap();
        assert_eq!(
            decode_registry_record("gate", Some(&json)),
            RegistryRecord::Camera(Box::new(spec.clone()))
        );
        assert_eq!(decode_registry_record("gate", None), RegistryRecord::Removed);
        let later = CameraSpec { schema: "lookout.camera/2".into(), ..spec };
        for (key, payload, part) in [
            ("a b", json.clone(), "camera id"),
            ("other", json, "its id is `gate`"),
            ("gate", serde_json::to_vec(&later).unwrap(), "supported is `lookout.camera/1`"),
            ("gate", b"{".to_vec(), "not a valid camera record"),
        ] {
            let RegistryRecord::Bad(why) = decode_registry_record(key, Some(&payload)) else {
                panic!("{key}")
            };
            assert!(why.contains(part), "{why}");
        }
    }
}
