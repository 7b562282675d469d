//! The stored alerts of the monitor and of other consumers, with their acknowledgments.

use std::collections::BTreeMap;

use lookout_schema::{AlertEvidence, AlertLevel, AlertRecord, AlertState, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, types::Value};
use serde::Serialize;

use super::Store;
use crate::error::StoreError;

/// The current state of an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StoredAlert {
    pub(crate) alert: AlertRecord,
    pub(crate) acknowledged: Option<Acknowledged>,
}

/// The acknowledgment of an alert by a user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Acknowledged {
    pub(crate) at: Timestamp,
    pub(crate) by: String,
    pub(crate) note: String,
}

/// The filter of an alert query.
#[derive(Debug, Clone, Default)]
pub(crate) struct AlertFilter {
    pub(crate) open: bool,
    pub(crate) acknowledged: Option<bool>,
    pub(crate) camera: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) level: Option<AlertLevel>,
    /// Only alerts that were raised before this time.
    pub(crate) before: Option<Timestamp>,
    pub(crate) limit: usize,
}

/// One page of alerts, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct AlertPage {
    pub(crate) alerts: Vec<StoredAlert>,
    pub(crate) more: bool,
}

const COLUMNS: &str = "record, ack_at, ack_by, ack_note";

impl Store {
    pub(crate) async fn alerts(&self, filter: AlertFilter) -> Result<AlertPage, StoreError> {
        self.read(move |connection| page(connection, &filter)).await
    }

    /// Stores the acknowledgment of an alert. Returns `None` if the alert does not exist.
    pub(crate) async fn acknowledge(
        &self,
        id: String,
        by: Acknowledged,
    ) -> Result<Option<StoredAlert>, StoreError> {
        self.write(move |connection| {
            let Some(known) = find(connection, &id)? else { return Ok(None) };
            // A line crossing is a single event, so its alert has no other end than the acknowledgment.
            let ends = matches!(known.alert.evidence, AlertEvidence::Line { .. });
            connection.execute(
                "UPDATE alerts SET ack_at = ?2, ack_by = ?3, ack_note = ?4, open = open AND NOT ?5 WHERE id = ?1",
                params![id, by.at.as_unix_us(), by.by, by.note, ends],
            )?;
            find(connection, &id)
        })
        .await
    }

    /// Returns the number of open alerts per camera. Alerts without a camera are counted under an empty name.
    pub(crate) async fn open_alerts(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT coalesce(camera, ''), count(*) FROM alerts WHERE open = 1 GROUP BY camera",
            )?;
            let counts = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut open = BTreeMap::new();
            for count in counts {
                let (camera, count): (String, i64) = count?;
                *open.entry(camera).or_default() += u64::try_from(count).unwrap_or_default();
            }
            Ok(open)
        })
        .await
    }

    pub(crate) async fn alert(&self, id: String) -> Result<Option<StoredAlert>, StoreError> {
        self.read(move |connection| find(connection, &id)).await
    }
}

fn find(connection: &Connection, id: &str) -> Result<Option<StoredAlert>, StoreError> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM alerts WHERE id = ?1"))?;
    query.query_row([id], parts).optional()?.map(stored).transpose()
}

/// Stores the alert if its version is newer than the stored one. Returns whether it was stored.
pub(super) fn put(transaction: &Transaction<'_>, alert: &AlertRecord) -> Result<bool, StoreError> {
    let mut known = transaction.prepare_cached("SELECT version FROM alerts WHERE id = ?1")?;
    let known: Option<i64> = known.query_row([&alert.id], |row| row.get(0)).optional()?;
    if known.is_some_and(|known| known >= i64::from(alert.version)) {
        return Ok(false);
    }
    let mut put = transaction.prepare_cached(
        "INSERT INTO alerts (id, version, rule, camera, worker, level, open, raised_at, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET version = excluded.version, level = excluded.level, open = excluded.open,
         record = excluded.record",
    )?;
    put.execute(params![
        alert.id,
        alert.version,
        alert.rule,
        alert.camera.as_ref().map(|camera| camera.as_str()),
        alert.worker.as_ref().map(|worker| worker.as_str()),
        rank(alert.level),
        alert.state != AlertState::Cleared,
        alert.raised_at.as_unix_us(),
        serde_json::to_string(alert)?,
    ])?;
    Ok(true)
}

const fn rank(level: AlertLevel) -> i64 {
    match level {
        AlertLevel::Info => 0,
        AlertLevel::Warning => 1,
        AlertLevel::Critical => 2,
    }
}

fn page(connection: &Connection, filter: &AlertFilter) -> Result<AlertPage, StoreError> {
    let mut wanted: Vec<&str> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    if filter.open {
        wanted.push("open = 1");
    }
    match filter.acknowledged {
        Some(true) => wanted.push("ack_at IS NOT NULL"),
        Some(false) => wanted.push("ack_at IS NULL"),
        None => {}
    }
    let texts = [("camera = ?", &filter.camera), ("rule = ?", &filter.rule)];
    for (part, value) in texts {
        if let Some(value) = value {
            wanted.push(part);
            values.push(value.clone().into());
        }
    }
    if let Some(level) = filter.level {
        wanted.push("level = ?");
        values.push(rank(level).into());
    }
    if let Some(before) = filter.before {
        wanted.push("raised_at < ?");
        values.push(before.as_unix_us().into());
    }
    let wanted = if wanted.is_empty() { "1".to_owned() } else { wanted.join(" AND ") };
    values.push(i64::try_from(filter.limit + 1).unwrap_or(i64::MAX).into());
    let query = format!("SELECT {COLUMNS} FROM alerts WHERE {wanted} ORDER BY raised_at DESC, id LIMIT ?");
    let mut query = connection.prepare_cached(&query)?;
    let rows = query.query_map(rusqlite::params_from_iter(values), parts)?;
    let mut alerts = Vec::new();
    for row in rows {
        alerts.push(stored(row?)?);
    }
    let more = alerts.len() > filter.limit;
    alerts.truncate(filter.limit);
    Ok(AlertPage { alerts, more })
}

type Parts = (String, Option<i64>, Option<String>, Option<String>);

fn parts(row: &Row<'_>) -> rusqlite::Result<Parts> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn stored((record, at, by, note): Parts) -> Result<StoredAlert, StoreError> {
    let acknowledged = at.map(|at| Acknowledged {
        at: Timestamp::from_unix_us(at),
        by: by.unwrap_or_default(),
        note: note.unwrap_or_default(),
    });
    Ok(StoredAlert { alert: serde_json::from_str(&record)?, acknowledged })
}
