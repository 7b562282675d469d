//! Writes tracks to their topic. Tracks are frequent, and each record is superseded by the next one, so
//! tracks that cannot be written while the brokers are unavailable are dropped and counted.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesOrdered};
use lookout_broker::{RecordWriter, Written};
use lookout_schema::{Timestamp, TrackRecord};
use tokio::sync::mpsc;

use crate::MonitorError;

/// The capacity of the queue in batches. Further batches are dropped.
const WAITING: usize = 256;
/// The maximum number of records in flight.
const WINDOW: usize = 2_000;

pub(super) type Tracks = mpsc::Sender<Vec<TrackRecord>>;

pub(super) fn channel() -> (Tracks, mpsc::Receiver<Vec<TrackRecord>>) {
    mpsc::channel(WAITING)
}

/// Runs until all senders are dropped.
pub(super) async fn write(
    mut inbox: mpsc::Receiver<Vec<TrackRecord>>,
    writer: Arc<RecordWriter>,
) -> Result<(), MonitorError> {
    let mut on_their_way = FuturesOrdered::new();
    loop {
        tokio::select! {
            batch = inbox.recv(), if on_their_way.len() < WINDOW => {
                let Some(batch) = batch else { break };
                for mut track in batch {
                    let writer = Arc::clone(&writer);
                    track.published_at = Timestamp::now();
                    track.age_ms = track.published_at.ms_since(track.captured_at);
                    on_their_way.push_back(async move { writer.write(Written::Track(&track)).await });
                }
            }
            Some(written) = on_their_way.next() => {
                if let Err(error) = written {
                    tracing::debug!(%error, "a track was not written");
                }
            }
        }
    }
    while on_their_way.next().await.is_some() {}
    Ok(())
}
