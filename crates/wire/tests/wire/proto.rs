//! `schemas/lookout.proto`, read.

use std::path::Path;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

pub(crate) struct Proto(FileDescriptorProto);

impl Proto {
    /// The file in `folder`, beginning at `schemas`.
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

/// A name without its package.
pub(crate) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A map is a repeated message of keys and values, which lies within the one that has the map.
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

/// Whether a reader can tell that it is not there.
pub(crate) fn is_optional(field: &FieldDescriptorProto) -> bool {
    field.proto3_optional()
}

/// Within a `oneof` that stands in the file; what is optional has one that does not.
pub(crate) fn in_oneof(field: &FieldDescriptorProto) -> bool {
    field.oneof_index.is_some() && !field.proto3_optional()
}

/// The type's name, for comparison and for people.
pub(crate) fn type_of(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    }
}
