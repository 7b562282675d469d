//! COCO's JSON format: <https://cocodataset.org/#format-data>.

mod file;
mod layout;
mod loose;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use lookout_config::ExifOrientation;
use lookout_measure::ObjectTarget;
use lookout_schema::{BBox, MAX_SIDE, Size};

pub use self::file::CocoDetection;
use self::{
    file::{Annotation, Category, CocoFile, Image},
    layout::ImageFolders,
    loose::Loose,
};
use super::{
    Classes, DataError, DataSet, Entry, IgnoredAre, SkipReason, Skipped,
    boxes::{size, valid_box},
    files::size_on_disk,
};
use crate::sample::Target;

/// The assumed size of an image without a known size whose file is missing.
const LARGEST: Size = Size { width: MAX_SIDE, height: MAX_SIDE };

/// Opens the data set of a file, or of the split `split` in a folder, with the images sorted by id.
pub(super) fn open(path: &Path, split: Option<&str>, exif: ExifOrientation) -> Result<DataSet, DataError> {
    let path = layout::annotation_file(path, split)?;
    data_set(&path, file::read(&path)?, exif)
}

fn data_set(path: &Path, file: CocoFile, exif: ExifOrientation) -> Result<DataSet, DataError> {
    let classes = classes(path, &file.categories)?;
    let (mut entries, numbers) = entries(path, file.images, exif)?;
    let mut skipped = Skipped::default();
    for (index, annotation) in file.annotations.iter().enumerate() {
        let here = || {
            let id = match &annotation.id {
                Loose::Null => format!("number {index}"),
                id => id.to_string(),
            };
            format!("annotation {id} of image {}", annotation.image_id)
        };
        let invalid = |what: String| DataError::invalid(path, here(), what);
        let Some(category) = annotation.category_id.integer() else {
            let found = &annotation.category_id;
            return Err(invalid(format!(
                "its category_id is {found}, and must be the id of a category, a whole number"
            )));
        };
        let Some(ignore) = annotation.iscrowd.flag() else {
            return Err(invalid(format!("iscrowd is 0 or 1, not {}", annotation.iscrowd)));
        };
        let entry = numbers.get(&Id::of(&annotation.image_id)).and_then(|index| entries.get_mut(*index));
        let object = match (entry, classes.of_number(category)) {
            (None, _) => Err(SkipReason::UnknownImage),
            (_, None) => Err(SkipReason::UnknownClass),
            (Some(entry), Some(class_id)) => add(annotation, (class_id, ignore), entry, &mut skipped),
        };
        if let Err(reason) = object {
            skipped.add(path, here(), reason);
        }
    }
    let ignored = IgnoredAre::Crowds;
    Ok(DataSet { classes, entries, skipped, ignored, of_images: false, exif })
}

fn classes(path: &Path, categories: &[Category]) -> Result<Classes, DataError> {
    if categories.is_empty() {
        return Err(DataError::invalid(
            path,
            "categories",
            "the list is empty; each class needs an id and a name",
        ));
    }
    let number = |category: &Category| {
        let what = || format!("the id of `{}` is {}, and must be a whole number", category.name, category.id);
        let id = category.id.integer().ok_or_else(|| DataError::invalid(path, "categories", what()))?;
        Ok((id, category.name.clone()))
    };
    let categories = categories.iter().map(number).collect::<Result<Vec<_>, DataError>>()?;
    let mut ids = BTreeSet::new();
    if let Some((twice, _)) = categories.iter().find(|(id, _)| !ids.insert(*id)) {
        let what = format!("two categories have the id {twice}; give each its own id");
        return Err(DataError::invalid(path, "categories", what));
    }
    Ok(Classes::numbered(categories))
}

/// The id of an image: a number, or a text such as a UUID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Number(u64),
    Text(String),
}

impl Id {
    fn of(value: &Loose) -> Self {
        match value.integer() {
            Some(number) => Self::Number(number),
            None => match value {
                Loose::Text(text) => Self::Text(text.clone()),
                other => Self::Text(other.to_string()),
            },
        }
    }
}

/// Returns the images sorted by id, and the index of each id.
fn entries(
    path: &Path,
    images: Vec<Image>,
    exif: ExifOrientation,
) -> Result<(Vec<Entry>, BTreeMap<Id, usize>), DataError> {
    if images.is_empty() {
        return Err(DataError::invalid(path, "images", "the list is empty"));
    }
    let mut folders = ImageFolders::around(path);
    let mut entries = BTreeMap::new();
    for Image { id, file_name: name, width, height } in images {
        let at = || format!("image {id}");
        if matches!(id, Loose::Null | Loose::List(_) | Loose::Object) {
            return Err(DataError::invalid(
                path,
                format!("image `{name}`"),
                "it has no id for annotations to refer to",
            ));
        }
        let unknown = width == Loose::Null && height == Loose::Null;
        let annotated = width.number().zip(height.number()).and_then(|(width, height)| size(width, height));
        if annotated.is_none() && !unknown {
            let what =
                format!("its size cannot be {width}x{height}; width and height must be those of the file");
            return Err(DataError::invalid(path, at(), what));
        }
        let Some(file) = folders.find(&name) else {
            let what = format!(
                "the file name `{name}` points outside of the data set; images must be in its folder"
            );
            return Err(DataError::invalid(path, at(), what));
        };
        // A missing file is reported later, together with all other missing files.
        let size = if unknown && file.is_file() { Some(size_on_disk(&file, exif)?) } else { annotated };
        let target = Target::Objects(Vec::new());
        let entry = Entry { name, path: file, number: 0, size, target, evaluation_objects: None };
        if entries.insert(Id::of(&id), entry).is_some() {
            return Err(DataError::invalid(path, at(), "two images have this id; give each its own id"));
        }
    }
    let all_numbers = entries.keys().all(|id| matches!(id, Id::Number(_)));
    let mut numbers = BTreeMap::new();
    let mut list = Vec::with_capacity(entries.len());
    for (index, (id, mut entry)) in entries.into_iter().enumerate() {
        entry.number = match &id {
            Id::Number(number) if all_numbers => *number,
            _ => index as u64 + 1,
        };
        numbers.insert(id, index);
        list.push(entry);
    }
    Ok((list, numbers))
}

/// Adds an object to its image. For training, its box is clipped to the image; for evaluation it is kept whole, as in
/// pycocotools, even if nothing is left after clipping.
fn add(
    annotation: &Annotation,
    (class_id, ignore): (u32, bool),
    entry: &mut Entry,
    skipped: &mut Skipped,
) -> Result<(), SkipReason> {
    let Loose::List(numbers) = &annotation.bbox else { return Err(SkipReason::NoBox) };
    let [x, y, width, height] = &numbers[..] else { return Err(SkipReason::NoBox) };
    let [Some(x), Some(y), Some(width), Some(height)] = [x, y, width, height].map(Loose::number) else {
        return Err(SkipReason::NotANumber);
    };
    let area =
        annotation.area.number().filter(|area| area.is_finite() && *area >= 0.0).unwrap_or(width * height);
    let corners = [x, y, x + width, y + height];
    if corners.iter().any(|corner| !corner.is_finite() || corner.abs() > f64::from(f32::MAX)) {
        return Err(SkipReason::NotANumber);
    }
    let object = |bbox| ObjectTarget { class_id, bbox, ignore, area: area as f32 };
    let whole = object(BBox::from(corners.map(|corner| corner as f32)));
    entry.evaluation_objects.get_or_insert_default().push(whole);
    let bbox = valid_box(corners, entry.size.unwrap_or(LARGEST), skipped)?;
    if let Target::Objects(objects) = &mut entry.target {
        objects.push(object(bbox));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
