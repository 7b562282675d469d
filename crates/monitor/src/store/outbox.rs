//! Outbox: alerts that are committed to the store and not yet delivered.

use lookout_config::WebhookSettings;
use lookout_schema::{AlertRecord, Timestamp};
use rusqlite::{Transaction, params};
use serde::Serialize;

use super::Store;
use crate::error::StoreError;

/// An alert that waits for delivery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) seq: i64,
    pub(crate) alert: AlertRecord,
    /// When it was raised, changed or cleared, by the local clock.
    pub(crate) since: Timestamp,
}

/// The delivery target for the topic of the alerts.
pub(crate) const TOPIC: &str = "";

/// Returns the delivery target for a webhook, which never equals `TOPIC`.
pub(crate) fn hook(name: &str) -> String {
    format!("webhook/{name}")
}

impl Store {
    /// Returns the oldest alerts that wait for delivery to `target`, at most `limit`.
    pub(crate) async fn waiting(&self, target: String, limit: i64) -> Result<Vec<Waiting>, StoreError> {
        self.write(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT seq, record, since FROM outbox WHERE target = ?1 ORDER BY seq LIMIT ?2",
            )?;
            let rows = query.query_map(params![target, limit], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
            })?;
            let mut waiting = Vec::new();
            for row in rows {
                let (seq, record, since) = row?;
                let alert = serde_json::from_str(&record)?;
                waiting.push(Waiting { seq, alert, since: Timestamp::from_unix_us(since) });
            }
            Ok(waiting)
        })
        .await
    }

    /// Removes alerts that were delivered or given up.
    pub(crate) async fn done(&self, seqs: Vec<i64>) -> Result<(), StoreError> {
        self.write(move |connection| {
            let transaction = connection.transaction()?;
            {
                let mut done = transaction.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?;
                for seq in &seqs {
                    done.execute([seq])?;
                }
            }
            transaction.commit()?;
            Ok(())
        })
        .await
    }
}

/// An alert that a webhook did not accept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DeadLetter {
    pub(crate) webhook: String,
    pub(crate) at: Timestamp,
    pub(crate) why: String,
    pub(crate) alert: AlertRecord,
}

impl Store {
    /// Moves an alert that `webhook` did not accept out of the outbox, so that it does not block the
    /// following alerts.
    pub(crate) async fn add_dead_letter(
        &self,
        seq: i64,
        webhook: String,
        alert: AlertRecord,
        why: String,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            let record = serde_json::to_string(&alert)?;
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO dead_letters (seq, webhook, at, why, record) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![seq, webhook, Timestamp::now().as_unix_us(), why, record],
            )?;
            transaction.execute("DELETE FROM outbox WHERE seq = ?1", [seq])?;
            transaction.commit()?;
            Ok(())
        })
        .await
    }

    /// Returns the newest alerts that webhooks did not accept, at most `limit`.
    pub(crate) async fn dead_letters(&self, limit: i64) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT webhook, at, why, record FROM dead_letters ORDER BY at DESC, seq DESC LIMIT ?1",
            )?;
            let rows = query.query_map([limit], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
            })?;
            let mut all = Vec::new();
            for row in rows {
                let (webhook, at, why, record) = row?;
                let alert = serde_json::from_str(&record)?;
                all.push(DeadLetter { webhook, at: Timestamp::from_unix_us(at), why, alert });
            }
            Ok(all)
        })
        .await
    }
}

pub(super) fn add(
    transaction: &Transaction<'_>,
    alert: &AlertRecord,
    hooks: &[WebhookSettings],
) -> Result<(), StoreError> {
    let mut add = transaction.prepare_cached(
        "INSERT INTO outbox (target, alert, version, record, since) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let record = serde_json::to_string(alert)?;
    let wanting = hooks.iter().filter(|wanting| wanting.wants(&alert.rule, alert.level));
    for target in std::iter::once(TOPIC.into()).chain(wanting.map(|wanting| hook(&wanting.name))) {
        add.execute(params![target, alert.id, alert.version, record, Timestamp::now().as_unix_us()])?;
    }
    Ok(())
}

/// Removes an alert that the topic already holds.
pub(super) fn remove_published(transaction: &Transaction<'_>, alert: &AlertRecord) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM outbox WHERE target = ?1 AND alert = ?2 AND version = ?3")?
        .execute(params![TOPIC, alert.id, alert.version])?;
    Ok(())
}
