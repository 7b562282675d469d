//! Keys whose values are arrays.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;
use lookout_schema::Region;
use toml::{Spanned, de::DeValue};

use super::{Section, digits};
use crate::expand::{expand, join};

impl<'r, 'a> Section<'r, 'a> {
    /// Reads an array. Returns `None` if it is absent or has another type.
    fn array(&self, key: &'static str, want: &str) -> Option<&'r [Spanned<DeValue<'a>>]> {
        let value = self.get(key)?;
        if let DeValue::Array(items) = value.get_ref() {
            return Some(items);
        }
        self.wrong_type(key, want, value.get_ref());
        None
    }

    /// Adds an error for an item of an array.
    fn note_item(&self, key: &str, i: usize, item: &Spanned<DeValue<'_>>, what: impl Into<String>) {
        self.reader.note(item.span().start, format!("{}[{i}]", self.key(key)), what);
    }

    /// Reads an array of strings with their variables expanded.
    pub fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let want = "an array of strings in quotes";
        let items = self.array(key, want)?.iter().enumerate();
        let read = items.filter_map(|(i, item)| {
            let DeValue::String(text) = item.get_ref() else {
                self.note_item(
                    key,
                    i,
                    item,
                    format!("expected {want}, found a TOML {}", item.get_ref().type_str()),
                );
                return None;
            };
            expand(text, self.reader.env).map(join).map_err(|what| self.note_item(key, i, item, what)).ok()
        });
        Some(read.collect())
    }

    /// Reads an array of networks, such as `10.0.0.0/8`, and single addresses.
    pub(crate) fn networks(&self, key: &'static str) -> Option<Vec<IpNet>> {
        let read = |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        let networks = self.texts(key)?.into_iter().map(|text| {
            let network: Option<IpNet> = read(&text);
            if network.is_none() {
                let what = format!(
                    "`{text}` is not a valid network; use an address such as `10.0.0.7`, or a network such as \
                     `10.0.0.0/8`"
                );
                self.note(key, what);
            }
            network
        });
        networks.collect::<Vec<_>>().into_iter().collect()
    }

    /// Reads an array of whole numbers within `range`.
    pub(crate) fn integers(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<Vec<u64>> {
        self.items(key, "a whole number", |text| text.parse().ok().filter(|n| range.contains(n)))
    }

    /// Reads an array of numbers within `range`.
    pub(crate) fn numbers(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<Vec<f64>> {
        self.items(key, "a number", |text| text.parse().ok().filter(|n| range.contains(n)))
    }

    fn items<T>(&self, key: &'static str, want: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let items = self.array(key, "an array of numbers")?.iter().enumerate();
        let read = items.filter_map(|(i, item)| {
            let number = digits(item.get_ref()).and_then(&read);
            if number.is_none() {
                self.note_item(key, i, item, format!("expected {want} within the valid range"));
            }
            number
        });
        Some(read.collect())
    }

    /// Reads an array of polygons, `[[[x, y], ...], ...]`.
    pub(crate) fn regions(&self, key: &'static str) -> Option<Vec<Region>> {
        let items = self.array(key, "an array of polygons, `[[[x, y], ...], ...]`,")?.iter().enumerate();
        let read = items.filter_map(|(i, item)| {
            let corners = item.get_ref().as_array().and_then(|corners| corners.iter().map(corner).collect());
            let Some(corners) = corners else {
                self.note_item(key, i, item, "expected a polygon: three or more corners `[x, y]`");
                return None;
            };
            Region::new(corners).map_err(|error| self.note_item(key, i, item, error.to_string())).ok()
        });
        Some(read.collect())
    }

    /// Reads an array of points, `[[x, y], ...]`.
    pub(crate) fn points(&self, key: &'static str) -> Option<Vec<[f32; 2]>> {
        let items = self.array(key, "an array of points, `[[x, y], ...]`,")?;
        let points: Option<Vec<_>> = items.iter().map(corner).collect();
        if points.is_none() {
            self.note(key, "expected points: `[[x, y], ...]`");
        }
        points
    }

    /// Reads an array of exactly `N` numbers.
    pub(crate) fn exactly<const N: usize>(&self, key: &'static str) -> Option<[f64; N]> {
        let want = format!("an array of {N} numbers");
        let items = self.array(key, &want)?;
        let number = |item: &Spanned<DeValue<'_>>| digits(item.get_ref())?.parse::<f64>().ok();
        let read: Option<Vec<f64>> = items.iter().map(number).collect();
        let numbers = read.and_then(|numbers| <[f64; N]>::try_from(numbers).ok());
        if numbers.is_none() {
            self.note(key, format!("expected {want}"));
        }
        numbers
    }
}

/// Reads a point `[x, y]`.
fn corner(value: &Spanned<DeValue<'_>>) -> Option<[f32; 2]> {
    let [x, y] = &value.get_ref().as_array()?[..] else { return None };
    let number = |part: &Spanned<DeValue<'_>>| digits(part.get_ref())?.parse().ok();
    Some([number(x)?, number(y)?])
}
