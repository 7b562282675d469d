//! Prints the detections of all cameras, one line per frame, from records in JSON or Protobuf.
//!
//! `example-consume BROKERS [TOPIC_PREFIX [GROUP [COUNT]]]`

use std::{
    collections::HashMap,
    env,
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, Result};
use lookout_schema::{CameraId, Epoch, FrameRecord};
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let arg = |at: usize, otherwise: &str| args.get(at).map_or(otherwise, String::as_str).to_owned();
    let brokers = args.first().context("usage: example-consume BROKERS [TOPIC_PREFIX [GROUP [COUNT]]]")?;
    let topic = format!("{}.frames.v1", arg(1, "lookout"));
    let count = args.get(3).map(|count| count.parse::<u64>()).transpose().context("COUNT")?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", arg(2, "lookout-example-rust"))
        // Used for partitions without a committed offset.
        .set("auto.offset.reset", "earliest")
        // The partitions of a failed member are reassigned after this time; the default is 45 s.
        .set("session.timeout.ms", "6000")
        // Offsets are stored after processing: a crash may repeat frames, but loses none.
        .set("enable.auto.offset.store", "false")
        .create()?;
    consumer.subscribe(&[&topic])?;
    let mut epochs: HashMap<CameraId, Epoch> = HashMap::new();
    let mut printed = 0;
    while count.is_none_or(|count| printed < count) {
        let message = match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                writeln!(io::stderr(), "{error}")?;
                continue;
            }
            None => continue,
        };
        // Decodes both formats, ignores unknown fields, and rejects invalid records.
        match lookout_wire::decode::<FrameRecord>(message.payload().unwrap_or_default()) {
            Ok(frame) => {
                let newest = epochs.entry(frame.camera.clone()).or_insert(frame.epoch);
                // A record with a lower epoch is from a worker that no longer owned the camera.
                if frame.epoch >= *newest {
                    *newest = frame.epoch;
                    writeln!(io::stdout(), "{}", line(&frame))?;
                    printed += 1;
                }
            }
            Err(error) => {
                let (partition, offset) = (message.partition(), message.offset());
                writeln!(io::stderr(), "{topic}[{partition}]@{offset} could not be read: {error}")?;
            }
        }
        consumer.store_offset_from_message(&message)?;
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    Ok(())
}

fn line(frame: &FrameRecord) -> String {
    let seen: Vec<String> = frame
        .detections
        .iter()
        .map(|seen| {
            let b = seen.bbox;
            format!("{} {:.2} [{:.0} {:.0} {:.0} {:.0}]", seen.label, seen.score, b.x1, b.y1, b.x2, b.y2)
        })
        .collect();
    let line = format!("{} {} {} ms: {}", frame.captured_at, frame.camera, frame.age_ms, seen.join(", "));
    line.trim_end().to_owned()
}
