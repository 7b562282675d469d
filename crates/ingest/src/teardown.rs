//! The end of a pipeline, which a driver or a network file system may hold up.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};

/// How long a camera waits for its pipeline to stop. Then the pipeline goes on stopping by itself.
const WAIT: Duration = Duration::from_secs(2);

/// After this long an operator should know. A busy machine takes seconds to stop a pipeline of large
/// frames, and nothing is wrong with it.
const REPORT_AFTER: Duration = Duration::from_secs(60);

/// The pipelines of the process that are stopping.
struct Stopping {
    count: Mutex<usize>,
    changed: Condvar,
}

static STOPPING: Stopping = Stopping { count: Mutex::new(0), changed: Condvar::new() };

impl Stopping {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&'static self) -> StoppingPipeline {
        *self.count() += 1;
        StoppingPipeline(self)
    }

    fn wait(&self, limit: Duration) -> bool {
        let wait = self.changed.wait_timeout_while(self.count(), limit, |count| *count > 0);
        *wait.unwrap_or_else(PoisonError::into_inner).0 == 0
    }
}

/// Counts as stopping until it is dropped.
struct StoppingPipeline(&'static Stopping);

impl Drop for StoppingPipeline {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.changed.notify_all();
    }
}

/// Waits until all pipelines have stopped, for `limit` at most; whether they have. To be called before the process ends:
/// a driver that is still in use when its library is taken down crashes the process.
pub fn wait_for_pipelines(limit: Duration) -> bool {
    STOPPING.wait(limit)
}

/// Runs `stop`, which stops a pipeline, on a thread of its own, and waits for it for a while.
pub(crate) fn stop(stop: impl FnOnce() + Send + 'static) {
    let begun = Instant::now();
    let (done, stopped) = bounded(1);
    let stopping = STOPPING.begin();
    let work = move || {
        stop();
        drop(stopping);
        let _ = done.send(());
    };
    if let Err(error) = thread::Builder::new().name("ingest-stop".into()).spawn(work) {
        return tracing::error!(%error, "a pipeline was not stopped, since no thread could be started");
    }
    if stopped.recv_timeout(WAIT).is_ok() {
        return tracing::trace!(ms = begun.elapsed().as_millis() as u64, "pipeline stopped");
    }
    tracing::debug!("a pipeline is still stopping");
    let watch = move || {
        watch(&stopped, REPORT_AFTER);
    };
    // Without the thread the pipeline still stops, and nothing reports it.
    let _ = thread::Builder::new().name("ingest-stopping".into()).spawn(watch);
}

/// How a pipeline stopped that was not waited for.
#[derive(Debug, PartialEq, Eq)]
enum Stopped {
    Late,
    /// After it was reported.
    AfterAll,
}

fn watch(stopped: &Receiver<()>, report_after: Duration) -> Stopped {
    let begun = Instant::now();
    if stopped.recv_timeout(report_after).is_ok() {
        tracing::debug!(ms = begun.elapsed().as_millis() as u64, "a slow pipeline has stopped");
        return Stopped::Late;
    }
    tracing::error!(
        waited_s = report_after.as_secs(),
        "a pipeline does not stop; its threads and memory stay in use until it does"
    );
    // Also ends where the stopping thread has panicked.
    let _ = stopped.recv();
    tracing::warn!(
        waited_s = begun.elapsed().as_secs(),
        "the pipeline that did not stop has stopped after all"
    );
    Stopped::AfterAll
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_waits_for_pipelines_that_are_stopping() {
        static OURS: Stopping = Stopping { count: Mutex::new(0), changed: Condvar::new() };
        assert!(OURS.wait(Duration::ZERO));
        let (slow, hanging) = (OURS.begin(), OURS.begin());
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
    fn a_hanging_pipeline_is_reported_and_so_is_its_end() {
        let (done, stopped) = bounded(1);
        let watcher = thread::spawn(move || watch(&stopped, Duration::ZERO));
        done.send(()).unwrap_or_default();
        // Either order of the two is possible, and both end.
        assert!(matches!(watcher.join().unwrap(), Stopped::AfterAll | Stopped::Late));
        let (done, stopped) = bounded::<()>(1);
        drop(done);
        assert_eq!(watch(&stopped, Duration::ZERO), Stopped::AfterAll);
    }

    #[test]
    fn a_pipeline_that_stops_at_once_is_waited_for() {
        let (done, stopped) = bounded(1);
        stop(move || done.send(()).unwrap());
        assert_eq!(stopped.try_recv(), Ok(()));
    }
}
