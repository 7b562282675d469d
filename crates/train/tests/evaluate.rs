//! Evaluation of networks on data sets, from files to metrics.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::Arc};

use lookout_config::ExifOrientation;
use lookout_draw::confusion_matrix;
use lookout_measure::Report;
use lookout_model::{DetectionSettings, Network, PreparedNetwork, Target};
use lookout_schema::Size;
use lookout_train::{
    Evaluator,
    data::{DataError, DataSet, DataSource},
    evaluate::{
        DataSetEvaluator, Evaluation, EvaluationError, EvaluationSettings, evaluation_detection_settings,
        predict_objects,
    },
};
use serde_json::json;

const SIDE: u32 = 64;

/// Returns a classifier of `classes` classes that always predicts class 0.
fn biased(classes: i64) -> PreparedNetwork {
    let mut network = Network::new("resnet18", classes).unwrap();
    network.fill(7);
    tch::no_grad(|| {
        let tensors = network.tensors();
        let _ = tensors["fc.weight"].shallow_clone().zero_();
        let _ = tensors["fc.bias"].shallow_clone().zero_();
        let _ = tensors["fc.bias"].get(0).fill_(2.0);
    });
    network.prepare(Target::REFERENCE)
}

fn detector(arch: &str, classes: i64) -> PreparedNetwork {
    let mut network = Network::new(arch, classes).unwrap();
    network.fill(7);
    network.prepare(Target::REFERENCE)
}

/// Writes a dark image with a light rectangle.
fn put_image(path: &Path, size: Size, light: [u32; 4]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let [left, top, right, bottom] = light;
    let pixel = |x, y| {
        let is_light = (left..right).contains(&x) && (top..bottom).contains(&y);
        image::Rgb(if is_light { [250, 240, 230] } else { [20, 30, 40] })
    };
    image::RgbImage::from_fn(size.width, size.height, pixel).save(path).unwrap();
}

/// Writes `counts` images of the classes `a`, `b` and `c`, in several sizes.
fn class_folders(root: &Path, counts: [u32; 3]) -> DataSet {
    for (class, count) in ["a", "b", "c"].iter().zip(counts) {
        for number in 0..count {
            let size = Size { width: 40 + 10 * number, height: 90 - 10 * number };
            put_image(&root.join(class).join(format!("{number}.png")), size, [5, 5, 20, 20]);
        }
    }
    format!("folder:{}", root.display())
        .parse::<DataSource>()
        .unwrap()
        .open(None, ExifOrientation::Apply)
        .unwrap()
}

/// Writes three images with an object and one without, in the order of their ids.
fn of_objects(root: &Path) -> DataSet {
    let sizes = [(100, 60), (60, 100), (80, 80), (64, 64)];
    let mut images = Vec::new();
    let mut annotations = Vec::new();
    for (id, (width, height)) in (1..).zip(sizes) {
        let name = format!("{id}.png");
        put_image(&root.join(&name), Size { width, height }, [10, 10, 40, 50]);
        images.push(json!({"id": id, "file_name": name, "width": width, "height": height}));
        if id < 4 {
            annotations.push(
                json!({"id": id, "image_id": id, "category_id": 3, "bbox": [10, 10, 30, 40], "area": 1200,
                "iscrowd": 0}),
            );
        }
    }
    let categories = json!([{"id": 3, "name": "light"}, {"id": 5, "name": "other"}]);
    let file = json!({"images": images, "annotations": annotations, "categories": categories});
    fs::write(root.join("set.json"), file.to_string()).unwrap();
    format!("coco:{}", root.display())
        .parse::<DataSource>()
        .unwrap()
        .open(None, ExifOrientation::Apply)
        .unwrap()
}

const INPUT: Size = Size { width: SIDE, height: SIDE };

#[test]
fn classifier_is_evaluated_on_class_folders() {
    let root = tempfile::tempdir().unwrap();
    let set = Arc::new(class_folders(root.path(), [4, 1, 2]));
    for (batch_size, threads) in [(1, 3), (3, 2), (100, 1)] {
        let mut evaluator = DataSetEvaluator::new(
            Arc::clone(&set),
            EvaluationSettings { batch_size, threads, ..EvaluationSettings::for_classifiers(INPUT) },
        );
        assert!(evaluator.last().is_none());
        let result = evaluator.evaluate(&biased(3)).unwrap();
        assert!((result.score - 4.0 / 7.0).abs() < 1e-12, "{result:?}");
        assert!((result.metrics["balanced"] - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((result.metrics["recall/a"], result.metrics["recall/c"]), (1.0, 0.0));
        let Some(Report::Classifier(summary)) = evaluator.last() else { panic!() };
        assert_eq!(summary.confusion.rows(), [[4, 0, 0], [1, 0, 0], [2, 0, 0]]);
        let png = root.path().join("confusion.png");
        confusion_matrix(summary.confusion.names(), summary.confusion.rows()).save(&png).unwrap();
        assert!(image::image_dimensions(&png).unwrap().0 > 3 * 40);
        fs::remove_file(png).unwrap();
    }
}

#[test]
fn class_order_is_the_networks() {
    let root = tempfile::tempdir().unwrap();
    let set = class_folders(root.path(), [4, 1, 2]);
    let names = ["c", "b"].map(str::to_owned);
    let set = set.with_classes(&names).unwrap();
    assert_eq!((set.len(), set.skipped().items().len()), (3, 4));
    let Report::Classifier(summary) =
        Evaluation::run(&biased(2), &set, EvaluationSettings::for_classifiers(INPUT)).unwrap().report()
    else {
        panic!()
    };
    assert_eq!(summary.confusion.rows(), [[2, 0], [1, 0]]);
}

#[test]
fn detector_is_evaluated_on_a_coco_file() {
    let root = tempfile::tempdir().unwrap();
    let set = of_objects(root.path());
    // Sides that are not multiples of 32 are padded.
    let settings = EvaluationSettings {
        batch_size: 3,
        threads: 2,
        ..EvaluationSettings::for_detectors(Size { width: 80, height: 60 })
    };
    for arch in ["fcos_resnet50_fpn", "fasterrcnn_resnet50_fpn"] {
        let network = detector(arch, 3);
        let Report::Detector(report) = Evaluation::run(&network, &set, settings).unwrap().report() else {
            panic!()
        };
        assert_eq!((report.coco.pictures, report.coco.classes[0].objects), (4, 3));
        assert!(report.coco.ap.is_some() && report.coco.classes[1].ap.is_none());
        assert!(report.coco.ap_large.is_none());
        let metrics = Report::Detector(report).metrics();
        assert!(metrics.contains_key("AP") && metrics.contains_key("AP/light"), "{metrics:?}");
        assert!(!metrics.contains_key("AP/other") && !metrics.contains_key("AP_large"));
    }
}

#[test]
fn detections_are_in_pixels_of_the_image_file() {
    let root = tempfile::tempdir().unwrap();
    let set = of_objects(root.path());
    let PreparedNetwork::Detector(network) = detector("retinanet_resnet50_fpn", 3) else { panic!() };
    let postprocessing =
        DetectionSettings { score_threshold: 0.0, ..evaluation_detection_settings(&network) };
    let mut seen = Vec::new();
    let settings = EvaluationSettings { batch_size: 2, ..EvaluationSettings::for_detectors(INPUT) };
    predict_objects(&network, &set, settings, &postprocessing, &mut |prediction| {
        let size = prediction.entry.size.unwrap();
        for found in &prediction.found {
            assert_eq!(found.bbox.clipped(size), Some(found.bbox));
            assert!((1..=2).contains(&found.class_id), "{found:?}");
        }
        // The image is centered in the input, so a box at the lower end of the input maps to the lower end of the file.
        let lowest = prediction.found.iter().map(|found| found.bbox.y2).fold(0.0, f32::max);
        seen.push((
            prediction.entry.number,
            prediction.truth.len(),
            prediction.found.len(),
            lowest,
            size.height,
        ));
    })
    .unwrap();
    assert_eq!(
        seen.iter().map(|seen| (seen.0, seen.1)).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 1), (4, 0)]
    );
    assert!(seen.iter().all(|seen| seen.2 > 0 && seen.3 > 0.9 * seen.4 as f32), "{seen:?}");
}

#[test]
fn mismatched_network_and_data_set_are_an_error() {
    let [folder, coco] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (images, objects) = (class_folders(folder.path(), [1, 1, 1]), of_objects(coco.path()));
    let settings = EvaluationSettings::for_classifiers(INPUT);
    let error = |network: &PreparedNetwork, set| Evaluation::run(network, set, settings).unwrap_err();
    let (classifier, detector) = (biased(4), detector("retinanet_resnet50_fpn", 5));
    assert!(matches!(error(&classifier, &images), EvaluationError::Classes { network: 4, set: 3 }));
    assert!(matches!(error(&classifier, &objects), EvaluationError::NeedsImageClasses));
    assert!(matches!(error(&detector, &objects), EvaluationError::Classes { network: 4, set: 2 }));
    assert!(matches!(error(&detector, &images), EvaluationError::NeedsObjects));
    fs::write(folder.path().join("b/0.png"), "not an image").unwrap();
    let broken = error(&biased(3), &images);
    assert!(matches!(broken, EvaluationError::Data(DataError::Image(_))), "{broken:?}");
}
