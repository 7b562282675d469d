//! Errors that stop the monitor, and errors of its store.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use lookout_broker::BrokerError;
use rusqlite::ErrorCode;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum MonitorError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Refused(String),
    #[error("cannot open the store {}: {source}", path.display())]
    Open { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("{0}")]
    Stopped(&'static str),
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    #[error("access to the store {} failed: {source}{}", path.display(), advice(source))]
    File { path: Arc<Path>, source: rusqlite::Error },
    #[error(
        "the store {} was deleted or replaced while it was in use: put the file back, or restart the monitor, which then \
         creates a new one",
        path.display()
    )]
    Gone { path: Arc<Path> },
    #[error("the store contains a value that cannot be decoded: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the thread of the store has stopped")]
    Stopped,
}

impl StoreError {
    /// Returns whether the file is damaged, which a retry cannot repair.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::File { source, .. } if matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ))
    }
}

/// Returns advice for the operator about an error of the database file.
pub(crate) fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; the file is damaged: stop the monitor, and move it away with the files of the same name that end in \
             `-wal` and `-shm`; the monitor then creates a new store from the records that Kafka still has, and \
             `sqlite3 FILE .recover` may recover data of the old one"
        }
        Some(ErrorCode::DiskFull) => "; free space on its disk",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "; check that the monitor may write the file and its folder"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; another program has locked it",
        Some(ErrorCode::SystemIoFailure) => "; check its disk",
        _ => "",
    }
}
