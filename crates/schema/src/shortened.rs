//! Untrusted text in messages for people.

use std::fmt::Write as _;

/// Returns untrusted text in a form that is safe to print: without control characters, and shortened to about 300
/// characters.
pub fn shortened(text: &str) -> String {
    /// About the length of Lookout's own longest error texts.
    const MAX_CHARS: usize = 300;
    let mut chars = text.chars().map(|char| if char.is_control() { '\u{FFFD}' } else { char });
    let mut shown: String = chars.by_ref().take(MAX_CHARS).collect();
    let more = chars.count();
    if more > 0 {
        let _ = write!(shown, "... ({more} more characters)");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_control_characters_and_cuts_long_text() {
        assert_eq!(shortened("a\u{1b}[2Jb"), "a\u{FFFD}[2Jb");
        assert!(shortened(&"k".repeat(5_000)).ends_with("k... (4700 more characters)"));
    }
}
