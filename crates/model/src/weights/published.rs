//! The weights that torchvision publishes, from the `Weights` enums of torchvision 0.26
//! (`torchvision/models/resnet.py` and `torchvision/models/detection/`).

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

/// Returns the file that torchvision uses for an architecture by default, which is its most accurate one.
/// Returns `None` if no file is known.
pub fn published(arch: &str) -> Option<&'static Published> {
    PUBLISHED.iter().rfind(|published| published.arch == arch)
}

const fn resnet(arch: &'static str, file: &'static str, size_mib: f64, top1: f64, top5: f64) -> Published {
    Published {
        arch,
        version: "IMAGENET1K_V1",
        file,
        size_mib,
        accuracy: Accuracy::ImageNet { top1, top5 },
        resize: 256,
        crop: Some(224),
    }
}

/// Returns the entry of weights from torchvision's newer training recipe.
const fn v2(first: Published) -> Published {
    Published { version: "IMAGENET1K_V2", resize: 232, ..first }
}

const fn detector(arch: &'static str, file: &'static str, size_mib: f64, box_map: f64) -> Published {
    Published {
        arch,
        version: "COCO_V1",
        file,
        size_mib,
        accuracy: Accuracy::Coco { box_map },
        resize: 800,
        crop: None,
    }
}

/// All known files. The last entry of an architecture is its default.
pub const PUBLISHED: [Published; 13] = [
    resnet("resnet18", "resnet18-f37072fd.pth", 44.661, 69.758, 89.078),
    resnet("resnet34", "resnet34-b627a593.pth", 83.275, 73.314, 91.420),
    resnet("resnet50", "resnet50-0676ba61.pth", 97.781, 76.130, 92.862),
    v2(resnet("resnet50", "resnet50-11ad3fa6.pth", 97.79, 80.858, 95.434)),
    resnet("resnet101", "resnet101-63fe2227.pth", 170.511, 77.374, 93.546),
    v2(resnet("resnet101", "resnet101-cd907fc2.pth", 170.53, 81.886, 95.780)),
    resnet("resnet152", "resnet152-394f9c45.pth", 230.434, 78.312, 94.046),
    v2(resnet("resnet152", "resnet152-f82ba261.pth", 230.474, 82.284, 96.002)),
    detector("fcos_resnet50_fpn", "fcos_resnet50_fpn_coco-99b0c9b7.pth", 123.608, 39.2),
    detector("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_coco-eeacb38b.pth", 130.267, 36.4),
    detector("retinanet_resnet50_fpn_v2", "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", 146.037, 41.5),
    detector("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 159.743, 37.0),
    detector("fasterrcnn_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", 167.104, 46.7),
];
