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

/// The store. Its clones are the same store.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: Arc<Worker>,
    reader: Arc<Worker>,
    /// Who is told of alerts; see [`lookout_config::WebhookSettings`].
    hooks: Arc<[lookout_config::WebhookSettings]>,
    file: Arc<StoreFile>,
    /// Held for as long as the store is used.
    _lock: Arc<File>,
}

/// The file, as it was opened.
#[derive(Debug)]
struct StoreFile {
    path: Arc<Path>,
    /// Of its device and inode.
    identity: (u64, u64),
    /// What the first error said that showed damage.
    damage: OnceLock<String>,
}

impl StoreFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), identity: identity(path)?, damage: OnceLock::new() })
    }

    /// SQLite goes on with a file that has no name any more, and what it writes there is gone with the process.
    fn check(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => Err(StoreError::Gone { path: Arc::clone(&self.path) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Gone { path: Arc::clone(&self.path) })
            }
            // What keeps it from being looked at need not keep it from being used.
            Err(_) => Ok(()),
        }
    }

    /// Names the file in an error, and notes where it is damaged.
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

/// A thread with a connection.
#[derive(Debug)]
struct Worker {
    jobs: mpsc::Sender<Job>,
}

/// Who asks waits while so many others do.
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
        lock.try_lock().map_err(|_| fail("it is in use: is another monitor running with it?".into()))?;
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

    /// What is wrong with the file for good, if anything is known to be.
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
