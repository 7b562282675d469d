//! Stops pipelines, which a driver or a network file system may delay.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};

/// How long a camera waits for its pipeline to stop. After that, the pipeline continues to stop in the background.
const WAIT: Duration = Duration::from_secs(2);

/// How long a pipeline may take to stop before an error is logged.
///
/// A busy machine takes seconds to stop a pipeline of large frames, which is not an error.
const REPORT_AFTER: Duration = Duration::from_secs(60);

/// Counts the pipelines of the process that are being stopped.
struct Stopping {
    count: Mutex<usize>,
    changed: Condvar,
}

static STOPPING: Stopping = Stopping { count: Mutex::new(0), changed: Condvar::new() };

impl Stopping {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&'static self) -> StoppingPipeline {
        *self.count() += 1;
        StoppingPipeline(self)
    }

    fn wait(&self, limit: Duration) -> bool {
        let wait = self.changed.wait_timeout_while(self.count(), limit, |count| *count > 0);
        *wait.unwrap_or_else(PoisonError::into_inner).0 == 0
    }
}

/// Counts as a pipeline that is being stopped until it is dropped.
struct StoppingPipeline(&'static Stopping);

impl Drop for StoppingPipeline {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.changed.notify_all();
    }
}

/// Waits for at most `limit` until all pipelines have stopped, and returns whether they have.
///
/// Callers must call this before the process exits: a driver that is still in use when its library is unloaded
/// crashes the process.
pub fn wait_for_pipelines(limit: Duration) -> bool {
    STOPPING.wait(limit)
}

/// Runs `stop`, which stops a pipeline, on a new thread, and waits for it for at most [`WAIT`].
pub(crate) fn stop(stop: impl FnOnce() + Send + 'static) {
    let started = Instant::now();
    let (done, stopped) = bounded(1);
    let stopping = STOPPING.register();
    let work = move || {
        stop();
        drop(stopping);
        let _ = done.send(());
    };
    if let Err(error) = thread::Builder::new().name("ingest-stop".into()).spawn(work) {
        return tracing::error!(%error, "a pipeline was not stopped, because no thread could be started");
    }
    if stopped.recv_timeout(WAIT).is_ok() {
        return tracing::trace!(ms = started.elapsed().as_millis() as u64, "pipeline stopped");
    }
    tracing::debug!("a pipeline is still stopping");
    let watch = move || {
        watch(&stopped, REPORT_AFTER);
    };
    // If the thread cannot be created, the pipeline still stops, but a delay is not reported.
    let _ = thread::Builder::new().name("ingest-stopping".into()).spawn(watch);
}

/// How a pipeline stopped that took longer than [`WAIT`].
#[derive(Debug, PartialEq, Eq)]
enum Stopped {
    Late,
    /// It stopped after an error was logged.
    AfterAll,
}

fn watch(stopped: &Receiver<()>, report_after: Duration) -> Stopped {
    let started = Instant::now();
    if stopped.recv_timeout(report_after).is_ok() {
        tracing::debug!(ms = started.elapsed().as_millis() as u64, "a slow pipeline has stopped");
        return Stopped::Late;
    }
    tracing::error!(
        waited_s = report_after.as_secs(),
        "a pipeline does not stop; its threads and memory stay in use until it does"
    );
    // Also returns if the stopping thread panics.
    let _ = stopped.recv();
    tracing::warn!(waited_s = started.elapsed().as_secs(), "a pipeline stopped late");
    Stopped::AfterAll
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_pipelines_that_are_stopping() {
        static OURS: Stopping = Stopping { count: Mutex::new(0), changed: Condvar::new() };
        assert!(OURS.wait(Duration::ZERO));
        let (slow, hanging) = (OURS.register(), OURS.register());
        assert!(!OURS.wait(Duration::ZERO));
        let stopper = thread::spawn(move || drop((slow, hanging)));
        assert!(OURS.wait(Duration::from_secs(600)));
        stopper.join().unwrap();
    }

    #[test]
    fn a_slow_pipeline_is_not_reported() {
        let (done, stopped) = bounded(1);
        done.send(()).unwrap();
        assert_eq!(watch(&stopped, Duration::from_secs(600)), Stopped::Late);
    }

    #[test]
    fn a_hanging_pipeline_and_its_late_stop_are_reported() {
        let (done, stopped) = bounded(1);
        let watcher = thread::spawn(move || watch(&stopped, Duration::ZERO));
        done.send(()).unwrap_or_default();
        // The two threads may run in either order.
        assert!(matches!(watcher.join().unwrap(), Stopped::AfterAll | Stopped::Late));
        let (done, stopped) = bounded::<()>(1);
        drop(done);
        assert_eq!(watch(&stopped, Duration::ZERO), Stopped::AfterAll);
    }

    #[test]
    fn stop_waits_for_a_pipeline_that_stops_immediately() {
        let (done, stopped) = bounded(1);
        stop(move || done.send(()).unwrap());
        assert_eq!(stopped.try_recv(), Ok(()));
    }
}
