//! Checkpoints: written in one transaction, and read at the start.

use std::sync::Arc;

use lookout_config::WebhookSettings;
use lookout_schema::{AlertRecord, RecordKind};
use lookout_wire::{Offsets, TopicIds};
use rusqlite::{Transaction, params};

use super::{Store, alerts::put, outbox};
use crate::{
    error::StoreError,
    state::{Checkpoint, RestoredState},
};

/// The record kinds whose offsets are stored. The registry is read from its beginning at each start.
const KINDS: [(RecordKind, &str); 4] = [
    (RecordKind::Frame, "frame"),
    (RecordKind::Status, "status"),
    (RecordKind::Snapshot, "snapshot"),
    (RecordKind::Alert, "alert"),
];

impl Store {
    /// Commits the whole checkpoint or nothing. Returns the alerts that were not known before.
    pub(crate) async fn commit(&self, checkpoint: Arc<Checkpoint>) -> Result<Vec<AlertRecord>, StoreError> {
        let hooks = Arc::clone(&self.hooks);
        self.write(move |connection| {
            let transaction = connection.transaction()?;
            let new = write(&transaction, &checkpoint, &hooks)?;
            transaction.commit()?;
            Ok(new)
        })
        .await
    }

    /// Returns the last committed state.
    pub(crate) async fn kept(&self) -> Result<RestoredState, StoreError> {
        self.write(|connection| {
            let mut kept = RestoredState::default();
            let mut query = connection.prepare("SELECT kind, part, next FROM places")?;
            let places =
                query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
            for place in places {
                let (name, part, next): (String, i32, i64) = place?;
                let kind = KINDS.iter().find(|(_, known)| *known == name);
                kept.places.extend(kind.map(|(kind, _)| ((*kind, part), next)));
            }
            let mut query = connection.prepare("SELECT kind, id FROM topics")?;
            let topics = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
            for topic in topics {
                let (name, id): (String, String) = topic?;
                let kind = KINDS.iter().find(|(_, known)| *known == name);
                kept.topic_ids.extend(kind.map(|(kind, _)| (*kind, id)));
            }
            let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let mut query = connection.prepare("SELECT id, state FROM cameras WHERE state IS NOT NULL")?;
            kept.cameras = query.query_map([], pair)?.collect::<Result<_, _>>()?;
            let mut query = connection.prepare("SELECT id, state FROM workers")?;
            kept.workers = query.query_map([], pair)?.collect::<Result<_, _>>()?;
            Ok(kept)
        })
        .await
    }
}

fn write(
    transaction: &Transaction<'_>,
    checkpoint: &Checkpoint,
    hooks: &[WebhookSettings],
) -> Result<Vec<AlertRecord>, StoreError> {
    if let Some((places, topic_ids)) = &checkpoint.places {
        write_places(transaction, places)?;
        write_topic_ids(transaction, topic_ids)?;
    }
    let mut camera = transaction.prepare_cached(
        "INSERT INTO cameras (id, state) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
    )?;
    for (id, state) in &checkpoint.cameras {
        camera.execute(params![id.as_str(), state])?;
    }
    let mut worker =
        transaction.prepare_cached("INSERT OR REPLACE INTO workers (id, state) VALUES (?1, ?2)")?;
    for (id, state) in &checkpoint.workers {
        worker.execute(params![id.as_str(), state])?;
    }
    for id in &checkpoint.gone {
        transaction.execute("UPDATE cameras SET state = NULL WHERE id = ?1", [id.as_str()])?;
    }
    for id in &checkpoint.gone_workers {
        transaction.execute("DELETE FROM workers WHERE id = ?1", [id.as_str()])?;
    }
    for (id, bucket) in &checkpoint.buckets {
        super::history::add(transaction, id, bucket)?;
    }
    let mut new = Vec::new();
    for alert in &checkpoint.alerts {
        if put(transaction, alert)? {
            outbox::add(transaction, alert, hooks)?;
            new.push(alert.clone());
        }
    }
    for alert in &checkpoint.read {
        if put(transaction, alert)? {
            new.push(alert.clone());
        }
        outbox::remove_published(transaction, alert)?;
    }
    Ok(new)
}

fn write_places(transaction: &Transaction<'_>, places: &Offsets) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM places", [])?;
    let mut place =
        transaction.prepare_cached("INSERT OR REPLACE INTO places (kind, part, next) VALUES (?1, ?2, ?3)")?;
    for ((kind, part), next) in places {
        if let Some((_, name)) = KINDS.iter().find(|(known, _)| known == kind) {
            place.execute(params![name, part, next])?;
        }
    }
    Ok(())
}

fn write_topic_ids(transaction: &Transaction<'_>, ids: &TopicIds) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM topics", [])?;
    let mut topic = transaction.prepare_cached("INSERT INTO topics (kind, id) VALUES (?1, ?2)")?;
    for (kind, id) in ids {
        if let Some((_, name)) = KINDS.iter().find(|(known, _)| known == kind) {
            topic.execute(params![name, id])?;
        }
    }
    Ok(())
}
