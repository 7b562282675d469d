use std::fs;

use lookout_schema::{BBox, Size};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const APPLY: ExifOrientation = ExifOrientation::Apply;

fn annotated(size: &str, objects: &[&str]) -> String {
    format!("<annotation><filename>elsewhere.jpg</filename>{size}{}</annotation>", objects.concat())
}

const SIZE: &str = "<size><width>60</width><height>40</height><depth>3</depth></size>";

fn object(name: &str, corners: [i32; 4], more: &str) -> String {
    let [x1, y1, x2, y2] = corners;
    format!(
        "<object><name>{name}</name>{more}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>\
         <ymax>{y2}</ymax></bndbox></object>"
    )
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if text.is_empty() {
            image::RgbImage::new(60, 40).save(&path).unwrap();
        } else {
            fs::write(path, text).unwrap();
        }
    }
    root
}

#[test]
fn voc_folder_and_splits_are_read() {
    let cat = object("cat", [1, 1, 60, 40], "<difficult>1</difficult>");
    let parts = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>";
    let ant = object("ant", [11, 6, 20, 16], parts);
    let root = folder(&[
        ("Annotations/b.xml", &annotated(SIZE, &[&ant, &object("ant", [5, 5, 5, 5], ""), &cat])),
        ("Annotations/a.xml", &annotated("<size><width>0</width><height>0</height></size>", &[])),
        ("Annotations/c.xml", &annotated(SIZE, &[&object("eel", [1, 1, 5, 5], "")])),
        ("JPEGImages/a.png", ""),
        ("JPEGImages/b.JPG", ""),
        ("JPEGImages/c.jpg", ""),
        ("ImageSets/Main/train.txt", "b\r\na\n\nb\n"),
        ("ImageSets/Main/cat_val.txt", "c -1\n"),
        ("ImageSets/Main/lost.txt", "d\n"),
    ]);
    let set = open(root.path(), Some("train"), APPLY).unwrap();
    assert_eq!(set.classes().names(), ["ant", "cat", "eel"]);
    assert_eq!(set.entries().iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a.png", "b.JPG"]);
    let of =
        |class_id, corners, ignore, area| ObjectTarget { class_id, bbox: BBox::from(corners), ignore, area };
    let objects =
        vec![of(1, [10.0, 5.0, 20.0, 16.0], false, 110.0), of(2, [0.0, 0.0, 60.0, 40.0], true, 2400.0)];
    assert_eq!(set.entries()[1].target, Target::Objects(objects));
    assert_eq!(set.entries()[0].size, Some(Size { width: 60, height: 40 }));
    set.read(1).unwrap();
    let message = set.skipped().to_string();
    assert!(message.contains("b.xml, object 2 (ant): its box has no area"), "{message}");
    assert!(message.contains("train.txt, line 4, b: the split lists it again"), "{message}");
    assert_eq!(open(root.path(), Some("cat_val"), APPLY).unwrap().entries()[0].name, "c.jpg");
    assert_eq!(open(root.path(), None, APPLY).unwrap().len(), 3);
    let error = open(root.path(), Some("test"), APPLY).unwrap_err().to_string();
    assert!(error.contains("no split `test`; it has cat_val, lost, train"), "{error}");
    assert!(open(root.path(), Some("../../train"), APPLY).is_err());
    let error = open(root.path(), Some("lost"), APPLY).unwrap_err().to_string();
    assert!(error.contains("d.xml: the split `lost` lists it"), "{error}");
}

#[test]
fn names_with_spaces_and_folders_are_found() {
    let cat = annotated(SIZE, &[&object("cat", [1, 1, 9, 9], "")]);
    let root = folder(&[
        ("Annotations/img 1.xml", &cat),
        ("Annotations/cam 2/a b.xml", &cat),
        ("Annotations/cam 2/c.d.xml", &cat),
        ("Annotations/img.xml", &cat),
        ("JPEGImages/img 1.png", ""),
        ("JPEGImages/cam 2/a b.png", ""),
        ("JPEGImages/cam 2/c.d.jpg", ""),
        ("JPEGImages/img.png", ""),
        // Lists as labelImg, CVAT (with quotes), tools on Windows, and tools that keep the extension write them.
        ("ImageSets/Main/plain.txt", "img 1\ncam 2/a b\n"),
        ("ImageSets/Main/quoted.txt", "\"img 1\"\n\"cam 2/a b\"\ncam 2/c.d\n"),
        ("ImageSets/Main/windows.txt", "\u{feff}cam 2\\a b\r\ncam 2\\c.d.jpg\r\n"),
        ("ImageSets/Main/cat_val.txt", "img 1  1\n\"cam 2/a b\" -1\nimg -1\n"),
        ("ImageSets/Main/lost.txt", "img 2\n"),
    ]);
    let names = |split| -> Vec<String> {
        let set = open(root.path(), split, APPLY).unwrap();
        set.check_images().unwrap();
        set.entries().iter().map(|entry| entry.name.clone()).collect()
    };
    assert_eq!(names(None), ["cam 2/a b.png", "cam 2/c.d.jpg", "img 1.png", "img.png"]);
    assert_eq!(names(Some("plain")), ["cam 2/a b.png", "img 1.png"]);
    assert_eq!(names(Some("quoted")), ["cam 2/a b.png", "cam 2/c.d.jpg", "img 1.png"]);
    assert_eq!(names(Some("windows")), ["cam 2/a b.png", "cam 2/c.d.jpg"]);
    assert_eq!(names(Some("cat_val")), ["cam 2/a b.png", "img 1.png", "img.png"]);
    let error = open(root.path(), Some("lost"), APPLY).unwrap_err().to_string();
    assert!(error.contains("img 2.xml: the split `lost` lists it"), "{error}");
}

#[test]
fn macos_metadata_files_are_ignored() {
    let root = folder(&[("Annotations/a.xml", &annotated(SIZE, &[])), ("JPEGImages/a.png", "")]);
    fs::write(root.path().join("Annotations/._a.xml"), b"\0\x05\x16\x07\0\x02").unwrap();
    let set = open(root.path(), None, APPLY).unwrap();
    assert_eq!((set.len(), set.skipped().items().len()), (1, 0));
}

#[test]
fn image_size_that_differs_from_the_annotation_is_an_error() {
    let root = folder(&[
        ("Annotations/a.xml", &annotated("<size><width>50</width><height>40</height></size>", &[])),
        ("JPEGImages/a.png", ""),
    ]);
    let error = open(root.path(), None, APPLY).unwrap().read(0).unwrap_err().to_string();
    assert!(error.contains("is 60x40 and its annotation is for 50x40"), "{error}");
}

#[test]
fn annotation_errors_have_reason_and_position() {
    let assert_error = |xml: &str, what: &str| {
        let root = folder(&[("Annotations/a.xml", xml), ("JPEGImages/a.png", "")]);
        let error = open(root.path(), None, APPLY).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let message = format!("{error}: {source}");
        assert!(message.contains("a.xml") && message.contains(what), "{message}");
    };
    assert_error("<annotation>\n<object>", "is not an XML file");
    assert_error("<html></html>", "line 1, column 1: it has <html>");
    assert_error(
        "<annotation>\n  <object><pose/></object></annotation>",
        "line 2, column 3: the object has no <name>",
    );
    let corner = object("cat", [1, 1, 5, 5], "").replace("<xmax>5", "<xmax>five");
    assert_error(&annotated(SIZE, &[&corner]), "<xmax> is `five`, which is not a number");
    assert_error(
        &annotated("<size><width>9e9</width><height>2</height></size>", &[]),
        "its size cannot be 9000000000x2",
    );
    // Entities that would expand to gigabytes.
    assert_error(
        "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]><annotation>&c;</annotation>",
        "is not an XML file",
    );
    let no_root = tempfile::tempdir().unwrap();
    assert!(open(no_root.path(), None, APPLY).unwrap_err().to_string().contains("no folder `Annotations`"));
}

/// The BCCD data set (blood cells), which is not part of the repository and has two boxes that are points.
#[test]
fn bccd_is_read_and_two_boxes_are_skipped() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/bccd"));
    if !root.is_dir() {
        println!("skipped: {} does not exist", root.display());
        return;
    }
    let set = open(root, None, APPLY).unwrap();
    assert_eq!(set.classes().names(), ["Platelets", "RBC", "WBC"]);
    let named: Vec<(String, &str, SkipReason)> = set
        .skipped()
        .items()
        .iter()
        .map(|item| (files::name_of(&item.file).unwrap(), item.what.split_once(' ').unwrap().0, item.reason))
        .collect();
    let of = |name: &str| (name.to_owned(), "object", SkipReason::NoArea);
    assert_eq!(named, [of("BloodImage_00338.xml"), of("BloodImage_00343.xml")]);
    let images = |split| open(root, Some(split), APPLY).unwrap().len();
    assert_eq!(["train", "val", "test", "trainval"].map(images), [205, 87, 72, 292]);
    set.check_images().unwrap();
    println!("{}", crate::data::Statistics::of(&set));
    set.read(0).unwrap();
}

proptest! {
    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = annotation::parse(Path::new("x"), &bytes);
    }

    #[test]
    fn single_byte_changes_do_not_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = annotated(SIZE, &[&object("cat", [1, 2, 30, 40], "<difficult>0</difficult>")]).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = annotation::parse(Path::new("x"), &bytes);
    }

    #[test]
    fn accepted_boxes_are_inside_the_image(corners in any::<[f64; 4]>()) {
        let bndbox = Some(corners);
        let object = annotation::Object { name: "cat".into(), difficult: false, bndbox };
        let annotation = Annotation { filename: None, size: Some([60.0, 40.0]), objects: vec![object] };
        let classes = Classes::of_objects(vec!["cat".into()]);
        let mut skipped = Skipped::default();
        let made = entry(Path::new("/x"), (1, APPLY), ("/x/a.xml".into(), annotation), (&classes, &mut skipped)).unwrap();
        let Target::Objects(objects) = made.target else { panic!() };
        prop_assert_eq!(objects.len() + skipped.items().len(), 1);
        for object in objects {
            prop_assert_eq!(object.bbox.clipped(Size { width: 60, height: 40 }), Some(object.bbox));
        }
    }
}

#[test]
fn deeply_nested_xml_does_not_overflow_the_stack() {
    for depth in [10_000, 1_000_000] {
        let xml = ["<annotation>", &"<a>".repeat(depth), &"</a>".repeat(depth), "</annotation>"].concat();
        let _ = annotation::parse(Path::new("x"), xml.as_bytes());
        assert!(annotation::parse(Path::new("x"), "<a>".repeat(depth).as_bytes()).is_err());
    }
}
