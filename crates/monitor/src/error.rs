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
    #[error("{address} cannot be served: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Refused(String),
    #[error("the store {} cannot be opened: {source}", path.display())]
    Open { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("{0} has stopped")]
    Stopped(&'static str),
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    #[error("the store {} fails: {source}{}", path.display(), advice(source))]
    File { path: Arc<Path>, source: rusqlite::Error },
    #[error(
        "the store {} was deleted or replaced while it was in use: put the file back, or restart the monitor, which then \
         begins a new one",
        path.display()
    )]
    Gone { path: Arc<Path> },
    #[error("the store holds what cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the store has stopped")]
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
            "; the file is damaged: stop the monitor and move the file away with those beside it that end in `-wal` and \
             `-shm`, and the monitor begins a new one with what Kafka still has; `sqlite3 FILE .recover` may save what the \
             old one holds"
        }
        Some(ErrorCode::DiskFull) => "; make room on its disk",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "; check that the monitor may write the file and its folder"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; another program uses it",
        Some(ErrorCode::SystemIoFailure) => "; check its disk",
        _ => "",
    }
}
