//! `lookout tail`.

mod lines;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use lookout_args::TailArgs;
use lookout_broker::{
    OnMissingTopic, ReadFrom, ReadRecord, ReaderOptions, RecordReader, RecordWithOffset, Recorded,
    RecordingWriter,
};
use lookout_config::KafkaSettings;
use lookout_schema::RecordKind;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    check::WRONG_INPUT,
    reach::{Reach, block_on},
};

/// Interval at which the recording is flushed, and therefore the maximum loss if the process is killed.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &TailArgs) -> ExitCode {
    let reach = Reach {
        brokers: args.brokers.as_deref(),
        pipeline: args.pipeline.as_deref(),
        topic_prefix: &args.topic_prefix,
    };
    match reach.kafka().and_then(|kafka| Ok((kafka, options(args)?))) {
        Ok((kafka, options)) => block_on("tail", tail(args, &kafka, &options)),
        Err(what) => {
            let _ = writeln!(io::stderr(), "lookout tail: {what}");
            ExitCode::from(WRONG_INPUT)
        }
    }
}

fn options(args: &TailArgs) -> Result<ReaderOptions, String> {
    let camera =
        args.camera.as_deref().map(str::parse).transpose().map_err(|error| format!("--camera: {error}"))?;
    let from = if args.from_beginning || args.until_end { ReadFrom::Beginning } else { ReadFrom::Now };
    let wanted = [
        (RecordKind::Frame, true),
        (RecordKind::Status, args.status),
        (RecordKind::Snapshot, args.snapshots),
        (RecordKind::Track, args.tracks),
        (RecordKind::Alert, args.alerts),
    ];
    let kinds = wanted.into_iter().filter_map(|(kind, wanted)| wanted.then_some(kind)).collect();
    // Workers always write frame and status records, so the reader waits for these topics. The other topics
    // may not exist.
    let optional = args.snapshots || args.tracks || args.alerts;
    let missing = if optional { OnMissingTopic::Follow } else { OnMissingTopic::Wait };
    Ok(ReaderOptions { from, kinds, until_end: args.until_end, camera, missing, ..ReaderOptions::default() })
}

async fn tail(args: &TailArgs, kafka: &KafkaSettings, options: &ReaderOptions) -> anyhow::Result<()> {
    let mut stops = Stops::new()?;
    // Waits for the brokers and the topics.
    let opened = tokio::select! {
        opened = RecordReader::open(kafka, options) => opened,
        () = stops.next() => return Ok(()),
    };
    let mut reader = opened?;
    let Some(file) = &args.save else {
        return print(args, &mut reader, &mut stops).await;
    };
    let mut saver = Saver::create(file, &reader)?;
    let ended = save(args, &mut reader, &mut saver, &mut stops).await;
    // The recording is completed on errors as well.
    saver.finish()?;
    ended
}

/// Prints records until the end or a signal.
async fn print(args: &TailArgs, reader: &mut RecordReader, stops: &mut Stops) -> anyhow::Result<()> {
    let mut printer = Printer::new(args);
    while printer.wants_more() {
        tokio::select! {
            next = reader.next_with_offset() => {
                let Some(placed) = next? else { break };
                printer.print(&placed)?;
            }
            () = stops.next() => break,
        }
    }
    Ok(())
}

/// SIGINT and SIGTERM. They are handled because the kernel does not end the first process of a container at a signal for
/// which it has no handler.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot install handlers for SIGINT and SIGTERM");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for a signal.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

/// Prints and saves records until the end or a signal.
async fn save(
    args: &TailArgs,
    reader: &mut RecordReader,
    saver: &mut Saver<'_>,
    stops: &mut Stops,
) -> anyhow::Result<()> {
    let mut printer = Printer::new(args);
    let mut flush = interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while printer.wants_more() {
        tokio::select! {
            next = reader.next_recorded() => {
                let Some((placed, message)) = next? else { break };
                saver.write(&message)?;
                printer.print(&placed)?;
            }
            _ = flush.tick() => saver.flush()?,
            () = stops.next() => break,
        }
    }
    Ok(())
}

struct Printer {
    json: bool,
    frames_left: Option<u64>,
}

impl Printer {
    fn new(args: &TailArgs) -> Self {
        Self { json: args.json, frames_left: args.count }
    }

    fn wants_more(&self) -> bool {
        self.frames_left != Some(0)
    }

    fn print(&mut self, placed: &RecordWithOffset) -> anyhow::Result<()> {
        if let ReadRecord::Unreadable { topic, partition, offset, reason } = &placed.record {
            tracing::warn!(topic, partition, offset, reason, "unreadable record");
            return Ok(());
        }
        if placed.kind == RecordKind::Frame {
            self.frames_left = self.frames_left.map(|left| left.saturating_sub(1));
        }
        let line = if self.json { lines::json(&placed.record)? } else { lines::text(&placed.record) };
        if let Some(line) = line {
            // Each line is flushed, so that the reader of a pipe receives it immediately.
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()?;
        }
        Ok(())
    }
}

struct Saver<'a> {
    file: &'a Path,
    writer: RecordingWriter,
    messages: u64,
}

impl<'a> Saver<'a> {
    fn create(file: &'a Path, reader: &RecordReader) -> anyhow::Result<Self> {
        let writer = RecordingWriter::create(file, &reader.partitions());
        let writer = writer.with_context(|| format!("cannot create {}", file.display()))?;
        Ok(Self { file, writer, messages: 0 })
    }

    fn write(&mut self, message: &Recorded) -> anyhow::Result<()> {
        self.messages += 1;
        self.writer.write(message).with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.flush().with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn finish(self) -> anyhow::Result<()> {
        self.writer.finish().with_context(|| format!("cannot write {}", self.file.display()))?;
        let _ = writeln!(io::stderr(), "saved {} messages to {}", self.messages, self.file.display());
        Ok(())
    }
}
