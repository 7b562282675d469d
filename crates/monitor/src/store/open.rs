//! The schema of the database, and how it is opened.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

/// The version of the schema below. A later program migrates an older file.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE places (kind TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (kind, part)) WITHOUT ROWID;
-- A camera that is forgotten has no state, and still a history.
CREATE TABLE cameras (num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state BLOB);
CREATE TABLE workers (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    camera INTEGER NOT NULL, minute INTEGER NOT NULL, frames INTEGER NOT NULL, age_ms_sum INTEGER NOT NULL,
    aged INTEGER NOT NULL, dropped INTEGER NOT NULL, labels TEXT NOT NULL, PRIMARY KEY (camera, minute)
) WITHOUT ROWID;
CREATE INDEX history_minute ON history (minute);
-- Times are microseconds since 1970.
CREATE TABLE alerts (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, rule TEXT NOT NULL, camera TEXT, worker TEXT, level INTEGER NOT NULL,
    open INTEGER NOT NULL, raised_at INTEGER NOT NULL, record TEXT NOT NULL,
    ack_at INTEGER, ack_by TEXT, ack_note TEXT
);
CREATE INDEX alerts_raised ON alerts (raised_at);
CREATE INDEX alerts_open ON alerts (open, raised_at);
CREATE INDEX alerts_camera ON alerts (camera, raised_at);
-- What is still to be published: on the topic, whose target is empty, or to a webhook.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, alert TEXT NOT NULL, version INTEGER NOT NULL,
    record TEXT NOT NULL, since INTEGER NOT NULL
);
CREATE INDEX outbox_target ON outbox (target, seq);
";

/// Tables that were added to version 1. Programs that do not know them ignore them.
const ADDED: &str = "
-- The ids of the topics in which the places are.
CREATE TABLE IF NOT EXISTS topics (kind TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
-- Alerts that a webhook refused, or that were too old at last.
CREATE TABLE IF NOT EXISTS dead_letters (
    seq INTEGER PRIMARY KEY, webhook TEXT NOT NULL, at INTEGER NOT NULL, why TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_letters_at ON dead_letters (at);
";

/// The SQLite application id in the file's header.
const APPLICATION: i64 = 0x4c6f_6f6b;

/// Opens the file for the single writer.
pub(super) fn writer(path: &Path) -> Result<Connection, rusqlite::Error> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A committed transaction must survive a power failure, because alerts in it may already have been
    // published.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    let transaction = connection.transaction()?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
    } else if version != VERSION {
        let what = format!("its schema version is {version}, and this program supports version {VERSION}");
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH),
            Some(what),
        ));
    }
    transaction.execute_batch(ADDED)?;
    transaction.commit()?;
    Ok(connection)
}

pub(super) fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    Ok(connection)
}
