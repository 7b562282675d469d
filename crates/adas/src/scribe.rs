//! Writes alerts and tracks without ever holding up whoever finds them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use lookout_broker::{RecordWriter, Written};
use lookout_schema::{AlertRecord, Timestamp, TrackRecord};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::metrics::Metrics;

/// Records that may wait for the brokers. Beyond it they are dropped and counted: a warning that comes minutes late
/// is none.
const QUEUE: usize = 4096;
/// Places that are kept for alerts.
const FOR_ALERTS: usize = 1024;
/// Records on their way at a time.
const BATCH: usize = 256;

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
        let task = tokio::spawn(write(writer, waiting, Arc::clone(metrics)));
        Self { queue, task, metrics: Arc::clone(metrics) }
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

async fn write(writer: RecordWriter, mut waiting: mpsc::Receiver<Outgoing>, metrics: Arc<Metrics>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let now = Timestamp::now();
        batch.iter_mut().for_each(|record| record.date(now));
        // Those of a kind keep their order, and alerts do not wait for tracks.
        batch.sort_by_key(|record| matches!(record, Outgoing::Track(_)));
        let written = join_all(batch.iter().map(|record| writer.write(record.written()))).await;
        for (record, written) in batch.drain(..).zip(written) {
            match written {
                Ok(()) => metrics.written(record.kind()),
                Err(error) => {
                    metrics.not_written(record.kind(), "rejected");
                    tracing::warn!(%error, kind = record.kind(), "a record is not written");
                }
            }
        }
    }
}
