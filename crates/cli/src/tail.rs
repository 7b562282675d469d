//! `lookout tail`.

use std::{
    fmt::Write as _,
    io::{self, Write},
    num::NonZeroUsize,
    process::ExitCode,
};

use lookout_args::TailArgs;
use lookout_broker::{ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{Clock, FrameRecord, StatusRecord, Topics};

use crate::check::WRONG_INPUT;

pub(crate) fn run(args: &TailArgs) -> ExitCode {
    let (kafka, options) = match settings(args).and_then(|kafka| Ok((kafka, options(args)?))) {
        Ok(settings) => settings,
        Err(what) => {
            let _ = writeln!(io::stderr(), "lookout tail: {what}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(print(args, &kafka, &options)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "lookout tail: {error}");
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn settings(args: &TailArgs) -> Result<KafkaSettings, String> {
    let mut kafka = match &args.pipeline {
        Some(file) => lookout_config::read(file).map_err(|error| error.to_string())?.kafka,
        None => KafkaSettings {
            brokers: Brokers::Embedded,
            topics: Topics::new(&args.topic_prefix).map_err(|error| format!("--topic-prefix: {error}"))?,
            partitions: 0,
            replication: 0,
            buffer_records: NonZeroUsize::MIN,
            client: Vec::new(),
        },
    };
    if let Some(servers) = &args.brokers {
        kafka.brokers = Brokers::servers(servers).map_err(|what| format!("--brokers: {what}"))?;
    }
    if kafka.brokers == Brokers::Embedded {
        return Err("the embedded broker lives in the worker: give the address that `lookout run` printed \
                    with `--brokers`"
            .into());
    }
    Ok(kafka)
}

fn options(args: &TailArgs) -> Result<ReaderOptions, String> {
    let camera =
        args.camera.as_deref().map(str::parse).transpose().map_err(|error| format!("--camera: {error}"))?;
    let from = if args.from_beginning || args.until_end { ReadFrom::Beginning } else { ReadFrom::Now };
    Ok(ReaderOptions { from, until_end: args.until_end, camera, ..ReaderOptions::default() })
}

async fn print(args: &TailArgs, kafka: &KafkaSettings, options: &ReaderOptions) -> anyhow::Result<()> {
    let mut reader = RecordReader::open(kafka, options).await?;
    let mut frames = 0;
    while args.count.is_none_or(|count| frames < count) {
        let Some(record) = reader.next().await? else { break };
        let line = match &record {
            ReadRecord::Frame(frame) => {
                frames += 1;
                if args.json { serde_json::to_string(frame)? } else { frame_line(frame) }
            }
            ReadRecord::Status(_) if !args.status => continue,
            ReadRecord::Status(status) if args.json => serde_json::to_string(status)?,
            ReadRecord::Status(status) => status_line(status),
            ReadRecord::Unreadable { topic, partition, offset, reason } => {
                tracing::warn!(topic, partition, offset, reason, "a record could not be read");
                continue;
            }
            ReadRecord::Snapshot(_)
            | ReadRecord::Track(_)
            | ReadRecord::Alert(_)
            | ReadRecord::Camera { .. } => {
                continue;
            }
        };
        // A line at a time, so that a reader behind a pipe sees each as it comes.
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}

fn frame_line(frame: &FrameRecord) -> String {
    let mut line = format!("{} {} #{} {}", frame.captured_at, frame.camera, frame.seq, frame.clock.as_str());
    // A file's frames are dated by its stream time, which says nothing of how old they are.
    if frame.clock != Clock::File {
        let _ = write!(line, " age {} ms", frame.age_ms);
    }
    for (cause, frames) in &frame.dropped_before {
        let _ = write!(line, ", {frames} dropped before ({})", cause.as_str());
    }
    for seen in &frame.detections {
        let b = seen.bbox;
        let _ = write!(
            line,
            ", {} {:.2} at [{:.0} {:.0} {:.0} {:.0}]",
            seen.label, seen.score, b.x1, b.y1, b.x2, b.y2
        );
    }
    for seen in &frame.classes {
        let _ = write!(line, ", {} {:.2}", seen.label, seen.score);
    }
    line
}

fn status_line(status: &StatusRecord) -> String {
    match status {
        StatusRecord::Camera(camera) => {
            let mut line = format!(
                "{} {} is {}, {:.1} fps, {} delivered, {} dropped",
                camera.at,
                camera.camera,
                camera.status.as_str(),
                camera.fps,
                camera.ledger.delivered,
                camera.ledger.dropped.values().sum::<u64>()
            );
            if let Some(detail) = &camera.detail {
                let _ = write!(line, ": {detail}");
            }
            line
        }
        StatusRecord::Worker(worker) => format!(
            "{} worker {} is {}, {} cameras, {} {} on {}, busy {:.0} %, batches of {:.1}",
            worker.at,
            worker.worker,
            worker.state.as_str(),
            worker.cameras,
            worker.model.arch,
            worker.model.precision,
            worker.device,
            worker.device_busy * 100.0,
            worker.batch_size
        ),
    }
}
