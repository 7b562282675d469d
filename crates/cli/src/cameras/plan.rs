//! Converts requested changes of the registry to edits. No I/O.

use std::collections::BTreeSet;

use lookout_broker::{Edit, RegistryView};
use lookout_schema::{CameraId, CameraSpec, Timestamp};

/// A requested change of the registry.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Put(Box<CameraSpec>, Expect),
    Remove(CameraId, Option<u64>),
    Enable(CameraId, bool, Option<u64>),
    RemoveAllBut(BTreeSet<CameraId>),
}

/// The precondition of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The camera must have this version; 0 means that it must not exist.
    Version(u64),
    Anything,
}

/// Returns the edits that apply `wishes` to the registry in the state `view`.
///
/// # Errors
/// Returns an error message if a precondition is not met.
pub(crate) fn edits(view: &RegistryView, wishes: &[Wish]) -> Result<Vec<Edit>, String> {
    let mut edits = Vec::new();
    for wish in wishes {
        match wish {
            Wish::Put(spec, expect) => edits.extend(put(view, spec, *expect)?),
            Wish::Remove(id, expect) => {
                // An invalid record can be removed as well, by its key.
                if !view.bad.contains_key(id.as_str()) {
                    found(view, id, *expect)?;
                }
                edits.push(Edit::Remove(id.clone()));
            }
            Wish::Enable(id, enabled, expect) => {
                let there = found(view, id, *expect)?;
                if there.enabled != *enabled {
                    edits.push(next(there, CameraSpec { enabled: *enabled, ..there.clone() }));
                }
            }
            Wish::RemoveAllBut(kept) => {
                let others = view.cameras.keys().filter(|id| !kept.contains(id));
                edits.extend(others.map(|id| Edit::Remove(id.clone())));
            }
        }
    }
    Ok(edits)
}

fn put(view: &RegistryView, spec: &CameraSpec, expect: Expect) -> Result<Option<Edit>, String> {
    let there = view.cameras.get(&spec.id);
    let spec = &drawn(spec, there);
    match (expect, there) {
        (Expect::Version(0), Some(there)) => {
            return Err(format!(
                "camera {} already exists in version {}; to change it, use `--expect-version {}` or `--replace`",
                there.id, there.version, there.version
            ));
        }
        (Expect::Version(wanted), Some(there)) => check_version(there, wanted)?,
        (Expect::Version(0), None) | (Expect::Anything, _) => {}
        (Expect::Version(_), None) => {
            return Err(format!("camera {} does not exist; to add it, omit `--expect-version`", spec.id));
        }
    }
    Ok(match there {
        Some(there) if there.says_the_same_as(spec) => None,
        Some(there) => Some(next(there, spec.clone())),
        None => {
            Some(Edit::Put(Box::new(CameraSpec { version: 1, updated_at: Timestamp::now(), ..spec.clone() })))
        }
    })
}

/// Returns `spec` with the zones and lines of the existing camera if it has none of its own. Zones and lines
/// are drawn on the monitor's page, so files and command lines that set a camera's address usually do not
/// contain them.
fn drawn(spec: &CameraSpec, there: Option<&CameraSpec>) -> CameraSpec {
    let mut spec = spec.clone();
    if let Some(there) = there {
        if spec.zones.is_empty() {
            spec.zones.clone_from(&there.zones);
        }
        if spec.lines.is_empty() {
            spec.lines.clone_from(&there.lines);
        }
    }
    spec
}

fn next(there: &CameraSpec, spec: CameraSpec) -> Edit {
    let version = there.version.saturating_add(1);
    Edit::Put(Box::new(CameraSpec { version, updated_at: Timestamp::now(), ..spec }))
}

fn found<'v>(view: &'v RegistryView, id: &CameraId, expect: Option<u64>) -> Result<&'v CameraSpec, String> {
    let there = view.cameras.get(id).ok_or_else(|| format!("camera {id} does not exist"))?;
    expect.map_or(Ok(()), |wanted| check_version(there, wanted))?;
    Ok(there)
}

fn check_version(there: &CameraSpec, wanted: u64) -> Result<(), String> {
    if there.version == wanted {
        return Ok(());
    }
    Err(format!(
        "camera {} has version {} (changed {}), not {wanted}; check its settings and use the new version",
        there.id, there.version, there.updated_at
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: &str, version: u64) -> CameraSpec {
        CameraSpec { version, ..CameraSpec::new(id.parse().unwrap(), "test://ball") }
    }

    fn view() -> RegistryView {
        let mut view = RegistryView::default();
        view.cameras.insert("a".parse().unwrap(), spec("a", 3));
        view
    }

    fn put(id: &str, uri: &str, expect: Expect) -> Wish {
        Wish::Put(Box::new(CameraSpec::new(id.parse().unwrap(), uri)), expect)
    }

    #[test]
    fn refuses_changes_of_another_version() {
        for (expect, what) in [
            (Expect::Version(0), "already exists in version 3"),
            (Expect::Version(2), "has version 3 (changed"),
        ] {
            let refused = edits(&view(), &[put("a", "test://snow", expect)]).unwrap_err();
            assert!(refused.contains(what), "{refused}");
        }
        assert!(edits(&view(), &[put("b", "x", Expect::Version(1))]).unwrap_err().contains("does not exist"));
        assert!(edits(&view(), &[Wish::Remove("a".parse().unwrap(), Some(2))]).is_err());
        for expect in [Expect::Version(3), Expect::Anything] {
            let made = edits(&view(), &[put("a", "test://snow", expect)]).unwrap();
            let [Edit::Put(spec)] = &made[..] else { panic!("{made:?}") };
            assert_eq!((spec.version, spec.uri.as_str()), (4, "test://snow"));
        }
    }

    #[test]
    fn put_keeps_zones_and_lines() {
        let mut view = view();
        let there = view.cameras.get_mut(&"a".parse().unwrap()).unwrap();
        there.lines.insert("kerb".into(), [[0.0, 0.5], [1.0, 0.5]]);
        assert_eq!(edits(&view, &[put("a", "test://ball", Expect::Anything)]).unwrap(), []);
        let made = edits(&view, &[put("a", "test://snow", Expect::Anything)]).unwrap();
        let [Edit::Put(spec)] = &made[..] else { panic!("{made:?}") };
        assert_eq!((spec.uri.as_str(), spec.lines.len()), ("test://snow", 1));
    }

    #[test]
    fn makes_no_edit_if_nothing_changes() {
        let wishes = [
            put("a", "test://ball", Expect::Anything),
            Wish::Enable("a".parse().unwrap(), true, None),
            Wish::RemoveAllBut(BTreeSet::from(["a".parse().unwrap()])),
        ];
        assert_eq!(edits(&view(), &wishes).unwrap(), []);
        let made = edits(&view(), &[Wish::RemoveAllBut(BTreeSet::new())]).unwrap();
        assert_eq!(made, [Edit::Remove("a".parse().unwrap())]);
    }

    #[test]
    fn removes_unreadable_records() {
        let mut view = view();
        view.bad.insert("broken".into(), "not a record".into());
        let broken = "broken".parse().unwrap();
        assert_eq!(edits(&view, &[Wish::Remove(broken, None)]).unwrap().len(), 1);
        assert!(edits(&view, &[Wish::Remove("c".parse().unwrap(), None)]).is_err());
    }
}
