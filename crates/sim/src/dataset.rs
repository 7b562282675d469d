//! Data sets of simulated images, in COCO's format (Lin et al., Microsoft COCO, 2014).

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use lookout_schema::Size;
use serde_json::json;

use crate::{ClipSettings, FrameTruth, Kind, Place, RenderedFrame, Renderer, Scene, SimError, Weather};

/// The content of a data set.
#[derive(Debug, Clone, Copy)]
pub struct DatasetSettings {
    /// The seed of the first scene. Scenes with different seeds are independent.
    pub first_seed: u64,
    pub scenes: u64,
    /// Number of images per scene, each by a different camera and some seconds apart.
    pub images_per_scene: u64,
    pub size: Size,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

/// Returns the place of a seed; the three places alternate.
pub fn place(seed: u64) -> Place {
    Place::ALL[(seed % 3) as usize]
}

/// An image of a data set, with its ground truth.
pub(crate) struct Shot {
    pub(crate) seed: u64,
    pub(crate) frame: RenderedFrame,
    pub(crate) truth: FrameTruth,
}

/// Returns the images of a data set, scene by scene. Each has its own camera and weather, for as much variety as
/// possible.
pub(crate) fn shots(settings: &DatasetSettings) -> impl Iterator<Item = Result<Shot, SimError>> {
    let DatasetSettings { first_seed, scenes, images_per_scene, size, .. } = *settings;
    let seeds = first_seed..first_seed + scenes;
    seeds.flat_map(move |seed| (0..images_per_scene).map(move |shot| (seed, shot))).map(
        move |(seed, shot)| {
            let weather = Weather::of(seed.wrapping_mul(1009).wrapping_add(shot));
            let renderer = Renderer::new(Scene::new(place(seed), seed), shot as usize, size, weather);
            let (frame, truth) = renderer.ok_or(SimError::Size(size))?.frame(shot, 3.0 + 7.3 * shot as f64);
            Ok(Shot { seed, frame, truth })
        },
    )
}

/// Writes `annotations.json` and `images/` into `folder` and returns the number of images. `progress` is called with
/// the number of images so far.
///
/// # Errors
/// Returns an error if a file cannot be written.
pub fn write_dataset(
    folder: &Path,
    settings: &DatasetSettings,
    mut progress: impl FnMut(u64),
) -> Result<u64, SimError> {
    let mut written = CocoFolder::create(folder)?;
    for shot in shots(settings) {
        let Shot { frame, truth, .. } = shot?;
        let name = format!("{:06}.jpg", written.count() + 1);
        write_jpeg(&written.place(&name), &frame, settings.quality)?;
        written.add(&name, frame.size, &truth);
        progress(written.count());
    }
    let about = json!({
        "description": "simulated by lookout sim", "first_seed": settings.first_seed, "scenes": settings.scenes,
    });
    written.finish(&about)
}

/// Writes the frames of clips without lossy compression: `images/camera-N-FRAME.png` with `annotations.json` in
/// `folder`. `cameras` pairs the number of each camera with its clip.
///
/// # Errors
/// Returns an error if a file cannot be written.
pub fn write_frames(folder: &Path, cameras: &[(usize, ClipSettings)]) -> Result<u64, SimError> {
    let mut written = CocoFolder::create(folder)?;
    for (number, clip) in cameras {
        let renderer = Renderer::new(clip.scene, clip.camera, clip.size, clip.weather);
        let mut renderer = renderer.ok_or(SimError::Size(clip.size))?;
        for n in 0..clip.frames {
            let (frame, truth) = renderer.frame(n, clip.at_s(n));
            let name = format!("camera-{number}-{n:06}.png");
            write_png(&written.place(&name), frame)?;
            written.add(&name, clip.size, &truth);
        }
    }
    written.finish(&json!({"description": "the frames of simulated cameras, by lookout sim"}))
}

/// A data set that is being written.
struct CocoFolder {
    folder: PathBuf,
    images: Vec<serde_json::Value>,
    annotations: Vec<serde_json::Value>,
}

impl CocoFolder {
    fn create(folder: &Path) -> Result<Self, SimError> {
        let images = folder.join("images");
        fs::create_dir_all(&images).map_err(|source| SimError::Write { path: images.clone(), source })?;
        Ok(Self { folder: folder.to_owned(), images: Vec::new(), annotations: Vec::new() })
    }

    /// Returns the path of an image.
    fn place(&self, name: &str) -> PathBuf {
        self.folder.join("images").join(name)
    }

    fn count(&self) -> u64 {
        self.images.len() as u64
    }

    fn add(&mut self, name: &str, size: Size, truth: &FrameTruth) {
        let id = self.count() + 1;
        self.images.push(json!({"id": id, "file_name": name, "width": size.width, "height": size.height}));
        annotate(id, truth, &mut self.annotations);
    }

    fn finish(self, about: &serde_json::Value) -> Result<u64, SimError> {
        let categories: Vec<_> =
            Kind::ALL.iter().map(|kind| json!({"id": kind.class_id(), "name": kind.label()})).collect();
        let all = json!({
            "info": about, "images": self.images, "annotations": self.annotations, "categories": categories,
        });
        let path = self.folder.join("annotations.json");
        let written = File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            serde_json::to_writer(&mut file, &all)?;
            file.flush()
        });
        written.map_err(|source| SimError::Write { path, source })?;
        Ok(self.count())
    }
}

fn annotate(image: u64, truth: &FrameTruth, annotations: &mut Vec<serde_json::Value>) {
    for object in &truth.objects {
        let b = object.bbox;
        let (width, height) = (b.x2 - b.x1, b.y2 - b.y1);
        annotations.push(json!({
            "id": annotations.len() + 1,
            "image_id": image,
            "category_id": object.class_id,
            "bbox": [b.x1, b.y1, width, height],
            "area": width * height,
            // Objects that are too small or too occluded are ignored in evaluation, like crowds.
            "iscrowd": u8::from(object.ignore),
        }));
    }
}

fn write_jpeg(path: &Path, frame: &RenderedFrame, quality: u8) -> Result<(), SimError> {
    let file = File::create(path).map_err(|source| SimError::Write { path: path.into(), source })?;
    let Size { width, height } = frame.size;
    JpegEncoder::new_with_quality(BufWriter::new(file), quality)
        .encode(&frame.rgb, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| SimError::Image { path: path.into(), reason: error.to_string() })
}

fn write_png(path: &Path, frame: RenderedFrame) -> Result<(), SimError> {
    let Size { width, height } = frame.size;
    image::RgbImage::from_raw(width, height, frame.rgb)
        .ok_or(SimError::Size(frame.size))?
        .save(path)
        .map_err(|error| SimError::Image { path: path.into(), reason: error.to_string() })
}
