//! A weight file that torchvision publishes. [`crate::archs`] has the files of each network, from the `Weights` enums
//! of torchvision 0.26 (`torchvision/models/resnet.py` and `torchvision/models/detection/`).

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// A weight file that torchvision publishes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Published {
    pub arch: &'static str,
    /// torchvision's name of the weights' version, such as `IMAGENET1K_V2`.
    pub version: &'static str,
    /// The file's name. It ends with the first eight hex digits of the file's SHA-256.
    pub file: &'static str,
    /// Size in MiB, rounded or truncated to three decimal places.
    pub size_mib: f64,
    pub accuracy: Accuracy,
    /// Size of the shorter side of an image after the resize, in pixels.
    pub resize: u32,
    /// Side of the center crop after the resize, in pixels. `None` for detectors, which process the whole
    /// image.
    pub crop: Option<u32>,
}

/// The accuracy of a network on its validation set.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(tag = "data")]
pub enum Accuracy {
    /// Top-1 and top-5 accuracy of a classifier on ImageNet-1k's validation set, in percent.
    #[serde(rename = "imagenet-1k")]
    ImageNet { top1: f64, top5: f64 },
    /// Mean average precision (mAP) of a detector over IoUs of 0.5 to 0.95 on COCO's val2017, in percent.
    #[serde(rename = "coco-val2017")]
    Coco { box_map: f64 },
}

impl Published {
    /// Describes weights of a classifier from torchvision's first training recipe.
    pub(crate) const fn imagenet_v1(
        arch: &'static str,
        file: &'static str,
        size_mib: f64,
        top1: f64,
        top5: f64,
    ) -> Self {
        Self {
            arch,
            version: "IMAGENET1K_V1",
            file,
            size_mib,
            accuracy: Accuracy::ImageNet { top1, top5 },
            resize: 256,
            crop: Some(224),
        }
    }

    /// Describes weights of a classifier from torchvision's newer training recipe.
    pub(crate) const fn imagenet_v2(
        arch: &'static str,
        file: &'static str,
        size_mib: f64,
        top1: f64,
        top5: f64,
    ) -> Self {
        let first = Self::imagenet_v1(arch, file, size_mib, top1, top5);
        Self { version: "IMAGENET1K_V2", resize: 232, ..first }
    }

    /// Describes weights of a detector.
    pub(crate) const fn coco_v1(arch: &'static str, file: &'static str, size_mib: f64, box_map: f64) -> Self {
        Self {
            arch,
            version: "COCO_V1",
            file,
            size_mib,
            accuracy: Accuracy::Coco { box_map },
            resize: 800,
            crop: None,
        }
    }

    /// Returns the first eight hex digits of the file's SHA-256.
    pub fn digest_prefix(&self) -> &'static str {
        let stem = self.file.strip_suffix(".pth").unwrap_or(self.file);
        stem.rsplit_once('-').map_or("", |(_, digest)| digest)
    }

    /// Returns the file's path in a cache folder.
    pub fn place(&self, cache_dir: &Path) -> PathBuf {
        cache_dir.join("weights").join(self.file)
    }

    /// Returns whether the file at `place` is the published one, by its SHA-256.
    ///
    /// # Errors
    ///
    /// The file does not exist or cannot be read.
    pub fn is_whole(&self, place: &Path) -> io::Result<bool> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(place)?);
        let mut digest = Sha256::new();
        loop {
            let bytes = file.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            digest.update(bytes);
            let count = bytes.len();
            file.consume(count);
        }
        Ok(hex::encode(digest.finalize()).starts_with(self.digest_prefix()))
    }

    /// Returns the range of sizes in bytes that the file can have, given the precision of its published size.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are positive and far from 2^53 bytes"
    )]
    pub(super) fn bytes(&self) -> RangeInclusive<u64> {
        const MIB: f64 = 1024.0 * 1024.0;
        // Some of the published sizes are rounded to three places, others are truncated.
        const UNIT: f64 = 0.001;
        let [least, most] = [-UNIT, UNIT].map(|off| ((self.size_mib + off) * MIB) as u64);
        least..=most
    }
}
