//! The secondary classifier on detections, compared with the same classifier on the cropped images.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lookout_config::{ClassifySettings, Device, ModelSettings, Precision};
use lookout_model::{Loaded, ModelError, Streams, Target, load_stream};
use lookout_schema::{BBox, Size};
use lookout_stage::{DetectFrame, DetectionFilter, Pixels, ResizeMode};

const INPUT: Size = Size { width: 192, height: 128 };

fn settings(arch: &str) -> ModelSettings {
    ModelSettings {
        device: Device::Cpu,
        precision: Precision::Fp32,
        ..ModelSettings::named(arch, "random:7")
    }
}

fn detector(classify: Option<&ClassifySettings>) -> Result<Loaded, ModelError> {
    let settings = ModelSettings {
        input: Some(INPUT),
        score_threshold: Some(0.05),
        max_detections: Some(40),
        ..settings("retinanet_resnet50_fpn")
    };
    load_stream(&settings, classify, &Streams::new(&settings, Target::REFERENCE))
}

fn classify(input: Size, classes: &[String]) -> ClassifySettings {
    ClassifySettings {
        network: ModelSettings { input: Some(input), top_k: 3, ..settings("resnet18") },
        classes: classes.to_vec(),
        margin: 0.0,
        min_side: 12.0,
    }
}

/// Returns an image of coarse colored patches, which depend on `seed`.
fn image(seed: u32) -> Pixels {
    let (width, height) = (INPUT.width, INPUT.height);
    let byte = |i: u32| (i / 3 % width / 24 * 71 + i / 3 / width / 24 * (97 + seed) + i % 3 * 50) as u8;
    Pixels::new(INPUT, (0..width * height * 3).map(byte).collect::<Vec<_>>()).unwrap()
}

fn frame(pixels: &Pixels) -> DetectFrame<'_> {
    DetectFrame {
        pixels,
        source: INPUT,
        placement: ResizeMode::Letterbox.place(INPUT, INPUT),
        keep: DetectionFilter::all(),
    }
}

/// Returns the crop of all pixels that a box touches.
fn cut(pixels: &Pixels, bbox: BBox) -> Pixels {
    let [left, top] = [bbox.x1, bbox.y1].map(|low| low.floor() as usize);
    let [right, bottom] = [bbox.x2, bbox.y2].map(|high| high.ceil() as usize);
    let rows = pixels.rgb().chunks_exact(INPUT.width as usize * 3).take(bottom).skip(top);
    let rgb: Vec<u8> = rows.flat_map(|row| row[left * 3..right * 3].to_vec()).collect();
    let size = Size { width: (right - left) as u32, height: (bottom - top) as u32 };
    Pixels::new(size, rgb).unwrap()
}

#[test]
fn crop_is_classified_like_an_image() {
    let images = [image(0), image(5)];
    let frames = [frame(&images[0]), frame(&images[1])];
    let alone = detector(None).unwrap().detector.detect(&frames).unwrap().findings;
    for n in [0, 1] {
        let large = |b: BBox| b.x2 - b.x1 >= 12.0 && b.y2 - b.y1 >= 12.0;
        let first = alone[n].detections.iter().find(|found| large(found.bbox)).unwrap();
        let crop = cut(&images[n], first.bbox);

        // The classifier's input has the size of the crop, so nothing is resized.
        let classify = classify(crop.size(), std::slice::from_ref(&first.label));
        let mut loaded = detector(Some(&classify)).unwrap();
        assert_eq!(loaded.classifier.as_ref().unwrap().arch, "resnet18");
        let both = loaded.detector.detect(&frames).unwrap().findings;

        let streams = Streams::new(&classify.network, Target::REFERENCE);
        let mut classifier = load_stream(&classify.network, None, &streams).unwrap();
        let truth = classifier.detector.detect(&[frame(&crop)]).unwrap().findings.remove(0).classes;
        let found = both[n].detections.iter().find(|found| found.bbox == first.bbox).unwrap();
        assert_eq!(found.classes.len(), 3);
        for (found, truth) in found.classes.iter().zip(&truth) {
            assert_eq!((found.class_id, &found.label), (truth.class_id, &truth.label));
            assert!((found.score - truth.score).abs() < 1e-5, "{found:?} {truth:?}");
        }

        // The detections are unchanged, and those of other classes or small sizes are not classified.
        for (both, alone) in both.iter().zip(&alone) {
            assert_eq!(both.detections.len(), alone.detections.len());
            for (found, alone) in both.detections.iter().zip(&alone.detections) {
                assert_eq!((found.bbox, &found.label), (alone.bbox, &alone.label));
                let asked = found.label == first.label && large(found.bbox);
                assert_eq!(!found.classes.is_empty(), asked, "{found:?}");
            }
        }
    }
}

#[test]
fn all_detections_of_a_large_batch_are_classified() {
    let mut loaded =
        detector(Some(&ClassifySettings { min_side: 1.0, ..classify(Size { width: 32, height: 32 }, &[]) }))
            .unwrap();
    let images = [image(0), image(5), image(9)];
    let findings = loaded.detector.detect(&images.each_ref().map(frame)).unwrap().findings;
    let found: Vec<_> = findings.iter().flat_map(|finding| &finding.detections).collect();
    assert!(found.len() > 64, "{}", found.len());
    // A box with a side of less than a pixel is below every `min_side`.
    let sized = |b: BBox| b.x2 - b.x1 >= 1.0 && b.y2 - b.y1 >= 1.0;
    assert!(found.iter().all(|found| found.classes.is_empty() != sized(found.bbox)));
    assert!(loaded.detector.detect(&[]).unwrap().findings.is_empty());
}

#[test]
fn class_unknown_to_the_detector_is_an_error() {
    let error = detector(Some(&classify(INPUT, &["unicorn".into()]))).unwrap_err();
    assert!(error.to_string().contains("`unicorn`, which is not a class of the retinanet"), "{error}");
}
