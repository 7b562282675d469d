//! Start of the consumer loop.

use std::{pin::pin, sync::Arc, time::Duration};

use lookout_broker::{OnMissingTopic, ReadFrom, ReadRecord, ReaderOptions, RecordReader, Refused};
use lookout_config::{KafkaSettings, StartFrom};
use lookout_schema::RecordKind;
use tokio::{sync::watch, time::sleep};

use super::ConsumerLoop;
use crate::{
    MonitorError,
    error::StoreError,
    shared::{is_set, locked},
    state::Checkpoint,
    store::Store,
};

/// The record kinds that are read. Tracks are left out, because the monitor computes its own.
const KINDS: [RecordKind; 5] =
    [RecordKind::Camera, RecordKind::Status, RecordKind::Frame, RecordKind::Snapshot, RecordKind::Alert];
const RECENT: Duration = Duration::from_secs(3600);
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Alerts per commit.
const BATCH: usize = 500;

impl ConsumerLoop {
    /// Opens the reader of all records; `None` if `stopped` is set before the brokers answer. The topic of
    /// the alerts is read to its end and committed first, so that an alert that was published just before a
    /// crash is not published again.
    pub(super) async fn open_reader(
        &mut self,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<Option<RecordReader>, MonitorError> {
        let (places, topic_ids) = self.state.places();
        let from = match (places.is_empty(), self.settings.start_from) {
            (false, _) => ReadFrom::Offsets(places, topic_ids),
            (true, StartFrom::Recent) => ReadFrom::Ago(RECENT),
            (true, StartFrom::Earliest) => ReadFrom::Beginning,
            (true, StartFrom::Latest) => ReadFrom::Now,
        };
        let alerts = ReaderOptions {
            from: from.clone(),
            kinds: vec![RecordKind::Alert],
            until_end: true,
            missing: OnMissingTopic::Follow,
            ..ReaderOptions::default()
        };
        let all = ReaderOptions {
            from,
            kinds: KINDS.into(),
            missing: OnMissingTopic::Follow,
            refused: Refused::Wait,
            ..ReaderOptions::default()
        };
        let (kafka, store) = (self.settings.kafka.clone(), self.shared.store.clone());
        loop {
            let mut opened = pin!(try_open_reader(&kafka, &store, (&alerts, &all)));
            let opened = loop {
                tokio::select! {
                    opened = &mut opened => break opened,
                    // Queries cannot be answered before the first record, so they are dropped.
                    Some(_) = self.asks.recv() => {}
                    () = is_set(stopped) => return Ok(None),
                }
            };
            match opened {
                Ok(reader) => {
                    let mut health = locked(&self.shared.health);
                    (health.brokers, health.store) = (None, None);
                    return Ok(Some(reader));
                }
                Err(MonitorError::Broker(error)) => {
                    let reason = error.to_string();
                    let mut health = locked(&self.shared.health);
                    if health.brokers.as_ref() != Some(&reason) {
                        tracing::warn!(reason, "the monitor waits for the brokers");
                        health.brokers = Some(reason);
                    }
                }
                Err(MonitorError::Store(error)) if !matches!(error, StoreError::Stopped) => {
                    self.store_failed(&error);
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = sleep(TRY_AGAIN) => {}
                () = is_set(stopped) => return Ok(None),
            }
        }
    }
}

async fn try_open_reader(
    kafka: &KafkaSettings,
    store: &Store,
    (alerts, all): (&ReaderOptions, &ReaderOptions),
) -> Result<RecordReader, MonitorError> {
    let mut reader = RecordReader::open(kafka, alerts).await?;
    let mut checkpoint = Checkpoint::default();
    loop {
        let next = reader.next().await?;
        let is_end = next.is_none();
        if let Some(ReadRecord::Alert(alert)) = next {
            checkpoint.read.push(*alert);
        }
        if checkpoint.read.len() >= BATCH || is_end {
            store.commit(Arc::new(std::mem::take(&mut checkpoint))).await?;
        }
        if is_end {
            break;
        }
    }
    Ok(RecordReader::open(kafka, all).await?)
}
