//! `lookout replay`.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use lookout_args::ReplayArgs;
use lookout_broker::{Due, Merge, Pace, Recording, RecordingError, Replayer, Speed, shifted};
use lookout_config::KafkaSettings;
use lookout_schema::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::{
    check::WRONG_INPUT,
    reach::{Reach, block_on},
};

pub(crate) fn run(args: &ReplayArgs) -> ExitCode {
    let reach = Reach {
        brokers: args.brokers.as_deref(),
        pipeline: args.pipeline.as_deref(),
        topic_prefix: &args.topic_prefix,
    };
    let opened = reach.kafka().and_then(|kafka| {
        let speed = speed(&args.speed)?;
        let recording = Recording::open(&args.file);
        let recording = recording.map_err(|error| format!("{}: {error}", args.file.display()))?;
        Ok((kafka, speed, recording))
    });
    match opened {
        Ok((kafka, speed, recording)) => block_on("replay", replay(args, &kafka, speed, recording)),
        Err(what) => {
            let _ = writeln!(io::stderr(), "lookout replay: {what}");
            ExitCode::from(WRONG_INPUT)
        }
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    match (text, text.parse::<f64>()) {
        ("max", _) => Ok(Speed::Max),
        (_, Ok(times)) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
        _ => Err(format!("--speed: `{text}` is neither a number above 0 nor `max`")),
    }
}

async fn replay(
    args: &ReplayArgs,
    kafka: &KafkaSettings,
    speed: Speed,
    mut recording: Recording,
) -> anyhow::Result<()> {
    let mut run = Run {
        replayer: Replayer::start(kafka, recording.partitions())?,
        pace: Pace::new(speed),
        shift_time: args.shift_time,
        started: None,
        messages: 0,
    };
    let mut merge = Merge::default();
    let read = loop {
        match recording.next_message() {
            Ok(Some(message)) => merge.push(message),
            Ok(None) => break Ok(()),
            // The complete messages before the error are still written.
            Err(error) => break Err(error),
        }
        while let Some(due) = merge.pop() {
            run.send(due).await?;
        }
    };
    while let Some(due) = merge.pop_last() {
        run.send(due).await?;
    }
    let Run { replayer, started, messages, .. } = run;
    replayer.finish().await?;
    let seconds = started.map_or(0.0, |(started, _)| started.elapsed().as_secs_f64());
    writeln!(io::stdout(), "{messages} messages in {seconds:.1} s")?;
    if recording.is_cut_off() {
        let file = args.file.display();
        let _ =
            writeln!(io::stderr(), "lookout replay: {file} is truncated; its complete messages were written");
    }
    read.map_err(|error: RecordingError| anyhow::Error::new(error).context(args.file.display().to_string()))
}

struct Run {
    replayer: Replayer,
    pace: Pace,
    shift_time: bool,
    /// When the first message was sent.
    started: Option<(Instant, Timestamp)>,
    messages: u64,
}

impl Run {
    async fn send(&mut self, due: Due) -> anyhow::Result<()> {
        let after = self.pace.after(due.at_ms);
        let (started, started_at) = *self.started.get_or_insert_with(|| (Instant::now(), Timestamp::now()));
        let when =
            started.checked_add(after).context("the timestamp of a message is too far in the future")?;
        sleep_until(when).await;
        let mut message = due.message;
        if self.shift_time
            && let Some(was_ms) = message.time_ms
        {
            // The due time is used instead of the current time, so that the intervals between records do not
            // change.
            let now = started_at + after.max(self.late(started));
            let by_us = now.as_unix_us().saturating_sub(was_ms.saturating_mul(1000));
            message.time_ms = Some(now.as_unix_us() / 1000);
            if let Some(value) =
                message.value.as_deref().and_then(|value| shifted(message.kind, value, by_us))
            {
                message.value = Some(value);
            }
        }
        self.replayer.send(&message).await?;
        self.messages += 1;
        Ok(())
    }

    /// Returns the time since the start if the speed is `max`: messages are then due when they are sent.
    fn late(&self, started: Instant) -> Duration {
        if self.pace.is_max() { started.elapsed() } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_speeds() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("0.5"), Ok(Speed::Times(0.5)));
        for bad in ["", "0", "-1", "nan", "inf", "fast"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
