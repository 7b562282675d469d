//! The descriptors of `schemas/lookout.proto`.

use std::path::Path;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

pub(crate) struct Proto(FileDescriptorProto);

impl Proto {
    /// Compiles `lookout.proto` in `folder`, a path relative to `schemas`.
    pub(crate) fn read(folder: &str) -> Self {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(folder);
        let files = protox::compile(["lookout.proto"], [schemas]).unwrap();
        let [file] = files.file.try_into().unwrap();
        Self(file)
    }

    pub(crate) fn messages(&self) -> &[DescriptorProto] {
        &self.0.message_type
    }

    pub(crate) fn enums(&self) -> &[EnumDescriptorProto] {
        &self.0.enum_type
    }

    pub(crate) fn package(&self) -> &str {
        self.0.package()
    }

    pub(crate) fn message(&self, name: &str) -> Option<&DescriptorProto> {
        self.messages().iter().find(|message| message.name() == short(name))
    }

    pub(crate) fn enumeration(&self, name: &str) -> Option<&EnumDescriptorProto> {
        self.enums().iter().find(|found| found.name() == short(name))
    }
}

/// Returns a name without its package.
pub(crate) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Returns the entry type of a map field: a message with `key` and `value`, nested in the message that has
/// the map.
pub(crate) fn map_entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    let entry = message.nested_type.iter().find(|nested| nested.name() == short(field.type_name()))?;
    entry.options.as_ref().is_some_and(|options| options.map_entry()).then_some(entry)
}

pub(crate) fn is_repeated(field: &FieldDescriptorProto) -> bool {
    field.label() == Label::Repeated
}

/// Returns whether the field is `optional`, so that a reader can distinguish an absent value from a default
/// value.
pub(crate) fn is_optional(field: &FieldDescriptorProto) -> bool {
    field.proto3_optional()
}

/// Returns whether the field is in a `oneof` of the file. The compiler adds a synthetic `oneof` for each
/// `optional` field, which does not count.
pub(crate) fn in_oneof(field: &FieldDescriptorProto) -> bool {
    field.oneof_index.is_some() && !field.proto3_optional()
}

/// Returns the name of the field's type.
pub(crate) fn type_of(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    }
}
