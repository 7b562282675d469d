//! `lookout infer --draw`: what was found, in a copy of the picture.

mod folder;

use std::path::{Path, PathBuf};

use anyhow::Context;
use image::{ImageFormat, RgbImage};
use lookout_draw::{Pen, with_findings};
use lookout_schema::{Classification, Detection};

use self::folder::Folder;

/// Draws findings into copies of pictures.
#[derive(Debug)]
pub(crate) struct Drawing {
    folder: Folder,
    pen: Pen,
}

impl Drawing {
    /// For copies of `pictures` in `folder`, which is created where it is not there.
    ///
    /// # Errors
    /// A folder that cannot be created or written to.
    pub(crate) fn new(folder: &Path, pictures: &[PathBuf]) -> anyhow::Result<Self> {
        Ok(Self { folder: Folder::create(folder, pictures)?, pen: Pen::new() })
    }

    /// Draws what was found in the picture that was named as number `index`, boxes in its pixels; the path of
    /// the copy.
    ///
    /// # Errors
    /// A copy that cannot be written.
    pub(crate) fn draw(
        &self,
        index: usize,
        picture: &RgbImage,
        detections: &[Detection],
        classes: &[Classification],
    ) -> anyhow::Result<PathBuf> {
        let path = self.folder.place(index).context("a picture that was not named at first")?;
        with_findings(&self.pen, picture, detections, classes)
            .save_with_format(&path, ImageFormat::Png)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}
