//! COCO files with boxes over the border, outside and without an area, judged as pycocotools judges them.

use std::fs;

use lookout_config::ExifOrientation;
use lookout_measure::{CocoEvaluation, FoundObject, IgnoredAre};
use lookout_schema::BBox;
use lookout_train::data::{CocoDetection, DataSource, Overview};
use serde::Deserialize;

/// `tests/goldens/make_border.py` made it.
const GOLDEN: &str = include_str!("goldens/border.json");

#[derive(Deserialize)]
struct Golden {
    truth: serde_json::Value,
    found: Vec<CocoDetection>,
    stats: [f64; 12],
}

#[test]
fn numbers_are_pycocotools() {
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("truth.json"), golden.truth.to_string()).unwrap();
    let source: DataSource = format!("coco:{}", root.path().display()).parse().unwrap();
    let set = source.open(None, ExifOrientation::Apply).unwrap();
    // In the network's order of the classes, which is another.
    let set = set.with_classes(&["dog".to_owned(), "cat".to_owned()]).unwrap();
    let mut evaluation = CocoEvaluation::new(set.classes().names().to_vec(), IgnoredAre::Crowds);
    for entry in set.entries() {
        let found = golden.found.iter().filter(|found| found.image_id == entry.number);
        let found: Vec<FoundObject> = found
            .map(|found| {
                let [x, y, width, height] = found.bbox.map(|number| number as f32);
                FoundObject {
                    class_id: set.classes().of_number(found.category_id).unwrap(),
                    bbox: BBox::from([x, y, x + width, y + height]),
                    score: found.score as f32,
                }
            })
            .collect();
        evaluation.add(entry.truth(), &found);
    }
    for ((name, ours), theirs) in evaluation.summary().numbers().into_iter().zip(golden.stats) {
        let ours = ours.unwrap_or(-1.0);
        assert!((ours - theirs).abs() < 1e-9, "{name}: {ours}, not {theirs}");
    }
    let overview = Overview::of(&set);
    assert!(overview.judged_only > 0 && overview.left_out.cut_at_border() > 0, "{overview}");
    assert!(overview.to_string().contains("evaluation counts them as pycocotools does"), "{overview}");
}
