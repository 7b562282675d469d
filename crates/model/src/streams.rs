//! Streams: several replicas of a network that compute side by side on one device.
//!
//! On a GPU, the other streams keep the device busy while one stream waits for the host. On a CPU, a convolution on all
//! cores waits for its slowest core, and cores are idle between two convolutions; one batch per core hides both. While
//! only one stream has work, and its batch is small, it uses all threads, so that a single frame is processed as soon
//! as possible.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use lookout_config::ModelSettings;

use crate::Target;

/// The CPU threads that several replicas share.
#[derive(Debug, Clone)]
pub struct Streams {
    threads: usize,
    count: NonZeroUsize,
    /// Number of streams that are computing.
    active: Arc<AtomicUsize>,
}

/// Threads per stream on machines with many cores. Fewer streams use less memory, but with more than a few threads per
/// stream, cores are idle.
const THREADS_OF_A_STREAM: usize = 4;

/// Streams per GPU. While the GPU processes one batch, the host postprocesses the previous batch and prepares the next
/// one.
const STREAMS_OF_A_GPU: usize = 3;

impl Streams {
    /// Returns the numbers of threads and streams that `settings` asks for on `target`, or the fastest numbers by
    /// default.
    pub fn new(settings: &ModelSettings, target: Target) -> Self {
        let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = settings.threads.unwrap_or_else(cores).max(1);
        let fastest = if target.is_gpu() {
            STREAMS_OF_A_GPU
        } else {
            threads.min(2).max(threads / THREADS_OF_A_STREAM)
        };
        let count = NonZeroUsize::new(settings.streams.unwrap_or(fastest)).unwrap_or(NonZeroUsize::MIN);
        Self { threads, count, active: Arc::default() }
    }

    /// Returns the number of replicas.
    pub fn count(&self) -> NonZeroUsize {
        self.count
    }

    /// Gives this thread its share of the threads for a batch of `images` images, until the returned guard is
    /// dropped.
    pub(crate) fn start_batch(&self, images: usize) -> AtWork<'_> {
        let active = self.active.fetch_add(1, Relaxed) + 1;
        // A batch of more images than streams indicates that the other streams will have work as well.
        let sharers = if images > self.count.get() { self.count.get() } else { active };
        let share = i32::try_from((self.threads / sharers).max(1)).unwrap_or(i32::MAX);
        // libtorch stores this number per calling thread.
        if tch::get_num_threads() != share {
            tch::set_num_threads(share);
        }
        AtWork(self)
    }
}

/// A guard of a stream that is computing.
#[derive(Debug)]
pub(crate) struct AtWork<'a>(&'a Streams);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_shared_by_active_streams() {
        let settings = ModelSettings {
            threads: Some(6),
            streams: Some(3),
            ..ModelSettings::named("resnet18", "random:0")
        };
        let streams = Streams::new(&settings, Target::REFERENCE);
        assert_eq!(streams.count().get(), 3);
        let threads_while = |streams: &Streams| {
            let _at_work = streams.start_batch(1);
            tch::get_num_threads()
        };
        assert_eq!(threads_while(&streams), 6);
        let full = streams.start_batch(8);
        assert_eq!(tch::get_num_threads(), 2);
        drop(full);
        let _other = streams.start_batch(1);
        let at_once = thread::scope(|scope| scope.spawn(|| threads_while(&streams)).join().unwrap());
        assert_eq!(at_once, 3);
        assert_eq!(threads_while(&streams), 3);
    }

    #[test]
    fn stream_count_depends_on_the_cores() {
        for (threads, streams) in [(1, 1), (2, 2), (4, 2), (8, 2), (16, 4), (64, 16)] {
            let settings =
                ModelSettings { threads: Some(threads), ..ModelSettings::named("resnet18", "random:0") };
            assert_eq!(Streams::new(&settings, Target::REFERENCE).count().get(), streams, "{threads}");
        }
    }
}
