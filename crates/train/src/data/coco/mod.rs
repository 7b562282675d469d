//! COCO's JSON format: <https://cocodataset.org/#format-data>.

mod file;
mod loose;
mod place;

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
    loose::Loose,
    place::Places,
};
use super::{
    Classes, DataError, DataSet, Entry, IgnoredAre, LeftOut, Reason,
    boxes::{size, sound},
    files::size_on_disk,
};
use crate::sample::Target;

/// The assumed size of an image without a known size whose file is missing.
const LARGEST: Size = Size { width: MAX_SIDE, height: MAX_SIDE };

/// Opens the data set of a file, or of the split `split` in a folder, with the images sorted by id.
pub(super) fn open(path: &Path, split: Option<&str>, exif: ExifOrientation) -> Result<DataSet, DataError> {
    let path = place::annotations(path, split)?;
    data_set(&path, file::read(&path)?, exif)
}

fn data_set(path: &Path, file: CocoFile, exif: ExifOrientation) -> Result<DataSet, DataError> {
    let classes = classes(path, &file.categories)?;
    let (mut entries, numbers) = entries(path, file.images, exif)?;
    let mut left_out = LeftOut::default();
    for (index, annotation) in file.annotations.iter().enumerate() {
        let here = || {
            let id = match &annotation.id {
                Loose::Null => format!("number {index}"),
                id => id.to_string(),
            };
            format!("annotation {id} of image {}", annotation.image_id)
        };
        let wrong = |what: String| DataError::wrong(path, here(), what);
        let Some(category) = annotation.category_id.whole() else {
            let found = &annotation.category_id;
            return Err(wrong(format!(
                "its category_id is {found}, and must be the id of a category, a whole number"
            )));
        };
        let Some(ignore) = annotation.iscrowd.flag() else {
            return Err(wrong(format!("iscrowd is 0 or 1, not {}", annotation.iscrowd)));
        };
        let place = numbers.get(&Id::of(&annotation.image_id));
        let entry = place.and_then(|place| entries.get_mut(*place));
        let object = match (entry, classes.of_number(category)) {
            (None, _) => Err(Reason::UnknownPicture),
            (_, None) => Err(Reason::UnknownClass),
            (Some(entry), Some(class_id)) => add(annotation, (class_id, ignore), entry, &mut left_out),
        };
        if let Err(reason) = object {
            left_out.add(path, here(), reason);
        }
    }
    let ignored = IgnoredAre::Crowds;
    Ok(DataSet { classes, entries, left_out, ignored, of_pictures: false, exif })
}

fn classes(path: &Path, categories: &[Category]) -> Result<Classes, DataError> {
    if categories.is_empty() {
        return Err(DataError::wrong(
            path,
            "categories",
            "the list is empty; each class needs an id and a name",
        ));
    }
    let number = |category: &Category| {
        let what = || format!("the id of `{}` is {}, and must be a whole number", category.name, category.id);
        let id = category.id.whole().ok_or_else(|| DataError::wrong(path, "categories", what()))?;
        Ok((id, category.name.clone()))
    };
    let categories = categories.iter().map(number).collect::<Result<Vec<_>, DataError>>()?;
    let mut ids = BTreeSet::new();
    if let Some((twice, _)) = categories.iter().find(|(id, _)| !ids.insert(*id)) {
        let what = format!("two categories have the id {twice}; give each its own id");
        return Err(DataError::wrong(path, "categories", what));
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
        match value.whole() {
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
        return Err(DataError::wrong(path, "images", "the list is empty"));
    }
    let mut places = Places::around(path);
    let mut entries = BTreeMap::new();
    for Image { id, file_name: name, width, height } in images {
        let at = || format!("image {id}");
        if matches!(id, Loose::Null | Loose::List(_) | Loose::Object) {
            return Err(DataError::wrong(
                path,
                format!("image `{name}`"),
                "it has no id for annotations to refer to",
            ));
        }
        let unknown = width == Loose::Null && height == Loose::Null;
        let said = width.number().zip(height.number()).and_then(|(width, height)| size(width, height));
        if said.is_none() && !unknown {
            let what =
                format!("its size cannot be {width}x{height}; width and height must be those of the file");
            return Err(DataError::wrong(path, at(), what));
        }
        let Some(place) = places.of(&name) else {
            let what = format!(
                "the file name `{name}` points outside of the data set; images must be in its folder"
            );
            return Err(DataError::wrong(path, at(), what));
        };
        // A missing file is reported later, together with all other missing files.
        let size = if unknown && place.is_file() { Some(size_on_disk(&place, exif)?) } else { said };
        let target = Target::Objects(Vec::new());
        let entry = Entry { name, path: place, number: 0, size, target, judged: None };
        if entries.insert(Id::of(&id), entry).is_some() {
            return Err(DataError::wrong(path, at(), "two images have this id; give each its own id"));
        }
    }
    let all_numbers = entries.keys().all(|id| matches!(id, Id::Number(_)));
    let mut numbers = BTreeMap::new();
    let mut list = Vec::with_capacity(entries.len());
    for (place, (id, mut entry)) in entries.into_iter().enumerate() {
        entry.number = match &id {
            Id::Number(number) if all_numbers => *number,
            _ => place as u64 + 1,
        };
        numbers.insert(id, place);
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
    left_out: &mut LeftOut,
) -> Result<(), Reason> {
    let Loose::List(numbers) = &annotation.bbox else { return Err(Reason::NoBox) };
    let [x, y, width, height] = &numbers[..] else { return Err(Reason::NoBox) };
    let [Some(x), Some(y), Some(width), Some(height)] = [x, y, width, height].map(Loose::number) else {
        return Err(Reason::NotANumber);
    };
    let area =
        annotation.area.number().filter(|area| area.is_finite() && *area >= 0.0).unwrap_or(width * height);
    let corners = [x, y, x + width, y + height];
    if corners.iter().any(|corner| !corner.is_finite() || corner.abs() > f64::from(f32::MAX)) {
        return Err(Reason::NotANumber);
    }
    let object = |bbox| ObjectTarget { class_id, bbox, ignore, area: area as f32 };
    let whole = object(BBox::from(corners.map(|corner| corner as f32)));
    entry.judged.get_or_insert_default().push(whole);
    let bbox = sound(corners, entry.size.unwrap_or(LARGEST), left_out)?;
    if let Target::Objects(objects) = &mut entry.target {
        objects.push(object(bbox));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
