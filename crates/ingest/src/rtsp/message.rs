//! Parser for RTSP messages (RFC 2326) and interleaved binary data, as lenient as cameras require.
//!
//! `rtsp-types` was not chosen: it rejects bare line feeds, status lines without a reason phrase and bytes outside
//! UTF-8, all of which cameras send.

use std::fmt::Write as _;

/// A message or packet that was received on the control connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Response(Response),
    Request(Request),
    /// Interleaved binary data (RFC 2326, section 10.12).
    Data {
        channel: u8,
        payload: Vec<u8>,
    },
}

/// A response from the camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    /// `RTSP/1.0`, or `HTTP/1.1` for a web server.
    pub(super) version: String,
    pub(super) code: u16,
    pub(super) reason: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// A request that the camera sends to its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) cseq: Option<String>,
}

impl Response {
    /// Returns the first header with this `name`, ignoring case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    pub(super) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the sequence number of the request that this response answers. Some cameras omit it.
    pub(super) fn cseq(&self) -> Option<u32> {
        self.header("CSeq")?.trim().parse().ok()
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// Serializes a request.
pub(super) fn request(method: &str, uri: &str, cseq: u32, headers: &[(&str, String)]) -> Vec<u8> {
    let mut text = format!("{method} {uri} RTSP/1.0\r\nCSeq: {cseq}\r\n");
    for (name, value) in headers {
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let agent = concat!("Lookout/", env!("CARGO_PKG_VERSION"));
    let _ = write!(text, "User-Agent: {agent}\r\n\r\n");
    text.into_bytes()
}

/// Serializes the response to a request from the camera.
pub(super) fn answer(request: &Request) -> Vec<u8> {
    let status = match request.method.as_str() {
        "OPTIONS" | "GET_PARAMETER" | "SET_PARAMETER" | "ANNOUNCE" | "TEARDOWN" | "REDIRECT" => "200 OK",
        _ => "501 Not Implemented",
    };
    let cseq = request.cseq.as_deref().unwrap_or("0");
    format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n\r\n").into_bytes()
}

/// Serializes an interleaved packet. Returns None if the payload exceeds 65,535 bytes.
pub(super) fn interleaved(channel: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let [high, low] = u16::try_from(payload.len()).ok()?.to_be_bytes();
    Some([&[b'$', channel, high, low], payload].concat())
}

/// Why received bytes are not RTSP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// A head or a body exceeds [`MAX_HEAD`] or [`MAX_BODY`].
    TooLarge,
    /// A TLS record where RTSP was expected.
    Tls,
    /// More than [`MAX_NOISE`] consecutive bytes that do not belong to a message.
    Noise,
}

const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 1 << 20;
const MAX_NOISE: usize = 1 << 20;

/// Buffers received bytes until they form a complete item.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// The number of bytes at the front that were consumed.
    start: usize,
    noise: usize,
    any: bool,
}

impl Inbox {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next complete item, or None if more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Malformed> {
        loop {
            let rest = self.bytes.get(self.start..).unwrap_or_default();
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if blank > 0 {
                self.start += blank;
                continue;
            }
            match rest {
                [] => return Ok(None),
                [b'$', channel, high, low, data @ ..] => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    let Some(payload) = data.get(..length) else { return Ok(None) };
                    let item = Item::Data { channel: *channel, payload: payload.to_vec() };
                    self.consumed(4 + length);
                    return Ok(Some(item));
                }
                [b'$', ..] => return Ok(None),
                // A TLS alert or handshake record, of TLS 1.0 to 1.3.
                [0x15 | 0x16, 0x03, 0..=4, ..] if !self.any => return Err(Malformed::Tls),
                [first, ..] if first.is_ascii_uppercase() => {
                    let Some((head, length)) = head(rest) else {
                        if rest.len() > MAX_HEAD {
                            return Err(Malformed::TooLarge);
                        }
                        if is_text(rest) {
                            return Ok(None);
                        }
                        self.skip()?;
                        continue;
                    };
                    let Some(message) = Message::parse(&head) else {
                        self.skip()?;
                        continue;
                    };
                    if message.body > MAX_BODY {
                        return Err(Malformed::TooLarge);
                    }
                    let Some(body) = rest.get(length..length + message.body) else { return Ok(None) };
                    let (body, length) = (body.to_vec(), length + message.body);
                    let item = message.item(body);
                    self.consumed(length);
                    return Ok(Some(item));
                }
                _ => self.skip()?,
            }
        }
    }

    fn consumed(&mut self, bytes: usize) {
        self.start += bytes;
        self.noise = 0;
        self.any = true;
    }

    /// Skips a byte that cannot start a message, and the bytes up to the next one that can.
    fn skip(&mut self) -> Result<(), Malformed> {
        let rest = self.bytes.get(self.start + 1..).unwrap_or_default();
        let starts_message = |byte: &u8| *byte == b'$' || byte.is_ascii_uppercase();
        let skipped = 1 + rest.iter().position(starts_message).unwrap_or(rest.len());
        self.start += skipped;
        self.noise += skipped;
        if self.noise > MAX_NOISE { Err(Malformed::Noise) } else { Ok(()) }
    }
}

/// Returns whether an incomplete head may still become a valid one.
fn is_text(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.iter().all(|byte| matches!(byte, b'\r' | b'\t' | 0x20..=0x7e | 0x80..))
        && line.iter().take(3).all(|byte| byte.is_ascii_uppercase() || *byte == b'_')
}

/// Returns the head of a message, and its length including the empty line. Lines may end in LF alone.
fn head(bytes: &[u8]) -> Option<(String, usize)> {
    let mut line_start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != b'\n' {
            continue;
        }
        let line = bytes.get(line_start..at).unwrap_or_default();
        if line.is_empty() || line == b"\r" {
            // Names of cameras and realms are often in Latin-1.
            let text = bytes.get(..line_start)?.iter().map(|byte| char::from(*byte)).collect();
            return Some((text, at + 1));
        }
        line_start = at + 1;
    }
    None
}

/// A parsed message head.
struct Message {
    first: Vec<String>,
    headers: Vec<(String, String)>,
    body: usize,
}

impl Message {
    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let first: Vec<_> = lines.next()?.split_whitespace().map(str::to_owned).collect();
        let is_answer =
            first.first().is_some_and(|word| word.starts_with("RTSP/") || word.starts_with("HTTP/"));
        let is_request = first.get(2).is_some_and(|word| word.starts_with("RTSP/"));
        let has_code = first.get(1).is_some_and(|word| word.parse::<u16>().is_ok());
        if !(is_answer && has_code || is_request) {
            return None;
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t'])
                && let Some((_, value)) = headers.last_mut()
            {
                value.push(' ');
                value.push_str(line.trim());
            } else if let Some((name, value)) = line.split_once(':') {
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
        let body = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        Some(Self { first, headers, body })
    }

    fn item(self, body: Vec<u8>) -> Item {
        let mut words = self.first.into_iter();
        let first = words.next().unwrap_or_default();
        if first.contains('/') {
            let code = words.next().and_then(|code| code.parse().ok()).unwrap_or(0);
            let reason = words.collect::<Vec<_>>().join(" ");
            return Item::Response(Response { version: first, code, reason, headers: self.headers, body });
        }
        let cseq = self.headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("CSeq"));
        Item::Request(Request { method: first, cseq: cseq.map(|(_, value)| value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `bytes`, which arrive in pieces of `size` bytes.
    fn read(bytes: &[u8], size: usize) -> Vec<Item> {
        let (mut inbox, mut items) = (Inbox::default(), Vec::new());
        for piece in bytes.chunks(size) {
            inbox.push(piece);
            while let Some(item) = inbox.next().unwrap() {
                items.push(item);
            }
        }
        items
    }

    fn response(items: &[Item]) -> &Response {
        match items {
            [Item::Response(response)] => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parses_responses_in_all_notations_and_chunk_sizes() {
        let answers = [
            "RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\nv=0\n",
            "\r\n\r\nRTSP/1.0 200 OK\r\ncseq:2\r\ncontent-length:4\r\n\r\nv=0\n",
            "RTSP/1.0 200 OK\nCSeq: 2\nContent-Length: 4\n\nv=0\n",
            "RTSP/1.0 200\r\nCSeq: 2\r\nServer: caf\u{e9}\r\nContent-Length: 4\r\n\r\nv=0\n",
        ];
        for answer in answers {
            let bytes: Vec<u8> = answer.chars().map(|c| c as u8).collect();
            for size in [1, 7, 1000] {
                let items = read(&bytes, size);
                let response = response(&items);
                assert_eq!((response.code, response.cseq()), (200, Some(2)), "{answer}");
                assert_eq!(response.body, b"v=0\n");
            }
        }
    }

    #[test]
    fn separates_interleaved_packets_requests_and_responses() {
        let mut bytes = interleaved(0, b"RTP").unwrap();
        bytes.extend(b"OPTIONS rtsp://c/ RTSP/1.0\r\nCSeq: 7\r\n\r\n");
        bytes.extend(interleaved(77, b"").unwrap());
        bytes.extend(b"RTSP/1.0 454 Session Not Found\r\n\r\n");
        for size in [1, 3, 1000] {
            let items = read(&bytes, size);
            assert_eq!(items[0], Item::Data { channel: 0, payload: b"RTP".to_vec() });
            let request = Request { method: "OPTIONS".into(), cseq: Some("7".into()) };
            assert_eq!(answer(&request), b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n");
            assert_eq!(items[1], Item::Request(request));
            assert_eq!(items[2], Item::Data { channel: 77, payload: vec![] });
            assert_eq!(response(&items[3..]).reason, "Session Not Found");
        }
    }

    #[test]
    fn finds_the_next_message_after_invalid_bytes() {
        let mut bytes = vec![0u8, 1, 2, b'A', 0xff, 3, 4];
        bytes.extend(b"RTSP/1.0 200 OK\r\n\r\n");
        assert_eq!(response(&read(&bytes, 1000)).code, 200);
    }

    #[test]
    fn rejects_a_tls_record_and_an_oversized_header() {
        let mut inbox = Inbox::default();
        inbox.push(&[0x15, 3, 3, 0, 2, 2, 40]);
        assert_eq!(inbox.next(), Err(Malformed::Tls));
        let mut inbox = Inbox::default();
        inbox.push("RTSP/1.0 200 OK\r\n".repeat(5_000).as_bytes());
        assert_eq!(inbox.next(), Err(Malformed::TooLarge));
    }
}
