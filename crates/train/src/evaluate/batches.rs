//! The images of a data set in batches, in order, read on threads ahead of the network.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use lookout_model::{ResizedImage, caught, stack_images, usual_fit};
use lookout_schema::Size;
use lookout_stage::{Pixels, ResizeMode, ResizeTransform};
use tch::Tensor;

use super::EvaluationError;
use crate::{
    Sample,
    data::{DataError, DataSet},
};

/// Number of batches per thread that are read ahead.
const PREFETCH_FACTOR: usize = 2;

/// The settings for running a network on a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationSettings {
    pub resize_mode: ResizeMode,
    pub input: Size,
    /// Number of images in a batch.
    pub batch_size: usize,
    /// Number of threads that read images.
    pub threads: usize,
}

impl EvaluationSettings {
    /// Returns the settings for detectors, with the same resize mode as for inference: letterbox.
    pub fn for_detectors(input: Size) -> Self {
        Self { resize_mode: usual_fit(false, input), input, batch_size: 8, threads: 2 }
    }

    /// Returns the settings for classifiers, with the same resize mode as for inference: the center of the image, whose
    /// short side is scaled to 256/224 of the input, as in torchvision.
    pub fn for_classifiers(input: Size) -> Self {
        Self { resize_mode: usual_fit(true, input), input, batch_size: 32, threads: 2 }
    }
}

/// A batch of preprocessed images.
#[derive(Debug)]
pub(super) struct EvaluationBatch {
    /// Index of the batch's first image in the data set.
    pub(super) first: usize,
    /// `[N, 3, H, W]`, normalized, in fp32 on the CPU.
    pub(super) x: Tensor,
    /// For each image its original size, and its resize transform in `x`.
    pub(super) transforms: Vec<(Size, ResizeTransform)>,
}

/// Calls `each` for every batch, in order, until it returns an error.
pub(super) fn for_each_batch(
    set: &DataSet,
    settings: EvaluationSettings,
    mut each: impl FnMut(EvaluationBatch) -> Result<(), EvaluationError>,
) -> Result<(), EvaluationError> {
    let batch = settings.batch_size.max(1);
    let batches = set.len().div_ceil(batch);
    let threads = settings.threads.clamp(1, batches.max(1));
    thread::scope(|scope| {
        let reader = |thread: usize| {
            let (full, queue) = bounded(PREFETCH_FACTOR);
            scope.spawn(move || {
                // The CPU cores are left to the network; the readers already run on several threads.
                tch::set_num_threads(1);
                for number in (thread..batches).step_by(threads) {
                    if full.send(read_batch(set, settings, number * batch)).is_err() {
                        return;
                    }
                }
            });
            queue
        };
        let queues: Vec<Receiver<Result<EvaluationBatch, EvaluationError>>> =
            (0..threads).map(reader).collect();
        for number in 0..batches {
            each(queues[number % threads].recv().map_err(|_| EvaluationError::Reader)??)?;
        }
        Ok(())
    })
}

fn read_batch(
    set: &DataSet,
    settings: EvaluationSettings,
    first: usize,
) -> Result<EvaluationBatch, EvaluationError> {
    let last = set.len().min(first + settings.batch_size.max(1));
    let read = |index: usize| {
        // A panic or error of a decoder or libtorch on a broken file is reported as an error of this image.
        let name = || set.entries()[index].name.clone();
        let image = caught(|| image(set, index, settings));
        image
            .map_err(|reason| EvaluationError::Image { name: name(), reason })?
            .map_err(EvaluationError::Data)
    };
    let images: Vec<ResizedImage> = (first..last).map(read).collect::<Result<_, EvaluationError>>()?;
    let pixels: Vec<&Pixels> = images.iter().map(|image| &image.pixels).collect();
    let x = caught(|| stack_images(&pixels)).and_then(|x| x);
    let x = x.map_err(|reason| EvaluationError::Network { reason })?;
    let transforms = images.iter().map(|image| (image.source, image.placement)).collect();
    Ok(EvaluationBatch { first, x, transforms })
}

fn image(set: &DataSet, index: usize, settings: EvaluationSettings) -> Result<ResizedImage, DataError> {
    let Sample { image, .. } = set.read(index)?;
    let Size { width, height } = image.size;
    let rgb = image::RgbImage::from_raw(width, height, image.rgb).unwrap_or_default();
    Ok(ResizedImage::new(&rgb, settings.resize_mode, settings.input))
}
