//! Preprocessing: from images to a network's input.

use std::thread;

use half::{bf16, f16};
use lookout_fused::{
    FusedError,
    cuda::{self, Normalization},
};
use lookout_schema::Size;
use lookout_stage::Pixels;
use tch::{Device, Kind, Tensor, kind::Element};

use crate::target::{Precision, Target};

/// ImageNet's mean and standard deviation of red, green and blue, on a scale of 0 to 1. torchvision's weights expect
/// them.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Checks that all images have the same size, which a batch requires.
pub(crate) fn one_size(images: &[&Pixels]) -> Result<(), String> {
    let differ = images.windows(2).any(|two| two[0].size() != two[1].size());
    if differ { Err("the images of the batch have different sizes".into()) } else { Ok(()) }
}

/// Returns images of one size as the input for training.
///
/// The result is normalized, `[N, 3, H, W]` in fp32 on the CPU, in channels-last memory format.
///
/// # Errors
/// The images have different sizes, or there are none.
pub fn stack_images(images: &[&Pixels]) -> Result<Tensor, String> {
    one_size(images)?;
    match images {
        [] => Err("the batch is empty".into()),
        _ => Ok(Stacker::new(Target::REFERENCE).stack(images)),
    }
}

/// Normalizes images and stacks them into a batch.
#[derive(Debug, Clone)]
pub(crate) struct Stacker {
    target: Target,
    fp32: Table<f32>,
    /// The same values as 16-bit patterns of the target's precision. They are `i16` because `tch` treats a `bf16` as an
    /// `f16`. Unused in fp32.
    bits: Table<i16>,
}

/// The normalized value of each byte, for each of the three colors.
type Table<T> = [[T; 256]; 3];

impl Stacker {
    pub(crate) fn new(target: Target) -> Self {
        let value = |channel: usize, byte: usize| (byte as f32 / 255.0 - MEAN[channel]) / STD[channel];
        let fp32: Table<f32> = std::array::from_fn(|c| std::array::from_fn(|byte| value(c, byte)));
        let bits = |number: f32| match target.precision {
            Precision::Fp16 => f16::from_f32(number).to_bits(),
            _ => bf16::from_f32(number).to_bits(),
        };
        Self { target, bits: fp32.map(|table| table.map(|number| bits(number).cast_signed())), fp32 }
    }

    /// Returns `[N, 3, H, W]` in channels-last memory format, on the target's device and in its precision.
    ///
    /// All images must have the size of the first one.
    pub(crate) fn stack(&self, images: &[&Pixels]) -> Tensor {
        let Some(size) = images.first().map(|image| image.size()) else {
            return Tensor::empty([0, 3, 1, 1], (self.target.precision.kind(), self.target.device));
        };
        if self.target.is_gpu() {
            return self.stack_there(images, size);
        }
        // One lookup table per color: a byte has only 256 values, and a single pass reads, converts and stacks.
        match self.target.precision {
            Precision::Fp32 => stack_by(&self.fp32, images, size),
            kind @ (Precision::Bf16 | Precision::Fp16) => {
                stack_by(&self.bits, images, size).view_dtype(kind.kind())
            }
        }
    }

    /// Uploads the bytes to the GPU unconverted, which is the smallest transfer, and normalizes them there.
    ///
    /// # Panics
    /// Panics if CUDA returns an error, as `tch`'s operators do.
    fn stack_there(&self, images: &[&Pixels], size: Size) -> Tensor {
        self.normalized_there(images, size).unwrap_or_else(|error| panic!("{error}"))
    }

    fn normalized_there(&self, images: &[&Pixels], size: Size) -> Result<Tensor, FusedError> {
        let shape = [images.len() as i64, i64::from(size.height), i64::from(size.width), 3];
        let mut staged = cuda::pinned(shape.iter().product(), Kind::Uint8)?.view(shape);
        let mut bytes = Tensor::empty(shape, (Kind::Uint8, self.target.device));
        upload(&mut bytes, &mut staged, images)?;
        let padded = [shape[1], shape[2]];
        Normalization::new(MEAN, STD, padded, self.target.precision.kind(), false).apply(&bytes)
    }
}

/// Starts to copy `images` into `bytes` `[N, H, W, 3]` on a GPU.
///
/// All images must have the same size. Images in host memory are copied through `staged`, which is pinned and has the
/// shape of `bytes`; images that are already on the GPU are copied there. Callers must not change the images or
/// `staged` until they have waited for the current stream.
pub(crate) fn upload(bytes: &mut Tensor, staged: &mut Tensor, images: &[&Pixels]) -> Result<(), FusedError> {
    let device = match bytes.device() {
        Device::Cuda(device) => device,
        _ => usize::MAX,
    };
    let address = |image: &&Pixels| image.address_on(device);
    let mut at = 0;
    for run in images.chunk_by(|a, b| address(a).is_some() == address(b).is_some()) {
        if address(&run[0]).is_some() {
            for (index, address) in (at..).zip(run.iter().filter_map(address)) {
                // SAFETY: each image has as many bytes as its size requires, all have the same size, and the caller
                // keeps them alive.
                #[expect(unsafe_code, reason = "addresses in a GPU's memory")]
                unsafe {
                    cuda::copy_image(&mut bytes.get(index), address)?;
                }
            }
        } else {
            let parts: Vec<&[u8]> = run.iter().map(|image| image.rgb()).collect();
            let mut from = staged.narrow(0, at, run.len() as i64);
            cuda::fill(&mut from, &parts)?;
            cuda::copy(&mut bytes.narrow(0, at, run.len() as i64), &from)?;
        }
        at += run.len() as i64;
    }
    Ok(())
}

/// Returns the normalization of images of `size` for a network on a GPU.
///
/// Height and width are padded to multiples of `multiple`. If the network's stem runs on tensor cores and both padded
/// sides are even, the output is in blocks of 2x2 pixels.
pub(crate) fn normalization(target: Target, size: Size, multiple: u32) -> Normalization {
    let padded = [size.height, size.width].map(|side| i64::from(side.next_multiple_of(multiple.max(1))));
    let blocks = target.on_tensor_cores() && padded.iter().all(|side| side % 2 == 0);
    Normalization::new(MEAN, STD, padded, target.precision.kind(), blocks)
}

fn stack_by<T: Element + Copy + Default + Send + Sync>(
    table: &Table<T>,
    images: &[&Pixels],
    size: Size,
) -> Tensor {
    let bytes = size.width as usize * size.height as usize * 3;
    let mut values = vec![T::default(); images.len() * bytes];
    // The network's own threads are idle until the batch is complete.
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    let share = images.len().div_ceil(threads.max(1));
    thread::scope(|scope| {
        let mut shares = values.chunks_mut(share * bytes).zip(images.chunks(share));
        let own = shares.next();
        for (values, images) in shares {
            scope.spawn(move || look_up(table, images, values));
        }
        if let Some((values, images)) = own {
            look_up(table, images, values);
        }
    });
    nchw(&Tensor::from_slice(&values), images.len(), size)
}

fn look_up<T: Copy>([red, green, blue]: &Table<T>, images: &[&Pixels], values: &mut [T]) {
    let pixels = images.iter().flat_map(|image| image.rgb().chunks_exact(3));
    for (value, pixel) in values.chunks_exact_mut(3).zip(pixels) {
        value[0] = red[usize::from(pixel[0])];
        value[1] = green[usize::from(pixel[1])];
        value[2] = blue[usize::from(pixel[2])];
    }
}

/// Views `[N*H*W*3]` as `[N, 3, H, W]` without a copy.
fn nchw(values: &Tensor, images: usize, size: Size) -> Tensor {
    let size = [images as i64, i64::from(size.height), i64::from(size.width), 3];
    values.view(size).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_normalized_per_channel() {
        let size = Size { width: 2, height: 1 };
        let a = Pixels::new(size, vec![0, 128, 255, 10, 20, 30]).unwrap();
        let b = Pixels::new(size, vec![1; 6]).unwrap();
        let x = Stacker::new(Target::REFERENCE).stack(&[&a, &b]);
        assert_eq!(x.size(), [2, 3, 1, 2]);
        let at = |n, c, w| x.double_value(&[n, c, 0, w]) as f32;
        assert_eq!(at(0, 1, 0), (128.0 / 255.0 - 0.456) / 0.224);
        assert_eq!(at(0, 2, 1), (30.0 / 255.0 - 0.406) / 0.225);
        assert_eq!(at(1, 0, 1), (1.0 / 255.0 - 0.485) / 0.229);
    }

    #[test]
    fn normalization_agrees_in_all_precisions() {
        let size = Size { width: 64, height: 32 };
        let bytes: Vec<u8> = (0..size.width * size.height * 3).map(|n| (n * 7 % 256) as u8).collect();
        let image = Pixels::new(size, bytes).unwrap();
        let x = Stacker::new(Target::REFERENCE).stack(&[&image]);
        for precision in [Precision::Bf16, Precision::Fp16] {
            let stacked = Stacker::new(Target { precision, ..Target::REFERENCE }).stack(&[&image]);
            assert_eq!(stacked.kind(), precision.kind());
            let off = (stacked.to_kind(Kind::Float) - x.to_kind(precision.kind()).to_kind(Kind::Float)).abs();
            assert_eq!(off.max().double_value(&[]), 0.0, "{precision:?}");
        }
    }
}
