//! Why the monitor cannot go on.

use std::{io, net::SocketAddr, path::PathBuf};

use lookout_broker::BrokerError;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum MonitorError {
    #[error("{address} cannot be served: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Refused(String),
    #[error("the store {} cannot be opened: {source}; is another monitor running with it, or the folder another's?", path.display())]
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
    #[error("the store fails: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("the store holds what cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the store has stopped")]
    Stopped,
}
