//! Creates batches from a data set, on threads that read ahead of the device.

mod order;

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, bounded};
use lookout_model::stack_pictures;
use lookout_stage::Pixels;
use rand::RngExt;

use self::order::{Order, mixed};
use crate::{
    Batch, BatchResult, Batches, Sample, Truth,
    augment::{Random, Recipe, random_for},
    data::{DataError, DataSet},
};

/// Reads the image at an index, augments it with the random numbers of a seed, and brings it to the network's input.
pub type Prepare = Arc<dyn Fn(&DataSet, usize, u64) -> Result<Sample, DataError> + Send + Sync>;

/// Returns a function that augments images by `recipe`. Steps that need other images take them from the same data set.
pub fn prepared_by(recipe: Recipe) -> Prepare {
    Arc::new(move |set, index, seed| {
        let other = &mut |random: &mut Random| set.read(random.random_range(0..set.len()));
        recipe.apply(set.read(index)?, &mut random_for(seed, [0, 0]), other)
    })
}

/// Number of batches per thread that are read ahead.
const AHEAD: usize = 2;

/// The settings of a [`Feed`].
#[derive(Debug, Clone, Copy)]
pub struct FeedSettings {
    pub batch: usize,
    pub seed: u64,
    /// Whether images are drawn so that all classes appear equally often.
    pub balanced: bool,
    pub threads: usize,
}

/// The batches of a data set. In each epoch, the images that do not fill a last batch are skipped.
pub struct Feed {
    set: Arc<DataSet>,
    prepare: Prepare,
    settings: FeedSettings,
    order: Order,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("settings", &self.settings).field("pictures", &self.set.len()).finish()
    }
}

impl Feed {
    pub fn new(set: Arc<DataSet>, prepare: Prepare, settings: FeedSettings) -> Self {
        let order = Order::new(&set, settings.balanced);
        Self { set, prepare, settings, order }
    }
}

impl Batches for Feed {
    fn per_epoch(&self) -> u64 {
        (self.set.len() / self.settings.batch.max(1)) as u64
    }

    fn epoch(&mut self, epoch: u64, first: u64) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        let FeedSettings { batch, seed, threads, .. } = self.settings;
        let order = self.order.of_epoch(seed, epoch);
        let seed = mixed(seed, epoch);
        let batches: Vec<Vec<(usize, u64)>> = order
            .chunks_exact(batch.max(1))
            .enumerate()
            .skip(first as usize)
            // The seed of an image depends on its position in the epoch only, not on the thread that reads it.
            .map(|(number, pictures)| {
                let place = |i: usize| mixed(seed, (number * batch + i) as u64);
                pictures.iter().enumerate().map(|(i, index)| (*index, place(i))).collect()
            })
            .collect();
        Box::new(Readers::start(&self.set, &self.prepare, batches, threads.max(1)))
    }
}

/// Threads that read batches in turn. They stop when the receiver is dropped.
struct Readers {
    queues: Vec<Receiver<BatchResult>>,
    next: usize,
    left: usize,
    _threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(set: &Arc<DataSet>, prepare: &Prepare, batches: Vec<Vec<(usize, u64)>>, threads: usize) -> Self {
        let left = batches.len();
        let mut turns: Vec<Vec<Vec<(usize, u64)>>> = vec![Vec::new(); threads.min(left.max(1))];
        let count = turns.len();
        for (number, batch) in batches.into_iter().enumerate() {
            turns[number % count].push(batch);
        }
        let mut queues = Vec::with_capacity(count);
        let mut handles = Vec::with_capacity(count);
        for batches in turns {
            let (full, queue) = bounded(AHEAD);
            let (set, prepare) = (Arc::clone(set), Arc::clone(prepare));
            let read = move || {
                // The CPU cores are left to the network; the readers already run on several threads.
                tch::set_num_threads(1);
                for batch in batches {
                    if full.send(read(&set, &prepare, &batch)).is_err() {
                        return;
                    }
                }
            };
            if let Ok(handle) = thread::Builder::new().name("reader".into()).spawn(read) {
                handles.push(handle);
            }
            queues.push(queue);
        }
        Self { queues, next: 0, left, _threads: handles }
    }
}

impl Iterator for Readers {
    type Item = BatchResult;

    fn next(&mut self) -> Option<BatchResult> {
        self.left = self.left.checked_sub(1)?;
        let queue = &self.queues[self.next];
        self.next = (self.next + 1) % self.queues.len();
        Some(queue.recv().unwrap_or_else(|_| Err("a thread that reads images has stopped".into())))
    }
}

fn read(set: &DataSet, prepare: &Prepare, batch: &[(usize, u64)]) -> BatchResult {
    let samples: Result<Vec<Sample>, DataError> =
        batch.iter().map(|(index, seed)| prepare(set, *index, *seed)).collect();
    let samples = samples?;
    let truth = Truth::new(samples.iter().map(|sample| &sample.target), set.classes().len());
    let pixels: Option<Vec<Pixels>> =
        samples.into_iter().map(|Sample { picture, .. }| Pixels::new(picture.size, picture.rgb)).collect();
    let pixels = pixels.ok_or("the length of an image's data does not match its size")?;
    let x = stack_pictures(&pixels.iter().collect::<Vec<_>>())?;
    Ok(Batch { x, truth })
}
