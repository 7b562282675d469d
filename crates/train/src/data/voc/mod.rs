//! Pascal VOC: an XML file a picture, and lists of pictures for splits.
//! <http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html>

mod annotation;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    str,
};

use lookout_schema::Size;

use self::annotation::Annotation;
use super::{
    Classes, DataError, DataSet, Entry, IgnoredAre, LeftOut, Reason,
    boxes::{size, sound},
    files::{self, PICTURES, listed, name_of, within},
};
use crate::sample::Target;
use lookout_measure::ObjectTarget;

const ANNOTATIONS: &str = "Annotations";
const PICTURES_FOLDER: &str = "JPEGImages";
const SPLITS: &str = "ImageSets/Main";

/// An annotation of a thousand objects has half a megabyte.
const XML_LIMIT: u64 = 16 << 20;
const SPLIT_LIMIT: u64 = 256 << 20;

/// The data set in `root`, or what of it the list `split` names. The classes are those of all its annotations,
/// whatever the split, in the order of the alphabet: so the splits agree on them.
pub(super) fn open(root: &Path, split: Option<&str>) -> Result<DataSet, DataError> {
    let folder = root.join(ANNOTATIONS);
    if !folder.is_dir() {
        return Err(DataError::layout(
            root,
            format!("it has no folder `{ANNOTATIONS}`, which Pascal VOC's has"),
        ));
    }
    let mut left_out = LeftOut::default();
    let asked = split.map(|split| listed_in(root, split, &mut left_out)).transpose()?;
    let mut all = Vec::new();
    for path in listed(&folder)? {
        match path.extension() {
            Some(ending) if ending == "xml" => {
                let annotation = annotation::parse(&path, &files::read(&path, XML_LIMIT)?)?;
                all.push((path, annotation));
            }
            _ => left_out.add(path, "the file", Reason::NotAPicture),
        }
    }
    let names: BTreeSet<&str> = all
        .iter()
        .flat_map(|(_, annotation)| &annotation.objects)
        .map(|object| object.name.as_str())
        .collect();
    let classes = Classes::of_objects(names.into_iter().map(str::to_owned).collect());
    if let Some(asked) = &asked {
        all.retain(|(path, _)| asked.contains(&stem(path)));
        if let Some(absent) = absent(asked, &all) {
            let what = format!("the list of `{}` names it, and it is not there", split.unwrap_or_default());
            return Err(DataError::layout(&folder.join(format!("{absent}.xml")), what));
        }
    }
    let mut entries = Vec::new();
    for (number, (path, annotation)) in (1..).zip(all) {
        entries.push(entry(root, number, (path, annotation), (&classes, &mut left_out))?);
    }
    if entries.is_empty() {
        return Err(DataError::layout(&folder, "there is no annotation in it"));
    }
    Ok(DataSet { classes, entries, left_out, ignored: IgnoredAre::Difficult, of_pictures: false })
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The first name of a list that has no annotation.
fn absent<'a>(asked: &'a BTreeSet<String>, all: &[(PathBuf, Annotation)]) -> Option<&'a String> {
    let there: BTreeSet<String> = all.iter().map(|(path, _)| stem(path)).collect();
    asked.iter().find(|name| !there.contains(*name))
}

/// The names in the list of a split. In the lists of single classes a number follows each name, which says
/// whether the class is there; it is passed over, for the annotations know.
fn listed_in(root: &Path, split: &str, left_out: &mut LeftOut) -> Result<BTreeSet<String>, DataError> {
    let folder = root.join(SPLITS);
    let path = within(&folder, &format!("{split}.txt")).filter(|path| path.is_file());
    let Some(path) = path else {
        let there = if folder.is_dir() { listed(&folder)? } else { Vec::new() };
        let there = there.iter().map(|path| stem(path)).collect();
        return Err(DataError::NoSplit { path: root.to_owned(), split: split.into(), there });
    };
    let bytes = files::read(&path, SPLIT_LIMIT)?;
    let text = str::from_utf8(&bytes).map_err(|_| DataError::layout(&path, "it is not UTF-8 text"))?;
    let mut names = BTreeSet::new();
    for (line, name) in (1..).zip(text.lines()) {
        let Some(name) = name.split_whitespace().next() else { continue };
        if !names.insert(name.to_owned()) {
            left_out.add(&path, format!("line {line}, {name}"), Reason::Repeated);
        }
    }
    if names.is_empty() {
        return Err(DataError::layout(&path, "the split names no picture"));
    }
    Ok(names)
}

fn entry(
    root: &Path,
    number: u64,
    (file, annotation): (PathBuf, Annotation),
    (classes, left_out): (&Classes, &mut LeftOut),
) -> Result<Entry, DataError> {
    let path = picture(root, &stem(&file), annotation.filename.as_deref());
    let size = match annotation.size {
        Some([width, height]) => size(width, height).ok_or_else(|| {
            let what = format!("no picture is {width}x{height}; <size> has to be that of the file");
            DataError::wrong(&file, "<size>", what)
        })?,
        None => on_disk(&path)?,
    };
    let mut objects = Vec::new();
    for (at, object) in (1..).zip(annotation.objects) {
        let bbox = match object.bndbox {
            None => Err(Reason::NoBox),
            // A box that is no wider than zero in the file was a click; it is not made a pixel wide below.
            Some([x1, y1, x2, y2]) if x2 <= x1 || y2 <= y1 => Err(Reason::NoArea),
            // Pascal VOC counts pixels from 1, and a box's last pixel belongs to it.
            Some([x1, y1, x2, y2]) => sound([x1 - 1.0, y1 - 1.0, x2, y2], size, left_out),
        };
        match (bbox, classes.id(&object.name)) {
            (Ok(bbox), Some(class_id)) => {
                let area = (bbox.x2 - bbox.x1) * (bbox.y2 - bbox.y1);
                objects.push(ObjectTarget { class_id, bbox, ignore: object.difficult, area });
            }
            (Ok(_), None) => {
                left_out.add(&file, format!("object {at} ({})", object.name), Reason::UnknownClass);
            }
            (Err(reason), _) => left_out.add(&file, format!("object {at} ({})", object.name), reason),
        }
    }
    let name = name_of(&path).unwrap_or_default();
    Ok(Entry { name, path, number, size: Some(size), target: Target::Objects(objects) })
}

/// Where an annotation's picture is: by the annotation's own name, as Pascal VOC's are; else by what it says,
/// which tools do not change when files are renamed.
fn picture(root: &Path, stem: &str, filename: Option<&str>) -> PathBuf {
    let mut folders = [root.join(PICTURES_FOLDER), root.join(ANNOTATIONS), root.to_owned()].into_iter();
    let found = folders.find_map(|folder| {
        let endings = PICTURES.iter().flat_map(|ending| [(*ending).to_owned(), ending.to_ascii_uppercase()]);
        let mut by_stem = endings.map(|ending| folder.join(format!("{stem}.{ending}")));
        // A path from another machine means nothing here; its last part may.
        let by_name = filename.and_then(|name| name.rsplit(['/', '\\']).next());
        by_stem
            .find(|path| path.is_file())
            .or_else(|| by_name.and_then(|name| within(&folder, name)).filter(|path| path.is_file()))
    });
    found.unwrap_or_else(|| root.join(PICTURES_FOLDER).join(format!("{stem}.jpg")))
}

fn on_disk(path: &Path) -> Result<Size, DataError> {
    let (width, height) = image::image_dimensions(path).map_err(|error| {
        DataError::layout(path, format!("its annotation says no size, and its own cannot be read: {error}"))
    })?;
    let found = size(f64::from(width), f64::from(height));
    found.ok_or_else(|| DataError::layout(path, format!("a picture of {width}x{height} pixels is too large")))
}

#[cfg(test)]
mod tests;
