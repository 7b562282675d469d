//! The persistent store: one SQLite file.
//!
//! One transaction holds the offsets in Kafka, the results of the records up to them, and the alerts that are
//! not yet delivered, so the three stay consistent whenever the process ends. The two connections have their
//! own threads: one writes, one reads, and neither waits for the other.

mod alerts;
mod commit;
mod history;
mod open;
mod outbox;
mod retain;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, OnceLock},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::{
    alerts::{Acknowledged, AlertFilter, StoredAlert},
    history::HistoryRow,
    outbox::{TOPIC, Waiting, hook},
};
use crate::{
    MonitorError,
    error::{StoreError, advice},
};

/// A handle to the store. Clones share the same store.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: Arc<Worker>,
    reader: Arc<Worker>,
    /// The webhooks that alerts are delivered to; see [`lookout_config::WebhookSettings`].
    hooks: Arc<[lookout_config::WebhookSettings]>,
    file: Arc<StoreFile>,
    /// The lock against other monitors, held as long as the store is in use.
    _lock: Arc<File>,
}

/// The database file as it was opened.
#[derive(Debug)]
struct StoreFile {
    path: Arc<Path>,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// The first error message that reported damage.
    damage: OnceLock<String>,
}

impl StoreFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), identity: identity(path)?, damage: OnceLock::new() })
    }

    /// Checks that the path still names the opened file. SQLite continues to write to a deleted file, and
    /// those writes are lost when the process ends.
    fn check(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => Err(StoreError::Gone { path: Arc::clone(&self.path) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Gone { path: Arc::clone(&self.path) })
            }
            // The file may still be usable although its metadata cannot be read.
            Err(_) => Ok(()),
        }
    }

    /// Adds the path to an error, and records whether the file is damaged.
    fn named(&self, error: StoreError) -> StoreError {
        let StoreError::Sql(source) = error else { return error };
        let error = StoreError::File { path: Arc::clone(&self.path), source };
        if error.is_damage() && self.damage.set(error.to_string()).is_ok() {
            tracing::error!(%error, "the store is damaged");
        }
        error
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A thread that owns a connection and runs jobs on it.
#[derive(Debug)]
struct Worker {
    jobs: mpsc::Sender<Job>,
}

/// The capacity of the job queue. Callers wait when it is full.
const JOBS: usize = 64;

impl Worker {
    fn start(name: &str, mut connection: Connection) -> io::Result<Arc<Self>> {
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
            // The caller may have been cancelled.
            let _ = answer.send(job(connection));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Store {
    /// Opens the store in `folder`, which is created if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be written, another monitor uses the store, or the file is not a store of the
    /// monitor.
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
        // A second monitor with the same store would apply each record twice.
        let lock = File::create(folder.join("monitor.lock")).map_err(|error| fail(error.into()))?;
        lock.try_lock().map_err(|_| fail("it is in use, possibly by another running monitor".into()))?;
        let sql = |error: rusqlite::Error| fail(format!("{error}{}", advice(&error)).into());
        let writer = open::writer(&path).map_err(sql)?;
        let reader = open::reader(&path).map_err(sql)?;
        Ok(Self {
            writer: Worker::start("store", writer).map_err(|error| fail(error.into()))?,
            reader: Worker::start("store-read", reader).map_err(|error| fail(error.into()))?,
            hooks: hooks.into(),
            file: Arc::new(StoreFile::new(&path).map_err(|error| fail(error.into()))?),
            _lock: Arc::new(lock),
        })
    }

    /// Returns the error message of a permanent damage of the file, if one was detected.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.file.damage.get().map(String::as_str)
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let checked = move |connection: &mut Connection| {
            file.check()?;
            job(connection).map_err(|error| file.named(error))
        };
        self.writer.run(checked).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        self.reader.run(move |connection| job(connection).map_err(|error| file.named(error))).await
    }
}
