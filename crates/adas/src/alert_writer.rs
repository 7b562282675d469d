//! The alert writer: writes alerts and tracks without blocking the consumer loop.

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

/// The capacity of the queue. Further records are dropped and counted, because a warning that arrives minutes
/// late is useless.
const QUEUE: usize = 4096;
/// The capacity reserved for alerts.
const FOR_ALERTS: usize = 1024;
/// The maximum number of records in flight.
const BATCH: usize = 256;
/// The wait before records that the brokers refused are retried.
const TRY_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Outgoing {
    Alert(AlertRecord),
    Track(TrackRecord),
}

/// The handle of the task that writes records.
pub(crate) struct AlertWriter {
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

impl AlertWriter {
    pub(crate) fn start(writer: RecordWriter, metrics: &Arc<Metrics>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (trouble_sender, trouble) = watch::channel(None);
        let task = tokio::spawn(write(writer, waiting, Arc::clone(metrics), trouble_sender));
        Self { queue, task, metrics: Arc::clone(metrics), trouble }
    }

    /// Returns why records are currently not written.
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
            tracing::warn!(kind, "record dropped, the queue of records for the brokers is full");
        }
    }

    /// Waits until all records are written, for `patience` at most.
    pub(crate) async fn finish(self, patience: Duration) {
        drop(self.queue);
        let mut task = self.task;
        if timeout(patience, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("not all alerts and tracks could be written before shutdown");
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
        // Alerts come before tracks; within a kind the order is kept.
        batch.sort_by_key(|record| matches!(record, Outgoing::Track(_)));
        while !batch.is_empty() {
            let written = join_all(batch.iter().map(|record| writer.write(record.written()))).await;
            let mut refused = None;
            let mut again = Vec::new();
            for (record, written) in batch.drain(..).zip(written) {
                match written {
                    Ok(()) => metrics.written(record.kind()),
                    // Permissions that were revoked may be granted again.
                    Err(error @ BrokerError::WriteRefused { .. }) => {
                        refused = Some(error.to_string());
                        again.push(record);
                    }
                    Err(error) => {
                        metrics.not_written(record.kind(), "rejected");
                        tracing::warn!(%error, kind = record.kind(), "record dropped, it could not be written");
                    }
                }
            }
            batch = again;
            if *trouble.borrow() != refused {
                match &refused {
                    Some(reason) => tracing::warn!(reason, "alerts and tracks cannot be written, they wait"),
                    None => tracing::info!("writing of alerts and tracks has resumed"),
                }
                trouble.send_replace(refused);
            }
            if !batch.is_empty() {
                sleep(TRY_AGAIN).await;
            }
        }
    }
}
