//! Retention: deletes old rows so that the store does not grow without a limit.

use lookout_schema::Timestamp;
use rusqlite::{Connection, params};

use super::Store;
use crate::{error::StoreError, state::minute_of};

/// The maximum number of alerts that are kept.
const MAX_ALERTS: i64 = 200_000;
/// Rows deleted per statement. Other jobs of the store wait meanwhile.
const STEP: i64 = 5_000;
/// Free pages returned to the file system per step.
const PAGES: i64 = 2_000;

impl Store {
    /// Deletes everything older than `oldest`, and the oldest history while the file is larger than
    /// `max_bytes`.
    pub(crate) async fn retain(&self, oldest: Timestamp, max_bytes: u64) -> Result<(), StoreError> {
        while self.write(move |connection| step(connection, oldest, max_bytes)).await? {}
        Ok(())
    }

    /// Returns the size of the store in bytes.
    pub(crate) async fn size(&self) -> Result<u64, StoreError> {
        self.read(|connection| Ok(size(connection)?)).await
    }
}

/// Returns the size of the file's content, without its free pages.
fn size(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Deletes one portion of old rows. Returns whether there is more to delete.
fn step(connection: &mut Connection, oldest: Timestamp, max_bytes: u64) -> Result<bool, StoreError> {
    let mut gone = delete_history(connection, minute_of(oldest))?;
    gone += connection.execute(
        "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE raised_at < ?1 LIMIT ?2)",
        params![oldest.as_unix_us(), STEP],
    )?;
    gone += connection.execute(
        "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts ORDER BY raised_at DESC LIMIT ?2 OFFSET ?1)",
        params![MAX_ALERTS, STEP],
    )?;
    gone += connection.execute(
        "DELETE FROM set_aside WHERE seq IN (SELECT seq FROM set_aside WHERE at < ?1 LIMIT ?2)",
        params![oldest.as_unix_us(), STEP],
    )?;
    gone += connection.execute(
        "DELETE FROM set_aside WHERE seq IN (SELECT seq FROM set_aside ORDER BY at DESC LIMIT ?2 OFFSET ?1)",
        params![MAX_ALERTS, STEP],
    )?;
    if gone == 0 && size(connection)? > max_bytes {
        let first: Option<i64> =
            connection.query_row("SELECT min(minute) FROM history", [], |row| row.get(0))?;
        if let Some(first) = first {
            gone += delete_history(connection, first + 60)?;
        }
    }
    let mut give_back = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = give_back.query([])?;
    while rows.next()?.is_some() {}
    Ok(gone > 0)
}

fn delete_history(connection: &Connection, before: i64) -> Result<usize, rusqlite::Error> {
    connection.execute(
        "DELETE FROM history WHERE (camera, minute) IN
         (SELECT camera, minute FROM history WHERE minute < ?1 LIMIT ?2)",
        params![before, STEP],
    )
}
