//! COCO's JSON: <https://cocodataset.org/#format-data>.

mod file;
mod place;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub use self::file::CocoDetection;
use self::file::{Annotation, CocoFile, Image};
use super::{
    Classes, DataError, DataSet, Entry, IgnoredAre, LeftOut, Reason,
    boxes::{size, sound},
    files::within,
};
use crate::sample::Target;
use lookout_measure::ObjectTarget;

/// The data set of a file, or of the split `split` of a folder; pictures in the order of their ids.
pub(super) fn open(path: &Path, split: Option<&str>) -> Result<DataSet, DataError> {
    let path = place::annotations(path, split)?;
    data_set(&path, file::read(&path)?)
}

fn data_set(path: &Path, file: CocoFile) -> Result<DataSet, DataError> {
    let categories = file.categories.into_iter().map(|category| (category.id, category.name)).collect();
    let classes = classes(path, categories)?;
    let mut entries = entries(path, file.images)?;
    let mut left_out = LeftOut::default();
    for (index, annotation) in file.annotations.iter().enumerate() {
        let place = entries.binary_search_by_key(&annotation.image_id, |entry| entry.number);
        let entry = place.ok().and_then(|place| entries.get_mut(place));
        let object = match entry {
            None => Err(Reason::UnknownPicture),
            Some(entry) => object(annotation, &classes, entry, &mut left_out).map(|object| {
                if let Target::Objects(objects) = &mut entry.target {
                    objects.push(object);
                }
            }),
        };
        if let Err(reason) = object {
            let id = annotation.id.map_or_else(|| format!("number {index}"), |id| id.to_string());
            left_out.add(path, format!("annotation {id} of image {}", annotation.image_id), reason);
        }
    }
    Ok(DataSet { classes, entries, left_out, ignored: IgnoredAre::Crowds, of_pictures: false })
}

fn classes(path: &Path, categories: Vec<(u64, String)>) -> Result<Classes, DataError> {
    if categories.is_empty() {
        return Err(DataError::wrong(path, "categories", "there is none; each class needs its id and name"));
    }
    let mut ids = BTreeSet::new();
    if let Some((twice, _)) = categories.iter().find(|(id, _)| !ids.insert(*id)) {
        let what = format!("{twice} is the id of two; give each class one of its own");
        return Err(DataError::wrong(path, "categories", what));
    }
    Ok(Classes::numbered(categories))
}

fn entries(path: &Path, images: Vec<Image>) -> Result<Vec<Entry>, DataError> {
    let Some(first) = images.first() else {
        return Err(DataError::wrong(path, "images", "there is none"));
    };
    let folder = place::pictures(path, &first.file_name);
    let mut entries = BTreeMap::new();
    for Image { id, file_name: name, width, height } in images {
        let at = || format!("image {id}");
        let Some(size) = size(width, height) else {
            let what =
                format!("no picture is {width}x{height}; its width and height have to be those of the file");
            return Err(DataError::wrong(path, at(), what));
        };
        let Some(place) = within(&folder, &name) else {
            let what = format!(
                "the file name `{name}` leads out of the data set; pictures have to lie in its folder"
            );
            return Err(DataError::wrong(path, at(), what));
        };
        let target = Target::Objects(Vec::new());
        let entry = Entry { name, path: place, number: id, size: Some(size), target };
        if entries.insert(id, entry).is_some() {
            return Err(DataError::wrong(path, at(), "two pictures have this id; give each one of its own"));
        }
    }
    Ok(entries.into_values().collect())
}

fn object(
    annotation: &Annotation,
    classes: &Classes,
    entry: &Entry,
    left_out: &mut LeftOut,
) -> Result<ObjectTarget, Reason> {
    let class_id = classes.of_number(annotation.category_id).ok_or(Reason::UnknownClass)?;
    let Some([x, y, width, height]) = annotation.bbox.as_deref() else { return Err(Reason::NoBox) };
    let (Some(x), Some(y), Some(width), Some(height)) = (x, y, width, height) else {
        return Err(Reason::NotANumber);
    };
    let size = entry.size.ok_or(Reason::UnknownPicture)?;
    let bbox = sound([*x, *y, x + width, y + height], size, left_out)?;
    let area = annotation.area.filter(|area| area.is_finite() && *area >= 0.0).unwrap_or(width * height);
    Ok(ObjectTarget { class_id, bbox, ignore: annotation.iscrowd, area: area as f32 })
}

#[cfg(test)]
mod tests;
