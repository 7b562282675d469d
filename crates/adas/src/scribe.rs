//! Writes alerts and tracks without ever holding up whoever finds them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use lookout_broker::{BrokerError, RecordWriter, Written};
use lookout_schema::{AlertRecord, Timestamp, TrackRecord};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::metrics::Metrics;

/// Records that may wait for the brokers. Beyond it they are dropped and counted: a warning that comes minutes late
/// is none.
const QUEUE: usize = 4096;
/// Places that are kept for alerts.
const FOR_ALERTS: usize = 1024;
/// Records on their way at a time.
const BATCH: usize = 256;
/// How long it waits before it writes again what the brokers have refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Outgoing {
    Alert(AlertRecord),
    Track(TrackRecord),
}

/// Hands records to the task that writes them.
pub(crate) struct Scribe {
    queue: mpsc::Sender<Outgoing>,
    task: JoinHandle<()>,
    metrics: Arc<Metrics>,
    trouble: watch::Receiver<Option<String>>,
}

impl Outgoing {
    fn kind(&self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
            Self::Track(_) => "track",
        }
    }

    fn date(&mut self, now: Timestamp) {
        match self {
            Self::Alert(alert) => {
                alert.published_at = now;
                alert.age_ms = now.ms_since(alert.at);
            }
            Self::Track(track) => {
                track.published_at = now;
                track.age_ms = now.ms_since(track.captured_at);
            }
        }
    }

    fn written(&self) -> Written<'_> {
        match self {
            Self::Alert(alert) => Written::Alert(alert),
            Self::Track(track) => Written::Track(track),
        }
    }
}

impl Scribe {
    pub(crate) fn start(writer: RecordWriter, metrics: &Arc<Metrics>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (told_trouble, trouble) = watch::channel(None);
        let task = tokio::spawn(write(writer, waiting, Arc::clone(metrics), told_trouble));
        Self { queue, task, metrics: Arc::clone(metrics), trouble }
    }

    /// Why records are not written at present.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    pub(crate) fn alert(&self, alert: AlertRecord) {
        self.metrics.alert(&alert);
        self.send(Outgoing::Alert(alert));
    }

    pub(crate) fn track(&self, track: TrackRecord) {
        if self.queue.capacity() <= FOR_ALERTS {
            return self.metrics.not_written("track", "queue_full");
        }
        self.send(Outgoing::Track(track));
    }

    fn send(&self, record: Outgoing) {
        if let Err(error) = self.queue.try_send(record) {
            let kind = error.into_inner().kind();
            self.metrics.not_written(kind, "queue_full");
            tracing::warn!(kind, "a record is not written, too many wait for the brokers");
        }
    }

    /// Waits until all is written, for `patience` at most.
    pub(crate) async fn finish(self, patience: Duration) {
        drop(self.queue);
        let mut task = self.task;
        if timeout(patience, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("not all alerts and tracks could be written before the end");
        }
    }
}

async fn write(
    writer: RecordWriter,
    mut waiting: mpsc::Receiver<Outgoing>,
    metrics: Arc<Metrics>,
    trouble: watch::Sender<Option<String>>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let now = Timestamp::now();
        batch.iter_mut().for_each(|record| record.date(now));
        // Those of a kind keep their order, and alerts do not wait for tracks.
        batch.sort_by_key(|record| matches!(record, Outgoing::Track(_)));
        while !batch.is_empty() {
            let written = join_all(batch.iter().map(|record| writer.write(record.written()))).await;
            let mut refused = None;
            let mut again = Vec::new();
            for (record, written) in batch.drain(..).zip(written) {
                match written {
                    Ok(()) => metrics.written(record.kind()),
                    // Rights that were taken away may be given back.
                    Err(error @ BrokerError::WriteRefused { .. }) => {
                        refused = Some(error.to_string());
                        again.push(record);
                    }
                    Err(error) => {
                        metrics.not_written(record.kind(), "rejected");
                        tracing::warn!(%error, kind = record.kind(), "a record is not written");
                    }
                }
            }
            batch = again;
            if *trouble.borrow() != refused {
                match &refused {
                    Some(reason) => tracing::warn!(reason, "alerts and tracks wait to be written"),
                    None => tracing::info!("alerts and tracks are written again"),
                }
                trouble.send_replace(refused);
            }
            if !batch.is_empty() {
                sleep(TRY_AGAIN).await;
            }
        }
    }
}
