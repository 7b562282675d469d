//! `lookout infer --draw`: draws the results into a copy of the image.

mod folder;

use std::path::{Path, PathBuf};

use anyhow::Context;
use image::{ImageFormat, RgbImage};
use lookout_draw::{TextRenderer, with_findings};
use lookout_schema::{Classification, Detection};

use self::folder::Folder;

/// Draws results into copies of images.
#[derive(Debug)]
pub(crate) struct Drawing {
    folder: Folder,
    renderer: TextRenderer,
}

impl Drawing {
    /// Prepares copies of `images`, which are images, in `folder`, which is created if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created or written to.
    pub(crate) fn new(folder: &Path, images: &[PathBuf]) -> anyhow::Result<Self> {
        Ok(Self { folder: Folder::create(folder, images)?, renderer: TextRenderer::new() })
    }

    /// Draws the results for the image with this index on the command line, with boxes in its pixels, and returns the
    /// path of the copy.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be written.
    pub(crate) fn draw(
        &self,
        index: usize,
        image: &RgbImage,
        detections: &[Detection],
        classes: &[Classification],
    ) -> anyhow::Result<PathBuf> {
        let path = self.folder.place(index).context("the image is not in the list of images")?;
        with_findings(&self.renderer, image, detections, classes)
            .save_with_format(&path, ImageFormat::Png)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}
