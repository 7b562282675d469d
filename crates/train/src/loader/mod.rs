//! Creates batches from a data set, on threads that read ahead of the device.

mod sampler;

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, bounded};
use lookout_model::stack_images;
use lookout_stage::Pixels;
use rand::RngExt;

use self::sampler::{Sampler, mix};
use crate::{
    Batch, BatchResult, Batches, Sample, Truth,
    augment::{Augmentation, Random, random_for},
    data::{DataError, DataSet},
};

/// Reads the image at an index, augments it with the random numbers of a seed, and brings it to the network's input.
pub type LoadSample = Arc<dyn Fn(&DataSet, usize, u64) -> Result<Sample, DataError> + Send + Sync>;

/// Returns a function that augments images by `augmentation`. Transforms that need other images take them from the same
/// data set.
pub fn load_augmented(augmentation: Augmentation) -> LoadSample {
    Arc::new(move |set, index, seed| {
        let other = &mut |random: &mut Random| set.read(random.random_range(0..set.len()));
        augmentation.apply(set.read(index)?, &mut random_for(seed, [0, 0]), other)
    })
}

/// Number of batches per thread that are read ahead, as `prefetch_factor` of PyTorch's `DataLoader`.
const PREFETCH_FACTOR: usize = 2;

/// The settings of a [`DataLoader`].
#[derive(Debug, Clone, Copy)]
pub struct LoaderSettings {
    /// Number of images in a batch.
    pub batch_size: usize,
    pub seed: u64,
    /// Whether images are drawn so that all classes appear equally often.
    pub balanced: bool,
    pub threads: usize,
}

/// The batches of a data set. In each epoch, the images that do not fill a last batch are skipped.
pub struct DataLoader {
    set: Arc<DataSet>,
    load_sample: LoadSample,
    settings: LoaderSettings,
    sampler: Sampler,
}

impl std::fmt::Debug for DataLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataLoader")
            .field("settings", &self.settings)
            .field("images", &self.set.len())
            .finish()
    }
}

impl DataLoader {
    pub fn new(set: Arc<DataSet>, load_sample: LoadSample, settings: LoaderSettings) -> Self {
        let sampler = Sampler::new(&set, settings.balanced);
        Self { set, load_sample, settings, sampler }
    }
}

impl Batches for DataLoader {
    fn per_epoch(&self) -> u64 {
        (self.set.len() / self.settings.batch_size.max(1)) as u64
    }

    fn epoch(&mut self, epoch: u64, first: u64) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        let LoaderSettings { batch_size, seed, threads, .. } = self.settings;
        let indices = self.sampler.epoch_indices(seed, epoch);
        let seed = mix(seed, epoch);
        let batches: Vec<Vec<(usize, u64)>> = indices
            .chunks_exact(batch_size.max(1))
            .enumerate()
            .skip(first as usize)
            // The seed of an image depends on its position in the epoch only, not on the thread that reads it.
            .map(|(number, images)| {
                let image_seed = |i: usize| mix(seed, (number * batch_size + i) as u64);
                images.iter().enumerate().map(|(i, index)| (*index, image_seed(i))).collect()
            })
            .collect();
        Box::new(Readers::start(&self.set, &self.load_sample, batches, threads.max(1)))
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
    fn start(
        set: &Arc<DataSet>,
        load_sample: &LoadSample,
        batches: Vec<Vec<(usize, u64)>>,
        threads: usize,
    ) -> Self {
        let left = batches.len();
        let mut turns: Vec<Vec<Vec<(usize, u64)>>> = vec![Vec::new(); threads.min(left.max(1))];
        let count = turns.len();
        for (number, batch) in batches.into_iter().enumerate() {
            turns[number % count].push(batch);
        }
        let mut queues = Vec::with_capacity(count);
        let mut handles = Vec::with_capacity(count);
        for batches in turns {
            let (full, queue) = bounded(PREFETCH_FACTOR);
            let (set, load_sample) = (Arc::clone(set), Arc::clone(load_sample));
            let read = move || {
                // The CPU cores are left to the network; the readers already run on several threads.
                tch::set_num_threads(1);
                for batch in batches {
                    if full.send(read(&set, &load_sample, &batch)).is_err() {
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

fn read(set: &DataSet, load_sample: &LoadSample, batch: &[(usize, u64)]) -> BatchResult {
    let samples: Result<Vec<Sample>, DataError> =
        batch.iter().map(|(index, seed)| load_sample(set, *index, *seed)).collect();
    let samples = samples?;
    let truth = Truth::new(samples.iter().map(|sample| &sample.target), set.classes().len());
    let pixels: Option<Vec<Pixels>> =
        samples.into_iter().map(|Sample { image, .. }| Pixels::new(image.size, image.rgb)).collect();
    let pixels = pixels.ok_or("the length of an image's data does not match its size")?;
    let x = stack_images(&pixels.iter().collect::<Vec<_>>())?;
    Ok(Batch { x, truth })
}
