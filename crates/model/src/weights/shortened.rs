//! Names from files in error texts.

/// Returns at most 100 characters of a name from a file, escaped to a single line.
pub(super) fn shortened(name: &str) -> String {
    let mut short: String = name.chars().take(100).flat_map(char::escape_debug).collect();
    if name.chars().nth(100).is_some() {
        short.push('…');
    }
    short
}
