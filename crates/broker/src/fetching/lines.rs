//! Parsing of librdkafka's log lines that contain what its API does not report.

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

/// The debug context in which librdkafka logs a topic's id.
const CONTEXT: &str = "topic";
/// The id of a topic that is not known yet.
#[cfg(test)]
pub(super) const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// The content of a parsed line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    TopicId {
        topic: &'a str,
        id: &'a str,
    },
    /// The partition no longer has, or does not have yet, the offset `from`.
    OffsetReset {
        topic: &'a str,
        partition: i32,
        from: i64,
    },
}

/// Makes a client log these lines.
pub(crate) fn configure(config: &mut ClientConfig) {
    let contexts = match config.get("debug") {
        None | Some("") => CONTEXT.to_owned(),
        Some(own) => format!("{own},{CONTEXT}"),
    };
    config.set("debug", contexts);
    config.set_log_level(RDKafkaLogLevel::Debug);
}

/// Parses a line; `None` if it is neither of the two.
pub(crate) fn read<'a>(facility: &str, line: &'a str) -> Option<Line<'a>> {
    // Each line starts with `[thrd:NAME]: `.
    let (_, text) = line.split_once("]: ")?;
    match facility {
        "METADATA" => {
            let (topic, ids) = text.strip_prefix("Topic ")?.split_once(" changed id from ")?;
            let (_, id) = ids.split_once(" to ")?;
            Some(Line::TopicId { topic, id: id.trim() })
        }
        "OFFSET" => {
            let (place, rest) = text.split_once("]: offset reset (at offset ")?;
            let (topic, partition) = place.split_once(" [")?;
            let from: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(Line::OffsetReset { topic, partition: partition.parse().ok()?, from: from.parse().ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_librdkafkas_log_lines() {
        let id = "[thrd:main]: Topic lookout.frames changed id from AAAAAAAAAAAAAAAAAAAAAA to 5VYf_aTrRBeKKXhJmkV6yQ";
        let expected = Line::TopicId { topic: "lookout.frames", id: "5VYf_aTrRBeKKXhJmkV6yQ" };
        assert_eq!(read("METADATA", id), Some(expected));
        let reset = "[thrd:main]: lookout.frames [2]: offset reset (at offset 57 (leader epoch 0), broker 1) to cached \
                     BEGINNING offset 90 (leader epoch -1): fetch failed due to requested offset not available on the \
                     broker: Broker: Offset out of range";
        let expected = Line::OffsetReset { topic: "lookout.frames", partition: 2, from: 57 };
        assert_eq!(read("OFFSET", reset), Some(expected));
        for (facility, line) in [
            ("METADATA", "[thrd:main]: Topic lookout.frames [0] Leader 1 Epoch 0"),
            ("OFFSET", "[thrd:main]: lookout.frames [2]: offset reset (at offset INVALID (leader epoch -1)"),
            ("OFFSET", "offset reset (at offset 57"),
            ("FETCH", id),
        ] {
            assert_eq!(read(facility, line), None, "{line}");
        }
    }
}
