//! Detects files whose content is not what their names suggest.

/// How many bytes from the start of a file are inspected.
pub const IMPOSTOR_BYTES: usize = 4096;

/// Returns what a file is if it stands in for the expected file, and what to do about it.
///
/// Detects pointers of Git LFS and git-annex, HTML pages and error messages that a server sent instead of the file, and
/// files that are empty or start with zeros. `head` holds the first [`IMPOSTOR_BYTES`] bytes of the file, or the whole
/// file if it is shorter. `None` does not mean that the file is valid.
pub fn impostor(head: &[u8]) -> Option<&'static str> {
    let head = &head[..head.len().min(IMPOSTOR_BYTES)];
    if head.is_empty() {
        return Some("an empty file, perhaps of a failed download or copy; fetch it again");
    }
    if head.starts_with(b"version https://git-lfs") || head.starts_with(b"version https://hawser") {
        return Some("a Git LFS pointer instead of the file itself; run `git lfs pull`, or fetch it again");
    }
    if head.starts_with(b"/annex/objects/") || (head.len() < 1024 && contains(head, b".git/annex/objects/")) {
        return Some(
            "a git-annex pointer instead of the file itself; run `git annex get`, or fetch it again",
        );
    }
    if head.len() >= 512 && head.iter().all(|byte| *byte == 0) {
        return Some("a file that starts with zeros, perhaps of an interrupted download; fetch it again");
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().to_ascii_lowercase();
    let starts_with = |start: &str| text.starts_with(start.as_bytes());
    if starts_with("<!doctype html") || starts_with("<html") || starts_with("<head") || starts_with("<body") {
        return Some(HTML);
    }
    if starts_with("<?xml") || starts_with("<!--") {
        if contains(&text, b"<html") {
            return Some(HTML);
        }
        if contains(&text, b"<error>") {
            return Some(
                "an error message in XML that a server sent instead of the file; fetch it again, with a login if \
                 the server needs one",
            );
        }
    }
    if starts_with("<error>")
        || starts_with("{\"error")
        || starts_with("{\"message")
        || starts_with("{\"detail")
    {
        return Some(
            "an error message that a server sent instead of the file; fetch it again, with a login if the server \
             needs one",
        );
    }
    None
}

const HTML: &str = "an HTML page, such as a login or error page that a server sent instead of the file; fetch it \
                    again, from the address of the file itself";

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholder_files_are_recognized() {
        for (head, name) in [
            (&b""[..], "empty file"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer"),
            (b"/annex/objects/SHA256E-s5--a.pth\n", "git-annex pointer"),
            (b"../.git/annex/objects/Xk/2m/SHA256E-s5--a.pth", "git-annex pointer"),
            (&[0; 600], "zeros"),
            (b"\n <!DOCTYPE html><html>", "HTML page"),
            (b"\xef\xbb\xbf<HTML>", "HTML page"),
            (b"<?xml version=\"1.0\"?><html xmlns=\"\">", "HTML page"),
            (b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>", "error message in XML"),
            (b"{\"error\": \"not found\"}", "error message"),
        ] {
            let what = impostor(head).unwrap_or_default();
            assert!(what.contains(name), "{:?}: {what}", head.escape_ascii().to_string());
        }
    }

    #[test]
    fn data_is_not_taken_for_a_placeholder() {
        for head in [
            &b"PK\x03\x04"[..],
            b"\xff\xd8\xff\xe0",
            b"\x89PNG\r\n",
            b"\x10\0\0\0\0\0\0\0{\"error\"",
            b"<?xml version=\"1.0\"?><annotation><filename>a.jpg</filename>",
            b"{\"images\": []}",
            b"{",
        ] {
            assert_eq!(impostor(head), None, "{head:?}");
        }
    }
}
