//! Checks that `schemas/lookout.proto` is compatible with `schemas/released/lookout.proto`.

use prost_types::{DescriptorProto, field_descriptor_proto::Type};

use crate::proto::{Proto, in_oneof, is_optional, type_of};

#[test]
fn is_compatible_with_the_released_messages() {
    let (released, now) = (Proto::read("released"), Proto::read(""));
    assert_eq!(released.package(), now.package());
    for old in released.messages() {
        let new = now.message(old.name()).unwrap_or_else(|| panic!("{} was removed", old.name()));
        hold(old, new);
    }
    for old in released.enums() {
        let new = now.enumeration(old.name()).unwrap_or_else(|| panic!("{} was removed", old.name()));
        for value in &old.value {
            let found = new.value.iter().find(|found| found.number() == value.number());
            assert_eq!(found.map(|found| found.name()), Some(value.name()), "{}", old.name());
        }
    }
}

/// Checks that every released field still exists with its number, name and type. Fields can therefore not be
/// removed, and `reserved` numbers are not needed.
fn hold(old: &DescriptorProto, new: &DescriptorProto) {
    for field in &old.field {
        let at = format!("{}.{}", old.name(), field.name());
        let found = new.field.iter().find(|found| found.number() == field.number());
        let found = found.unwrap_or_else(|| panic!("{at} was removed"));
        assert_eq!(found.name(), field.name(), "{at}: its number is used by another field");
        assert_eq!(type_of(found), type_of(field), "{at}");
        assert_eq!(found.label(), field.label(), "{at}");
        assert_eq!((is_optional(found), in_oneof(found)), (is_optional(field), in_oneof(field)), "{at}");
    }
    for nested in &old.nested_type {
        let found = new.nested_type.iter().find(|found| found.name() == nested.name());
        hold(nested, found.unwrap_or_else(|| panic!("{} was removed", nested.name())));
    }
}

#[test]
fn no_message_starts_like_json() {
    // The tag of a field has the field's number and its wire type: varint, 8 bytes, length-delimited, or 4
    // bytes.
    let written = [0u32, 1, 2, 5];
    for message in Proto::read("").messages() {
        for field in &message.field {
            assert_ne!(field.r#type(), Type::Group, "{}.{}", message.name(), field.name());
            for how in written {
                let key = (field.number() as u32) << 3 | how;
                // A varint has seven bits per byte, and the high bit is set if another byte follows.
                let first = if key < 0x80 { key } else { key & 0x7F | 0x80 };
                assert_ne!(first, u32::from(b'{'), "{}.{}", message.name(), field.name());
            }
        }
    }
}
