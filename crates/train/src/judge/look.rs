//! The images of a data set in batches, in order, read on threads ahead of the network.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use lookout_model::{Picture, caught, stack_pictures, usual_fit};
use lookout_schema::Size;
use lookout_stage::{Pixels, ResizeMode, ResizeTransform};
use tch::Tensor;

use super::MeasureError;
use crate::{
    Sample,
    data::{DataError, DataSet},
};

/// Number of batches per thread that are read ahead.
const AHEAD: usize = 2;

/// The settings for running a network on a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The resize mode.
    pub fit: ResizeMode,
    pub input: Size,
    /// Number of images in a batch.
    pub batch: usize,
    /// Number of threads that read images.
    pub threads: usize,
}

impl Look {
    /// Returns the settings for detectors, with the same resize mode as for inference: letterbox.
    pub fn of_detectors(input: Size) -> Self {
        Self { fit: usual_fit(false, input), input, batch: 8, threads: 2 }
    }

    /// Returns the settings for classifiers, with the same resize mode as for inference: the center of the image, whose
    /// short side is scaled to 256/224 of the input, as in torchvision.
    pub fn of_classifiers(input: Size) -> Self {
        Self { fit: usual_fit(true, input), input, batch: 32, threads: 2 }
    }
}

/// A batch of preprocessed images.
#[derive(Debug)]
pub(super) struct Shown {
    /// Index of the batch's first image in the data set.
    pub(super) first: usize,
    /// `[N, 3, H, W]`, normalized, in fp32 on the CPU.
    pub(super) x: Tensor,
    /// For each image its original size, and its resize transform in `x`.
    pub(super) places: Vec<(Size, ResizeTransform)>,
}

/// Calls `each` for every batch, in order, until it returns an error.
pub(super) fn each_batch(
    set: &DataSet,
    look: Look,
    mut each: impl FnMut(Shown) -> Result<(), MeasureError>,
) -> Result<(), MeasureError> {
    let batch = look.batch.max(1);
    let batches = set.len().div_ceil(batch);
    let threads = look.threads.clamp(1, batches.max(1));
    thread::scope(|scope| {
        let reader = |thread: usize| {
            let (full, queue) = bounded(AHEAD);
            scope.spawn(move || {
                // The CPU cores are left to the network; the readers already run on several threads.
                tch::set_num_threads(1);
                for number in (thread..batches).step_by(threads) {
                    if full.send(shown(set, look, number * batch)).is_err() {
                        return;
                    }
                }
            });
            queue
        };
        let queues: Vec<Receiver<Result<Shown, MeasureError>>> = (0..threads).map(reader).collect();
        for number in 0..batches {
            each(queues[number % threads].recv().map_err(|_| MeasureError::Reader)??)?;
        }
        Ok(())
    })
}

fn shown(set: &DataSet, look: Look, first: usize) -> Result<Shown, MeasureError> {
    let last = set.len().min(first + look.batch.max(1));
    let read = |index: usize| {
        // A panic or error of a decoder or libtorch on a broken file is reported as an error of this image.
        let name = || set.entries()[index].name.clone();
        let picture = caught(|| picture(set, index, look));
        picture.map_err(|reason| MeasureError::Picture { name: name(), reason })?.map_err(MeasureError::Data)
    };
    let pictures: Vec<Picture> = (first..last).map(read).collect::<Result<_, MeasureError>>()?;
    let pixels: Vec<&Pixels> = pictures.iter().map(|picture| &picture.pixels).collect();
    let x = caught(|| stack_pictures(&pixels)).and_then(|x| x);
    let x = x.map_err(|reason| MeasureError::Network { reason })?;
    let places = pictures.iter().map(|picture| (picture.source, picture.placement)).collect();
    Ok(Shown { first, x, places })
}

fn picture(set: &DataSet, index: usize, look: Look) -> Result<Picture, DataError> {
    let Sample { picture, .. } = set.read(index)?;
    let Size { width, height } = picture.size;
    let rgb = image::RgbImage::from_raw(width, height, picture.rgb).unwrap_or_default();
    Ok(Picture::new(&rgb, look.fit, look.input))
}
