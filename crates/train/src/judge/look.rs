//! A data set's pictures in batches, in its order, read on threads ahead of the network.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use lookout_model::{Picture, caught, stack_pictures, usual_fit};
use lookout_schema::Size;
use lookout_stage::{Fit, Pixels, Placement};
use tch::Tensor;

use super::MeasureError;
use crate::{
    Sample,
    data::{DataError, DataSet},
};

/// So many batches of each thread wait for the network.
const AHEAD: usize = 2;

/// How a network looks at pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How a picture is brought to the network's input.
    pub fit: Fit,
    pub input: Size,
    /// Pictures at once.
    pub batch: usize,
    /// Threads that read pictures.
    pub threads: usize,
}

impl Look {
    /// As detectors get their pictures at work: letterboxed.
    pub fn of_detectors(input: Size) -> Self {
        Self { fit: usual_fit(false, input), input, batch: 8, threads: 2 }
    }

    /// As classifiers get their pictures at work: the center of a picture whose short side is in the same
    /// proportion to the input as torchvision's 256 to 224.
    pub fn of_classifiers(input: Size) -> Self {
        Self { fit: usual_fit(true, input), input, batch: 32, threads: 2 }
    }
}

/// Pictures as a network takes them.
#[derive(Debug)]
pub(super) struct Shown {
    /// The place of the first in the data set; the others follow it.
    pub(super) first: usize,
    /// `[N, 3, H, W]`, normalized, in fp32 on the CPU.
    pub(super) x: Tensor,
    /// Of each picture, how large it was and where it lies in `x`.
    pub(super) places: Vec<(Size, Placement)>,
}

/// Calls `each` with batch by batch, until there are no more or it fails.
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
                // The cores are the network's; a reader is many.
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
        // What a decoder or libtorch makes of a broken file is this picture's error.
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
