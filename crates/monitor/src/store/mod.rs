//! What outlives the process: SQLite, in one file.
//!
//! One transaction holds the places in Kafka, what the records up to them have led to, and what is still to be told;
//! so whatever happens to the process, the three fit together. Its two connections live on threads of their own: one
//! writes, one reads, and neither waits for the other.

mod alerts;
mod commit;
mod history;
mod open;
mod outbox;
mod retain;

#[cfg(test)]
pub(crate) mod tests;

use std::{fs::File, path::Path, sync::Arc, thread};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::{
    alerts::{Acknowledged, AlertFilter, StoredAlert},
    history::HistoryRow,
    outbox::{TOPIC, Waiting, hook},
};
use crate::{MonitorError, error::StoreError};

/// The store. Its clones are the same store.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: Arc<Worker>,
    reader: Arc<Worker>,
    /// Who is told of alerts; see [`lookout_config::WebhookSettings`].
    hooks: Arc<[lookout_config::WebhookSettings]>,
    /// Held for as long as the store is used.
    _lock: Arc<File>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A thread with a connection.
#[derive(Debug)]
struct Worker {
    jobs: mpsc::Sender<Job>,
}

/// Who asks waits while so many others do.
const JOBS: usize = 64;

impl Worker {
    fn start(name: &str, mut connection: Connection) -> std::io::Result<Arc<Self>> {
        let (jobs, mut inbox) = mpsc::channel::<Job>(JOBS);
        let work = move || {
            while let Some(job) = inbox.blocking_recv() {
                job(&mut connection);
            }
        };
        thread::Builder::new().name(name.into()).spawn(work)?;
        Ok(Arc::new(Self { jobs }))
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |connection: &mut Connection| {
            // Whoever asked may have gone, which is no fault.
            let _ = answer.send(job(connection));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Store {
    /// Opens the store in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// The folder cannot be written, another monitor uses it, or the file is none of ours.
    pub(crate) fn open(
        folder: &Path,
        hooks: &[lookout_config::WebhookSettings],
    ) -> Result<Self, MonitorError> {
        let path = folder.join("monitor.sqlite");
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| MonitorError::Open {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(|error| fail(error.into()))?;
        // A second monitor with the same store would take each record twice.
        let lock = File::create(folder.join("monitor.lock")).map_err(|error| fail(error.into()))?;
        lock.try_lock().map_err(|_| fail("it is in use".into()))?;
        let writer = open::writer(&path).map_err(|error| fail(error.into()))?;
        let reader = open::reader(&path).map_err(|error| fail(error.into()))?;
        Ok(Self {
            writer: Worker::start("store", writer).map_err(|error| fail(error.into()))?,
            reader: Worker::start("store-read", reader).map_err(|error| fail(error.into()))?,
            hooks: hooks.into(),
            _lock: Arc::new(lock),
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(job).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.run(job).await
    }
}
