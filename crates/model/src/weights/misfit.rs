//! The mismatches between a state dict and a network.

use std::fmt;

/// Maximum number of names per kind of mismatch in an error text. Their count is always given.
const MAX_LISTED: usize = 10;

/// All mismatches between a state dict and a network.
#[derive(Debug, Default, PartialEq, thiserror::Error)]
pub struct Misfit {
    /// Names that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Names that the file has and the network lacks.
    pub unexpected: Vec<String>,
    pub misshapen: Vec<Misshapen>,
}

/// A tensor whose size or dtype in the file differs from that in the network.
#[derive(Debug, PartialEq)]
pub struct Misshapen {
    pub name: String,
    /// Size and dtype in the network, such as `[64, 3, 7, 7] Float`.
    pub expected: String,
    /// Size and dtype in the file.
    pub found: String,
}

impl Misfit {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the weights do not fit the network")?;
        list(formatter, "missing", &self.missing)?;
        list(formatter, "unexpected", &self.unexpected)?;
        list(formatter, "mismatched", &self.misshapen)
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (the network has {}, the file {})", self.name, self.expected, self.found)
    }
}

fn list(formatter: &mut fmt::Formatter<'_>, what: &str, names: &[impl fmt::Display]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    write!(formatter, "; {} {what}: ", names.len())?;
    for (index, name) in names.iter().take(MAX_LISTED).enumerate() {
        write!(formatter, "{}{name}", if index > 0 { ", " } else { "" })?;
    }
    if names.len() > MAX_LISTED {
        write!(formatter, " and {} more", names.len() - MAX_LISTED)
    } else {
        Ok(())
    }
}
