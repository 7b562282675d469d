//! Pascal VOC's format: one XML file per image, and lists of images for splits
//! (<http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html>).

mod annotation;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use lookout_config::ExifOrientation;

use self::annotation::Annotation;
use super::{
    Classes, DataError, DataSet, Entry, IgnoredAre, SkipReason, Skipped,
    boxes::{size, valid_box},
    files::{self, IMAGE_EXTENSIONS, listed, portable, size_on_disk, within},
};
use crate::sample::Target;
use lookout_measure::ObjectTarget;

const ANNOTATIONS: &str = "Annotations";
const IMAGES_FOLDER: &str = "JPEGImages";
const SPLITS: &str = "ImageSets/Main";

/// Maximum depth of the annotation folders, since a link may create a cycle.
const DEPTH: usize = 16;

/// An annotation with a thousand objects takes half a megabyte.
const XML_LIMIT: u64 = 16 << 20;
const SPLIT_LIMIT: u64 = 256 << 20;

/// Opens the data set in `root`, or the images in the list of `split`. The classes are those of all annotations, sorted
/// by name, so that all splits have the same classes.
pub(super) fn open(root: &Path, split: Option<&str>, exif: ExifOrientation) -> Result<DataSet, DataError> {
    let folder = root.join(ANNOTATIONS);
    if !folder.is_dir() {
        return Err(DataError::layout(
            root,
            format!("it has no folder `{ANNOTATIONS}`, which a Pascal VOC data set needs"),
        ));
    }
    let mut skipped = Skipped::default();
    let mut files = Vec::new();
    annotations(&folder, DEPTH, &mut files, &mut skipped)?;
    let stems: BTreeSet<String> = files.iter().map(|path| stem(&folder, path)).collect();
    let selected = split.map(|split| listed_in(root, split, &stems, &mut skipped)).transpose()?;
    let mut all = Vec::new();
    for path in files {
        let annotation = annotation::parse(&path, &files::read(&path, XML_LIMIT)?)?;
        all.push((path, annotation));
    }
    let names: BTreeSet<&str> = all
        .iter()
        .flat_map(|(_, annotation)| &annotation.objects)
        .map(|object| object.name.as_str())
        .collect();
    let classes = Classes::of_objects(names.into_iter().map(str::to_owned).collect());
    if let Some(selected) = &selected {
        all.retain(|(path, _)| selected.contains(&stem(&folder, path)));
        if let Some(missing) = selected.difference(&stems).next() {
            let what = format!("the split `{}` lists it, and it does not exist", split.unwrap_or_default());
            return Err(DataError::layout(&folder.join(format!("{missing}.xml")), what));
        }
    }
    let mut entries = Vec::new();
    for (number, (path, annotation)) in (1..).zip(all) {
        entries.push(entry(root, (number, exif), (path, annotation), (&classes, &mut skipped))?);
    }
    if entries.is_empty() {
        return Err(DataError::layout(&folder, "it has no annotation files"));
    }
    Ok(DataSet { classes, entries, skipped, ignored: IgnoredAre::Difficult, of_images: false, exif })
}

/// Collects the annotations in a folder and its subfolders, which CVAT creates, sorted by name.
fn annotations(
    folder: &Path,
    depth: usize,
    found: &mut Vec<PathBuf>,
    skipped: &mut Skipped,
) -> Result<(), DataError> {
    if depth == 0 {
        return Err(DataError::layout(
            folder,
            "its folders are nested too deeply; check for links to a parent folder",
        ));
    }
    for path in listed(folder)? {
        if path.is_dir() {
            annotations(&path, depth - 1, found, skipped)?;
        } else if path.extension().is_some_and(|ending| ending == "xml") {
            found.push(path);
        } else {
            skipped.add(path, "the file", SkipReason::NotAnImage);
        }
    }
    Ok(())
}

/// Returns the name of an annotation in the lists: its path in the folder, without the extension.
fn stem(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).with_extension("").to_string_lossy().into_owned()
}

/// Returns the names in the list of a split. `stems` holds the names of all annotations.
fn listed_in(
    root: &Path,
    split: &str,
    stems: &BTreeSet<String>,
    skipped: &mut Skipped,
) -> Result<BTreeSet<String>, DataError> {
    let folder = root.join(SPLITS);
    let path = within(&folder, &format!("{split}.txt")).filter(|path| path.is_file());
    let Some(path) = path else {
        let available = if folder.is_dir() { listed(&folder)? } else { Vec::new() };
        let available = available.iter().map(|path| stem(&folder, path)).collect();
        return Err(DataError::NoSplit { path: root.to_owned(), split: split.into(), available });
    };
    let text = files::text(&path, SPLIT_LIMIT)?;
    let mut names = BTreeSet::new();
    for (line, text) in (1..).zip(text.lines()) {
        let Some(name) = name_in(text, stems) else { continue };
        if !names.insert(name.clone()) {
            skipped.add(&path, format!("line {line}, {name}"), SkipReason::Duplicate);
        }
    }
    if names.is_empty() {
        return Err(DataError::layout(&path, "the split lists no images"));
    }
    Ok(names)
}

/// Returns the name in a line of a list. The line may contain spaces and folders, quotes (which CVAT writes around
/// names with spaces), and the extension of the image. The lists of single classes add a number that says whether the
/// class is present; it is ignored, since the annotations contain this. If the line can be read in several ways, the
/// first name with an annotation is used.
fn name_in(line: &str, stems: &BTreeSet<String>) -> Option<String> {
    let line = line.trim();
    let numbered =
        line.rsplit_once(char::is_whitespace).filter(|(_, last)| matches!(*last, "1" | "-1" | "0"));
    let name = numbered.map_or(line, |(name, _)| name.trim_end());
    let forms = [line, name].into_iter().flat_map(|form| [form, unquoted(form)]);
    let forms = forms.flat_map(|form| [form.to_owned(), portable(form)]);
    let mut forms = forms.flat_map(|form| [without_ending(&form), Some(form)].into_iter().flatten().rev());
    let found = forms.find(|form| stems.contains(form));
    found.or_else(|| Some(portable(unquoted(name)))).filter(|name| !name.is_empty())
}

fn unquoted(name: &str) -> &str {
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name)
}

/// Removes the extension of an image or an annotation.
fn without_ending(name: &str) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    (ending == "xml" || IMAGE_EXTENSIONS.contains(&ending.as_str())).then(|| stem.to_owned())
}

fn entry(
    root: &Path,
    (number, exif): (u64, ExifOrientation),
    (file, annotation): (PathBuf, Annotation),
    (classes, skipped): (&Classes, &mut Skipped),
) -> Result<Entry, DataError> {
    let path = image(root, &stem(&root.join(ANNOTATIONS), &file), annotation.filename.as_deref());
    let size = match annotation.size {
        Some([width, height]) => size(width, height).ok_or_else(|| {
            let what = format!("its size cannot be {width}x{height}; <size> must be that of the file");
            DataError::invalid(&file, "<size>", what)
        })?,
        None => size_on_disk(&path, exif)?,
    };
    let mut objects = Vec::new();
    for (at, object) in (1..).zip(annotation.objects) {
        let bbox = match object.bndbox {
            None => Err(SkipReason::NoBox),
            // A box without an area in the file comes from a click. The conversion below would make it one pixel wide.
            Some([x1, y1, x2, y2]) if x2 <= x1 || y2 <= y1 => Err(SkipReason::NoArea),
            // Pascal VOC counts pixels from 1, and the last pixel belongs to the box.
            Some([x1, y1, x2, y2]) => valid_box([x1 - 1.0, y1 - 1.0, x2, y2], size, skipped),
        };
        match (bbox, classes.id(&object.name)) {
            (Ok(bbox), Some(class_id)) => {
                let area = (bbox.x2 - bbox.x1) * (bbox.y2 - bbox.y1);
                objects.push(ObjectTarget { class_id, bbox, ignore: object.difficult, area });
            }
            (Ok(_), None) => {
                skipped.add(&file, format!("object {at} ({})", object.name), SkipReason::UnknownClass);
            }
            (Err(reason), _) => skipped.add(&file, format!("object {at} ({})", object.name), reason),
        }
    }
    let folders = [root.join(IMAGES_FOLDER), root.join(ANNOTATIONS), root.to_owned()];
    let name = folders.iter().find_map(|folder| path.strip_prefix(folder).ok()).unwrap_or(&path);
    let name = name.to_string_lossy().into_owned();
    Ok(Entry {
        name,
        path,
        number,
        size: Some(size),
        target: Target::Objects(objects),
        evaluation_objects: None,
    })
}

/// Returns the path of an annotation's image: by the name of the annotation file, as in Pascal VOC, otherwise by the
/// `filename` in it, which tools do not update when files are renamed.
fn image(root: &Path, stem: &str, filename: Option<&str>) -> PathBuf {
    let mut folders = [root.join(IMAGES_FOLDER), root.join(ANNOTATIONS), root.to_owned()].into_iter();
    let found = folders.find_map(|folder| {
        let endings =
            IMAGE_EXTENSIONS.iter().flat_map(|ending| [(*ending).to_owned(), ending.to_ascii_uppercase()]);
        let mut by_stem = endings.map(|ending| folder.join(format!("{stem}.{ending}")));
        // A path from another machine is not valid here, but its last component may be.
        let beside = stem.rsplit_once('/').map_or("", |(beside, _)| beside);
        let by_name = filename.into_iter().flat_map(|name| {
            let name = portable(name);
            let last = name.rsplit('/').next().unwrap_or_default().to_owned();
            [name, format!("{beside}/{last}").trim_start_matches('/').to_owned(), last]
        });
        let mut by_name = by_name.filter_map(|name| within(&folder, &name));
        by_stem.find(|path| path.is_file()).or_else(|| by_name.find(|path| path.is_file()))
    });
    found.unwrap_or_else(|| root.join(IMAGES_FOLDER).join(format!("{stem}.jpg")))
}

#[cfg(test)]
mod tests;
