//! Compares the JSON Schemas of the types with the Protobuf file: both formats must have the same fields.

use std::collections::BTreeSet;

use lookout_schema::{AlertRecord, FrameRecord, SnapshotRecord, StatusRecord, TrackRecord};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use schemars::schema_for;
use serde_json::Value;

use crate::proto::{Proto, in_oneof, is_optional, is_repeated, map_entry, short, type_of};

#[test]
fn both_formats_have_the_same_fields() {
    let proto = Proto::read("");
    let mut reached = BTreeSet::new();
    for (name, schema) in [
        ("FrameRecord", schema_for!(FrameRecord)),
        ("StatusRecord", schema_for!(StatusRecord)),
        ("SnapshotRecord", schema_for!(SnapshotRecord)),
        ("TrackRecord", schema_for!(TrackRecord)),
        ("AlertRecord", schema_for!(AlertRecord)),
    ] {
        let schema = schema.to_value();
        let mut pairing = Pairing { root: &schema, proto: &proto, reached: &mut reached };
        pairing.message(name, &schema);
    }
    for message in proto.messages() {
        assert!(reached.contains(message.name()), "{} is not used by any record", message.name());
    }
    for named in proto.enums() {
        assert!(reached.contains(named.name()), "{} is not used by any record", named.name());
    }
}

struct Pairing<'a> {
    root: &'a Value,
    proto: &'a Proto,
    reached: &'a mut BTreeSet<String>,
}

impl Pairing<'_> {
    fn resolved<'b>(&'b self, schema: &'b Value) -> &'b Value {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        reference.map_or(schema, |path| self.root.pointer(path).unwrap())
    }

    fn message(&mut self, name: &str, schema: &Value) {
        self.reached.insert(short(name).to_owned());
        let message = self
            .proto
            .message(name)
            .unwrap_or_else(|| panic!("message {name} is missing in schemas/lookout.proto"))
            .clone();
        let schema = self.resolved(schema).clone();
        let fields: BTreeSet<&str> = match schema.get("oneOf").and_then(Value::as_array) {
            Some(variants) => variants.iter().map(|variant| self.variant(&message, variant)).collect(),
            None => {
                let properties = schema["properties"].as_object().unwrap();
                let own = properties.iter().filter(|(property, _)| *property != "kind");
                own.map(|(property, schema)| self.property(&message, property, schema)).collect()
            }
        };
        for field in &message.field {
            assert!(fields.contains(field.name()), "{name}.{} is not in JSON", field.name());
        }
    }

    /// Compares a variant of a tagged type with the field of a `oneof` that has the name of its `kind`.
    fn variant<'b>(&mut self, message: &'b DescriptorProto, variant: &Value) -> &'b str {
        let kind = variant["properties"]["kind"]["const"].as_str().unwrap();
        let field = named(message, kind);
        assert!(in_oneof(field), "{}.{kind} is not in a oneof", message.name());
        let fields = if variant.get("$ref").is_some() { self.resolved(variant) } else { variant }.clone();
        self.message(field.type_name(), &fields);
        field.name()
    }

    /// Compares a property with its field in `message`, and returns the name of the field.
    fn property<'b>(&mut self, message: &'b DescriptorProto, property: &str, schema: &Value) -> &'b str {
        let at = format!("{}.{property}", message.name());
        let (schema, nullable) = self.without_null(schema);
        let is_time = text(&schema, "format") == "date-time";
        let field =
            if is_time { named(message, &format!("{property}_us")) } else { named(message, property) };
        assert_eq!(is_optional(field), nullable, "{at}: optional in one format only");
        assert!(!in_oneof(field), "{at} is in a oneof");
        if let Some(entry) = map_entry(message, field) {
            assert_eq!(type_of(named(entry, "key")), "string", "{at}");
            self.value(&at, named(entry, "value"), &schema["additionalProperties"]);
        } else if is_repeated(field) {
            assert!(schema.get("minItems").is_none(), "{at} has a fixed length");
            self.value(&at, field, &schema["items"]);
        } else {
            self.value(&at, field, &schema);
        }
        field.name()
    }

    fn value(&mut self, at: &str, field: &FieldDescriptorProto, schema: &Value) {
        let schema = self.resolved(schema).clone();
        let names = names(&schema);
        if !names.is_empty() {
            return self.enumeration(at, field.type_name(), &names);
        }
        let wanted: &[&str] = match (text(&schema, "type"), text(&schema, "format")) {
            ("object", _) => return self.message(field.type_name(), &schema),
            ("string", "date-time") => &["int64"],
            ("string", _) if text(&schema, "contentEncoding") == "base64" => &["bytes"],
            ("string", "") => &["string"],
            // `sint64` is shorter for numbers that can be negative.
            ("integer", "int64") => &["int64", "sint64"],
            ("integer", "int32") => &["int32"],
            ("integer", "uint64") => &["uint64"],
            ("integer", "uint32" | "uint8") => &["uint32"],
            ("number", "float") => &["float"],
            ("number", "double") => &["double"],
            // An array of a fixed length is a message with one field per item.
            ("array", _) => return self.tuple(at, field, &schema),
            ("", _) if schema.get("oneOf").is_some() => return self.message(field.type_name(), &schema),
            other => panic!("{at}: {other:?} is not handled by this test"),
        };
        assert!(wanted.contains(&type_of(field).as_str()), "{at}: {} for {wanted:?}", type_of(field));
    }

    fn tuple(&mut self, at: &str, field: &FieldDescriptorProto, schema: &Value) {
        let message =
            self.proto.message(field.type_name()).unwrap_or_else(|| panic!("{at} is not a message"));
        self.reached.insert(message.name().to_owned());
        assert_eq!(schema["minItems"], message.field.len(), "{at}");
        assert_eq!(schema["maxItems"], message.field.len(), "{at}");
        let item = text(&schema["items"], "format");
        assert!(message.field.iter().all(|number| type_of(number) == item), "{at}");
    }

    fn enumeration(&mut self, at: &str, name: &str, names: &[String]) {
        let found = self.proto.enumeration(name).unwrap_or_else(|| panic!("{at} is not an enum"));
        self.reached.insert(found.name().to_owned());
        let prefix = screaming(found.name());
        let mut wanted = vec![format!("{prefix}_UNSPECIFIED")];
        wanted.extend(names.iter().map(|name| format!("{prefix}_{}", name.to_uppercase())));
        let values: Vec<_> = found.value.iter().map(|value| value.name().to_owned()).collect();
        assert_eq!(found.value[0].number(), 0, "{at}");
        assert_eq!(sorted(values), sorted(wanted), "{at}");
    }

    /// Returns the schema without the null type, and whether null was allowed.
    fn without_null(&self, schema: &Value) -> (Value, bool) {
        if let Some([schema, null]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
            assert_eq!(text(null, "type"), "null");
            return (self.resolved(schema).clone(), true);
        }
        let mut schema = self.resolved(schema).clone();
        let first = match schema.get("type").and_then(Value::as_array).map(Vec::as_slice) {
            Some([one, null]) if null == "null" => one.clone(),
            _ => return (schema, false),
        };
        schema["type"] = first;
        (schema, true)
    }
}

fn named<'a>(message: &'a DescriptorProto, name: &str) -> &'a FieldDescriptorProto {
    let field = message.field.iter().find(|field| field.name() == name);
    field.unwrap_or_else(|| panic!("{}.{name} is not in schemas/lookout.proto", message.name()))
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the values of an enum. schemars lists values without a doc comment separately.
fn names(schema: &Value) -> Vec<String> {
    let list = |key: &str| schema.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let own = list("enum").into_iter().chain(schema.get("const").cloned());
    let own = own.filter_map(|name| name.as_str().map(str::to_owned));
    own.chain(list("oneOf").iter().flat_map(names)).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// Converts the name of an enum to the prefix of its values: `CameraStatus` to `CAMERA_STATUS`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}
