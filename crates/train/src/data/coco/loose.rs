//! Leniently typed JSON values, since tools write COCO's numbers in several forms.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A JSON value of any type. The content of objects is skipped.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Loose {
    #[default]
    Null,
    Bool(bool),
    Integer(u64),
    Float(f64),
    Text(String),
    List(Vec<Loose>),
    Object,
}

impl Loose {
    /// Returns the value as a number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Returns the value as an integer from 0, also if it is written as `3.0` or `"3"`.
    pub(super) fn integer(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => Some(*number),
            // Above this, adjacent `f64` values are more than 1 apart.
            Self::Float(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => {
                Some(*number as u64)
            }
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Returns the value as a flag: 0 or 1, as in COCO, or a boolean, as other tools write.
    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Self::Null => Some(false),
            Self::Bool(flag) => Some(*flag),
            _ => match self.number()? {
                0.0 => Some(false),
                1.0 => Some(true),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => flag.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => {
                let short: String = text.chars().take(40).collect();
                write!(f, "{short:?}")
            }
            Self::List(_) => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Loose, E> {
        Ok(Loose::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose::Integer(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(u64::try_from(number).map_or(Loose::Float(number as f64), Loose::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Loose, E> {
        Ok(Loose::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Loose::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_values_of_any_type_are_read() {
        let all: Vec<Loose> =
            serde_json::from_str(r#"[null, true, 3, -1, 3.0, 0.5, "7", "3f2a-b", [1, [2]], {"a": {}}]"#)
                .unwrap();
        let integer: Vec<Option<u64>> = all.iter().map(Loose::integer).collect();
        assert_eq!(integer, [None, None, Some(3), None, Some(3), None, Some(7), None, None, None]);
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["null", "true", "3", "-1", "3", "0.5", "\"7\"", "\"3f2a-b\"", "a list", "an object"]
        );
        let flags: Vec<Loose> =
            serde_json::from_str(r#"[0, 1, 0.0, 1.0, "0", false, null, 7, [], "yes"]"#).unwrap();
        let flags: Vec<Option<bool>> = flags.iter().map(Loose::flag).collect();
        let expected = [0, 1, 0, 1, 0, 0, 0].map(|flag| Some(flag == 1));
        assert_eq!(flags, [&expected[..], &[None; 3]].concat());
    }
}
