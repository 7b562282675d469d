use std::{fs, path::PathBuf};

use lookout_schema::BBox;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::data::error_text;

const APPLY: ExifOrientation = ExifOrientation::Apply;

fn parsed(json: &serde_json::Value) -> Result<DataSet, DataError> {
    let path = Path::new("data.json");
    data_set(path, file::parse(path, json.to_string().as_bytes())?, APPLY)
}

#[expect(clippy::needless_pass_by_value, reason = "callers pass a literal")]
fn annotated(annotations: serde_json::Value) -> serde_json::Value {
    json!({
        "info": {"year": 2017}, "licenses": [],
        "images": [
            {"id": 30, "file_name": "b.png", "width": 100, "height": 80},
            {"id": 4, "file_name": "sub/a.png", "width": 50, "height": 40, "license": 3}],
        "annotations": annotations,
        "categories": [{"id": 90, "name": "toothbrush", "supercategory": "indoor"}, {"id": 3, "name": "car"}],
    })
}

#[test]
fn objects_are_assigned_to_images_with_contiguous_classes() {
    let set = parsed(&annotated(json!([
        {"id": 1, "image_id": 30, "category_id": 90, "bbox": [10, 20.5, 30, 40], "area": 700.25, "iscrowd": 0},
        {"id": 2, "image_id": 30, "category_id": 3, "bbox": [0, 0, 100, 80], "iscrowd": 1,
         "segmentation": {"counts": [1, 2], "size": [80, 100]}},
    ])))
    .unwrap();
    let names: Vec<(u64, &str)> =
        set.entries().iter().map(|entry| (entry.number, entry.name.as_str())).collect();
    assert_eq!(names, [(4, "sub/a.png"), (30, "b.png")]);
    assert_eq!(set.entries()[0].target, Target::Objects(vec![]));
    let of =
        |class_id, corners, ignore, area| ObjectTarget { class_id, bbox: BBox::from(corners), ignore, area };
    let objects =
        vec![of(2, [10.0, 20.5, 40.0, 60.5], false, 700.25), of(1, [0.0, 0.0, 100.0, 80.0], true, 8000.0)];
    assert_eq!(set.entries()[1].target, Target::Objects(objects));
    assert_eq!(set.classes().number(2), Some(90));
    assert!(set.skipped().is_empty());
}

#[test]
fn skipped_annotations_are_listed() {
    let set = parsed(&annotated(json!([
        {"id": 1, "image_id": 30, "category_id": 90, "bbox": [10, 20, 0, 40]},
        {"id": 2, "image_id": 30, "category_id": 90, "bbox": [200, 20, 10, 40]},
        {"id": 3, "image_id": 30, "category_id": 2, "bbox": [10, 20, 10, 40]},
        {"id": 4, "image_id": 31, "category_id": 90, "bbox": [10, 20, 10, 40]},
        {"id": 5, "image_id": 4, "category_id": 90, "bbox": []},
        {"image_id": 4, "category_id": 90},
        {"id": 7, "image_id": 4, "category_id": 90, "bbox": [1, 2, null, 3]},
        {"id": 8, "image_id": 4, "category_id": 90, "bbox": [40, 20, 50, 10]},
    ])))
    .unwrap();
    let skipped = set.skipped().to_string();
    assert!(skipped.contains("annotation 1 of image 30: its box has no area"), "{skipped}");
    assert!(skipped.contains("annotation number 5 of image 4: it has no box"), "{skipped}");
    assert!(skipped.ends_with("clipped at the image border: 1"), "{skipped}");
    let counts = set.skipped().counts();
    assert_eq!(counts.values().sum::<usize>(), 7);
    assert_eq!((counts[&SkipReason::NoBox], counts[&SkipReason::UnknownImage]), (2, 1));
}

#[test]
fn errors_name_the_entry_and_the_reason() {
    let assert_error = |json: serde_json::Value, what: &str| {
        let error = parsed(&json).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{error}: {source}").contains(what), "{error}: {source}");
    };
    assert_error(json!({"images": []}), "missing field `annotations`");
    assert_error(json!([]), "it is a list");
    let mut none = annotated(json!([]));
    none["categories"] = json!([]);
    assert_error(none, "categories: the list is empty");
    let mut twice = annotated(json!([]));
    twice["categories"] = json!([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]);
    assert_error(twice, "two categories have the id 1");
    let mut twice = annotated(json!([]));
    twice["images"][0]["id"] = json!(4);
    assert_error(twice, "image 4: two images have this id");
    let mut absurd = annotated(json!([]));
    absurd["images"][0]["width"] = json!(1e12);
    assert_error(absurd, "its size cannot be 1000000000000x80");
    let mut away = annotated(json!([]));
    away["images"][0]["file_name"] = json!("../../etc/passwd");
    assert_error(away, "points outside of the data set");
    assert_error(annotated(json!([{"image_id": 4, "category_id": 3, "iscrowd": 7}])), "iscrowd is 0 or 1");
}

#[test]
fn common_folder_layouts_are_found() {
    let root = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let json = annotated(json!([])).to_string();
    put("annotations/instances_val2017.json", &json);
    put("annotations/captions_val2017.json", "{}");
    put("val2017/b.png", "");
    let set = open(root.path(), None, APPLY).unwrap();
    let there =
        |set: &DataSet| -> PathBuf { set.entries()[1].path.strip_prefix(root.path()).unwrap().to_owned() };
    assert_eq!(there(&set), PathBuf::from("val2017/b.png"));
    let error = set.check_images().unwrap_err().to_string();
    assert!(error.contains("1 of 2 images do not exist") && error.contains("sub/a.png"), "{error}");
    put("annotations/instances_train2017.json", &json);
    let error = open(root.path(), None, APPLY).unwrap_err().to_string();
    assert!(error.contains("name one of train2017, val2017"), "{error}");
    assert_eq!(open(root.path(), Some("val2017"), APPLY).unwrap().len(), 2);
    let error = open(root.path(), Some("test"), APPLY).unwrap_err().to_string();
    assert!(error.contains("no split `test`; it has train2017, val2017"), "{error}");
    let file = root.path().join("annotations/instances_val2017.json");
    assert!(open(&file, Some("val2017"), APPLY).is_err());
    assert_eq!(open(&file, None, APPLY).unwrap().len(), 2);
    let robo = tempfile::tempdir().unwrap();
    fs::create_dir(robo.path().join("valid")).unwrap();
    fs::write(robo.path().join("valid/_annotations.coco.json"), &json).unwrap();
    fs::write(robo.path().join("valid/b.png"), "").unwrap();
    let set = open(robo.path(), Some("valid"), APPLY).unwrap();
    assert!(set.entries()[1].path.is_file());
}

#[test]
fn ids_and_flags_in_other_json_types_are_read() {
    let mut file = annotated(json!([
        {"id": "6f1c-4b", "image_id": "b7", "category_id": "3", "bbox": ["10", 20.0, 30, 40], "iscrowd": 0.0},
        {"id": 7.0, "image_id": 4.0, "category_id": 90.0, "bbox": [1, 2, 3, 4], "iscrowd": false, "area": "12"},
        {"id": [], "image_id": 4, "category_id": 3, "bbox": [], "segmentation": [], "iscrowd": null},
    ]));
    file["images"][0]["id"] = json!("b7");
    let set = parsed(&file).unwrap();
    let entries: Vec<(&str, u64, usize)> =
        set.entries().iter().map(|entry| (entry.name.as_str(), entry.number, entry.truth().len())).collect();
    // If not all ids are numbers, images are numbered by their position.
    assert_eq!(entries, [("sub/a.png", 1, 1), ("b.png", 2, 1)]);
    let skipped = set.skipped().to_string();
    assert!(skipped.contains("annotation a list of image 4: it has no box"), "{skipped}");
}

#[test]
fn invalid_values_are_reported_with_image_and_annotation() {
    for (key, value, what) in [
        ("iscrowd", json!(7), "iscrowd is 0 or 1, not 7"),
        ("iscrowd", json!([]), "iscrowd is 0 or 1, not a list"),
        ("iscrowd", json!("maybe"), "iscrowd is 0 or 1, not \"maybe\""),
        ("category_id", json!("cat"), "its category_id is \"cat\""),
        ("category_id", json!(1.5), "its category_id is 1.5"),
        ("category_id", json!(null), "its category_id is null"),
    ] {
        let mut annotation = json!({"id": "6f1c", "image_id": 30, "category_id": 3, "bbox": [1, 2, 3, 4]});
        annotation[key] = value;
        let error = error_text(&parsed(&annotated(json!([annotation]))).unwrap_err());
        assert!(
            error.contains("data.json, annotation \"6f1c\" of image 30: ") && error.contains(what),
            "{error}"
        );
    }
}

#[test]
fn byte_order_mark_before_json_is_skipped() {
    let json = annotated(json!([])).to_string();
    let path = Path::new("data.json");
    assert_eq!(file::parse(path, format!("\u{feff}{json}").as_bytes()).unwrap().images.len(), 2);
    let found = br#"[{"image_id": 7, "category_id": 2, "bbox": [1, 2.5, 3, 4], "score": 0.5}]"#;
    assert!(file::parse(path, found).is_err());
    let error =
        error_text(&file::parse(path, b"version https://git-lfs.github.com/spec/v1\n").err().unwrap());
    assert!(error.contains("Git LFS pointer"), "{error}");
}

/// Writes an image of 8x6 pixels.
fn put_image(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::new(8, 6).save(path).unwrap();
}

fn listing(names: &[&str]) -> serde_json::Value {
    let image = |(id, name): (u64, &&str)| json!({"id": id, "file_name": name, "width": 8, "height": 6});
    let images: Vec<serde_json::Value> = (1..).zip(names).map(image).collect();
    json!({"images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]})
}

#[test]
fn each_missing_image_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("annotations")).unwrap();
    let file = at("annotations/instances_val.json");
    // The first image is missing, and one is in another folder than the others.
    fs::write(&file, listing(&["gone.png", "1.png", "2.png", "3.png"]).to_string()).unwrap();
    put_image(&at("val/1.png"));
    put_image(&at("val/2.png"));
    put_image(&at("images/val/3.png"));
    let error = open(&file, None, APPLY).unwrap().check_images().unwrap_err().to_string();
    assert!(error.contains("1 of 4 images do not exist") && error.contains("gone.png"), "{error}");
    put_image(&at("val/gone.png"));
    open(&file, None, APPLY).unwrap().check_images().unwrap();
}

#[test]
fn windows_file_names_are_found() {
    let root = tempfile::tempdir().unwrap();
    let names = ["images\\1 a.png", "C:\\Users\\me\\data\\2.png", "/home/me/data/3.png"];
    fs::write(root.path().join("result.json"), listing(&names).to_string()).unwrap();
    for name in ["images/1 a.png", "images/2.png", "3.png"] {
        put_image(&root.path().join(name));
    }
    let set = open(root.path(), None, APPLY).unwrap();
    set.check_images().unwrap();
    assert!(set.read(1).is_ok());
}

#[test]
fn macos_metadata_files_are_ignored() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("set.json"), listing(&["1.png"]).to_string()).unwrap();
    fs::write(root.path().join("._set.json"), b"\0\x05\x16\x07").unwrap();
    fs::write(root.path().join(".DS_Store"), b"\0\0\0\x01Bud1").unwrap();
    put_image(&root.path().join("1.png"));
    open(root.path(), None, APPLY).unwrap().check_images().unwrap();
}

#[test]
fn missing_size_is_read_from_the_image() {
    let root = tempfile::tempdir().unwrap();
    let mut file = listing(&["1.png"]);
    file["images"][0] = json!({"id": 1, "file_name": "1.png"});
    fs::write(root.path().join("set.json"), file.to_string()).unwrap();
    put_image(&root.path().join("1.png"));
    let set = open(root.path(), None, APPLY).unwrap();
    assert_eq!(set.entries()[0].size, Some(Size { width: 8, height: 6 }));
}

proptest! {
    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = file::parse(Path::new("x"), &bytes);
    }

    #[test]
    fn single_byte_changes_do_not_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = annotated(json!([
            {"id": 1, "image_id": 30, "category_id": 90, "bbox": [10, 20.5, 30, 40], "area": 700.25, "iscrowd": 0},
        ])).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let path = Path::new("x");
        if let Ok(set) = file::parse(path, &bytes).and_then(|file| data_set(path, file, APPLY)) {
            check(&set);
        }
    }

    #[test]
    fn accepted_boxes_are_inside_the_image(
        corners in any::<[f64; 4]>(), area in any::<f64>(), sides in prop::array::uniform2(1u32..=65_535)
    ) {
        let mut json = annotated(json!([
            {"id": 1, "image_id": 30, "category_id": 90, "bbox": corners, "area": area},
        ]));
        json["images"][0]["width"] = json!(sides[0]);
        json["images"][0]["height"] = json!(sides[1]);
        check(&parsed(&json).unwrap());
    }

    #[test]
    fn deeply_nested_json_is_an_error(depth in 1000usize..200_000) {
        let bytes = [b"{\"images\":".to_vec(), vec![b'['; depth]].concat();
        prop_assert!(file::parse(Path::new("x"), &bytes).is_err());
    }
}

fn check(set: &DataSet) {
    for entry in set.entries() {
        let (Target::Objects(objects), Some(size)) = (&entry.target, entry.size) else { panic!() };
        for object in objects {
            assert_eq!(object.bbox.clipped(size), Some(object.bbox));
            assert!(object.area >= 0.0);
            assert!(!set.classes().name(object.class_id).is_empty());
        }
    }
}
