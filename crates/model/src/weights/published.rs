//! The weights that torchvision publishes, from the `Weights` enums of torchvision 0.26
//! (`torchvision/models/resnet.py` and `torchvision/models/detection/`).

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::read::hex;

/// One file of weights that torchvision publishes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Published {
    pub arch: &'static str,
    /// torchvision's name of the training, such as `IMAGENET1K_V2`.
    pub version: &'static str,
    /// The file's name. The eight hex digits at its end begin its SHA-256.
    pub file: &'static str,
    /// In MiB, rounded to three places.
    pub size_mib: f64,
    pub accuracy: Accuracy,
    /// What the shorter side of a picture is resized to, in pixels.
    pub resize: u32,
    /// The side of the square that is then cut out, in pixels; a detector sees the whole picture.
    pub crop: Option<u32>,
}

/// How well a network does on the data that it is judged by.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(tag = "data")]
pub enum Accuracy {
    /// A classifier's share of pictures of ImageNet-1k's validation set, in per cent, whose class is
    /// the first, or among the first five.
    #[serde(rename = "imagenet-1k")]
    ImageNet { top1: f64, top5: f64 },
    /// A detector's mean average precision over IoUs of 0.5 to 0.95 on COCO's val2017, in per cent.
    #[serde(rename = "coco-val2017")]
    Coco { box_map: f64 },
}

impl Published {
    /// The eight hex digits that the file's SHA-256 begins with.
    pub fn digest_prefix(&self) -> &'static str {
        let stem = self.file.strip_suffix(".pth").unwrap_or(self.file);
        stem.rsplit_once('-').map_or("", |(_, digest)| digest)
    }

    /// Where the file is kept in a cache folder.
    pub fn place(&self, cache_dir: &Path) -> PathBuf {
        cache_dir.join("weights").join(self.file)
    }

    /// Whether the file at `place` is the published one, by its SHA-256.
    ///
    /// # Errors
    ///
    /// When it is not there or cannot be read.
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
        Ok(hex(&digest.finalize()).starts_with(self.digest_prefix()))
    }

    /// How many bytes the file can have, as far as its published size tells.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are positive and far from 2^53 bytes"
    )]
    pub(super) fn bytes(&self) -> RangeInclusive<u64> {
        const MIB: f64 = 1024.0 * 1024.0;
        // Some of the published sizes are rounded to three places, some are cut.
        const UNIT: f64 = 0.001;
        let [least, most] = [-UNIT, UNIT].map(|off| ((self.size_mib + off) * MIB) as u64);
        least..=most
    }
}

/// The file that torchvision takes for an architecture by default: its best one.
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

/// Of the newer training.
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

/// Every file that is known; of an architecture, the default one is the last.
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
