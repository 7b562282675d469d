//! `schemas/*.schema.json`: generated from the types, up to date, and compatible with the released schemas.
//!
//! `LOOKOUT_WRITE_SCHEMAS=1 cargo test --release -p lookout-schema json_schema` updates them. Only a release copies them
//! to `schemas/released`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use lookout_schema::{
    AlertRecord, CameraSpec, ClaimRecord, FrameRecord, SnapshotRecord, StatusRecord, TrackRecord,
};
use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};

const NAMES: [&str; 7] = ["frame", "status", "snapshot", "track", "alert", "camera", "claim"];

fn schema(name: &str) -> Schema {
    match name {
        "frame" => schema_for!(FrameRecord),
        "status" => schema_for!(StatusRecord),
        "snapshot" => schema_for!(SnapshotRecord),
        "track" => schema_for!(TrackRecord),
        "alert" => schema_for!(AlertRecord),
        "camera" => schema_for!(CameraSpec),
        "claim" => schema_for!(ClaimRecord),
        _ => panic!("{name}"),
    }
}

fn file(folder: &str, name: &str) -> PathBuf {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    schemas.join(folder).join(format!("{name}.schema.json"))
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn schema_files_match_the_types() {
    for name in NAMES {
        let mut schema = schema(name).to_value();
        let version = format!("lookout.{name}/1");
        schema["$id"] = version.as_str().into();
        replace_schema_field(&mut schema, &version);
        // `Schema` serializes the important keywords first.
        let text = serde_json::to_string_pretty(&Schema::try_from(schema).unwrap()).unwrap() + "\n";
        let file = file("", name);
        if env::var_os("LOOKOUT_WRITE_SCHEMAS").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let current = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            current == text,
            "{} is out of date; the comment at the top of this test has the command that updates it",
            file.display()
        );
    }
}

/// Replaces the description of `schema`, which in Rust is a link to a constant, and adds the constant's
/// value.
fn replace_schema_field(schema: &mut Value, version: &str) {
    if let Some(field) = schema.pointer_mut("/properties/schema") {
        *field = json!({"description": "The record's kind and version.", "type": "string", "const": version});
    }
    let parts = schema.as_object_mut().into_iter().flat_map(|parts| parts.values_mut());
    parts.for_each(|part| replace_schema_field(part, version));
}

#[test]
fn is_compatible_with_the_released_schemas() {
    for name in NAMES {
        let (released, now) = (read(&file("released", name)), read(&file("", name)));
        let breaks = breaks(&released, &now);
        assert!(breaks.is_empty(), "{name}: {breaks:#?}");
    }
}

#[test]
fn detects_breaking_changes_only() {
    let released = read(&file("", "status"));
    let changed = |at: &str, change: &dyn Fn(&mut Value)| {
        let mut now = released.clone();
        change(now.pointer_mut(at).unwrap_or_else(|| panic!("{at}")));
        breaks(&released, &now)
    };
    let remove = |key: &'static str| move |at: &mut Value| drop(at.as_object_mut().unwrap().remove(key));
    let push = |value: Value| move |at: &mut Value| at.as_array_mut().unwrap().push(value.clone());
    let camera = "/$defs/CameraStatusRecord";
    for (at, change) in [
        (format!("{camera}/properties"), &push_property("site") as &dyn Fn(&mut Value)),
        ("/$defs/Clock/oneOf".into(), &push(json!({"type": "string", "const": "ptp"}))),
        ("/oneOf".into(), &push(json!({"type": "object", "properties": {"kind": {"const": "site"}}}))),
        ("/$defs/Clock".into(), &remove("description")),
    ] {
        assert_eq!(changed(&at, change), <[String; 0]>::default(), "{at}");
    }
    for (at, change) in [
        (format!("{camera}/properties"), &remove("fps") as &dyn Fn(&mut Value)),
        (format!("{camera}/required"), &push(json!("detail"))),
        (format!("{camera}/required"), &|at| drop(at.as_array_mut().unwrap().pop())),
        (format!("{camera}/properties/fps"), &|fps| fps["type"] = json!("string")),
        ("/$defs/Timestamp".into(), &remove("format")),
        ("/$defs/Clock/oneOf".into(), &|at| drop(at.as_array_mut().unwrap().pop())),
        ("/oneOf".into(), &|at| drop(at.as_array_mut().unwrap().remove(0))),
        ("/$defs/LedgerCounts/properties/dropped/additionalProperties".into(), &remove("format")),
    ] {
        assert_eq!(changed(&at, change).len(), 1, "{at}");
    }
}

fn push_property(name: &str) -> impl Fn(&mut Value) {
    move |at| at[name] = json!({"type": "string"})
}

/// Returns the changes from `released` to `now` that would break an existing consumer or producer.
fn breaks(released: &Value, now: &Value) -> Vec<String> {
    let mut comparison = Comparison { released, now, breaks: Vec::new(), entered: BTreeSet::new() };
    comparison.compare("", released, now);
    comparison.breaks
}

struct Comparison<'a> {
    released: &'a Value,
    now: &'a Value,
    breaks: Vec<String>,
    /// Names of the types that were already compared, so that each is compared only once.
    entered: BTreeSet<&'a str>,
}

/// The keywords that restrict a value and are compared as they are. All other keywords are either compared
/// separately or only descriptions.
const SHAPE: [&str; 8] =
    ["type", "format", "contentEncoding", "minItems", "maxItems", "minimum", "maximum", "propertyNames"];

impl<'a> Comparison<'a> {
    fn compare(&mut self, at: &str, old: &'a Value, new: &'a Value) {
        match (reference(old), reference(new)) {
            (Some(name), Some(_)) if !self.entered.insert(name) => {}
            (None, None) => {}
            _ => self.shapes(at, resolved(self.released, old), resolved(self.now, new)),
        }
        // A variant of a tagged type has its `kind` next to its reference.
        self.shapes(at, old, new);
    }

    fn shapes(&mut self, at: &str, old: &'a Value, new: &'a Value) {
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
            return self.that(old == new, at, "the type has changed");
        };
        for key in SHAPE {
            self.that(old.get(key) == new.get(key), at, &format!("`{key}` has changed"));
        }
        self.properties(at, old, new);
        for key in ["items", "additionalProperties"] {
            match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) => self.compare(&format!("{at}/{key}"), old, new),
                (old, new) => self.that(old == new, at, &format!("`{key}` has changed")),
            }
        }
        let (texts, now) = (texts(old), texts(new));
        for text in texts.difference(&now) {
            self.that(false, at, &format!("`{text}` was removed"));
        }
        if texts.is_empty() {
            for key in ["oneOf", "anyOf"] {
                self.choices(&format!("{at}/{key}"), choices(old, key), choices(new, key));
            }
        }
    }

    fn properties(&mut self, at: &str, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        let of = |schema: &'a Map<String, Value>| schema.get("properties").and_then(Value::as_object);
        for (name, schema) in of(old).into_iter().flatten() {
            match of(new).and_then(|properties| properties.get(name)) {
                Some(now) => self.compare(&format!("{at}/{name}"), schema, now),
                None => self.that(false, at, &format!("`{name}` was removed")),
            }
        }
        let (was, is) = (choices(old, "required"), choices(new, "required"));
        for name in is.iter().filter(|name| !was.contains(name)) {
            // Records of a producer that uses the released schema would no longer be valid.
            self.that(false, at, &format!("{name} is required now"));
        }
        for name in was.iter().filter(|name| !is.contains(name) && of(new).is_some_and(|p| has(p, name))) {
            // A consumer that uses the released schema may rely on the field.
            self.that(false, at, &format!("{name} is optional now"));
        }
    }

    /// Checks that every old variant still exists. Variants are matched by their `kind`, or by their index if
    /// they have none.
    fn choices(&mut self, at: &str, old: &'a [Value], new: &'a [Value]) {
        self.that(old.is_empty() == new.is_empty(), at, "the type has changed");
        for (place, choice) in old.iter().enumerate() {
            let found = match kind(choice) {
                Some(name) => new.iter().find(|now| kind(now) == Some(name)),
                None => new.get(place),
            };
            match found {
                Some(now) => self.compare(at, choice, now),
                None => self.that(false, at, &format!("{choice} was removed")),
            }
        }
    }

    fn that(&mut self, holds: bool, at: &str, what: &str) {
        if !holds {
            self.breaks.push(format!("{at}: {what}"));
        }
    }
}

fn choices<'a>(schema: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the values of a string enum. schemars lists values without a doc comment under `enum`, and those
/// with one under `oneOf`.
fn texts(schema: &Map<String, Value>) -> BTreeSet<&str> {
    let own = choices(schema, "enum").iter().chain(schema.get("const"));
    let nested = choices(schema, "oneOf").iter().filter_map(Value::as_object).flat_map(texts);
    own.filter_map(Value::as_str).chain(nested).collect()
}

fn has(properties: &Map<String, Value>, name: &Value) -> bool {
    name.as_str().is_some_and(|name| properties.contains_key(name))
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = reference(schema).and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(schema, |pointer| root.pointer(pointer).unwrap())
}

fn kind(choice: &Value) -> Option<&Value> {
    choice.pointer("/properties/kind/const")
}
