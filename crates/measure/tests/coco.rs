//! COCO's measure against pycocotools, and by what has to be true of it.

use lookout_measure::{CocoEvaluation, FoundObject, IgnoredAre, ObjectTarget};
use lookout_schema::BBox;
use proptest::prelude::*;
use serde::Deserialize;

/// `tests/goldens/make_coco.py` made it.
const GOLDEN: &str = include_str!("goldens/coco.json");

/// Class, whether it is ignored, area, x, y, width, height.
type Object = (u32, u8, f32, f32, f32, f32, f32);
/// Class, score, x, y, width, height.
type Found = (u32, f32, f32, f32, f32, f32);

#[derive(Deserialize)]
struct Case {
    name: String,
    classes: usize,
    crowds: bool,
    truth: Vec<Vec<Object>>,
    found: Vec<Vec<Found>>,
    stats: [f64; 12],
    per_class: Vec<[f64; 2]>,
    recall50: Vec<f64>,
}

fn evaluation(classes: usize, ignored: IgnoredAre) -> CocoEvaluation {
    let names = (1..=classes).map(|class| class.to_string()).collect();
    CocoEvaluation::new(names, ignored)
}

fn bbox([x, y, width, height]: [f32; 4]) -> BBox {
    BBox::from([x, y, x + width, y + height])
}

#[test]
fn numbers_are_pycocotools() {
    let cases: Vec<Case> = serde_json::from_str(GOLDEN).unwrap();
    for case in &cases {
        let ignored = if case.crowds { IgnoredAre::Crowds } else { IgnoredAre::Difficult };
        let mut evaluation = evaluation(case.classes, ignored);
        for (truth, found) in case.truth.iter().zip(&case.found) {
            let object = |&(class_id, ignore, area, x, y, w, h): &Object| ObjectTarget {
                class_id,
                bbox: bbox([x, y, w, h]),
                ignore: ignore == 1,
                area,
            };
            let detection = |&(class_id, score, x, y, w, h): &Found| FoundObject {
                class_id,
                bbox: bbox([x, y, w, h]),
                score,
            };
            let truth: Vec<ObjectTarget> = truth.iter().map(object).collect();
            let found: Vec<FoundObject> = found.iter().map(detection).collect();
            evaluation.add(&truth, &found);
        }
        let is = |ours: Option<f64>, theirs: f64, what: &str| {
            let ours = ours.unwrap_or(-1.0);
            assert!((ours - theirs).abs() < 1e-12, "{}, {what}: {ours}, not {theirs}", case.name);
        };
        let summary = evaluation.summary();
        for ((name, ours), theirs) in summary.numbers().into_iter().zip(case.stats) {
            is(ours, theirs, name);
        }
        let counts = evaluation.counts(0.0);
        for (at, class) in summary.classes.iter().enumerate() {
            is(class.ap, case.per_class[at][0], &class.name);
            is(class.ap50, case.per_class[at][1], &class.name);
            is(counts[at].recall(), case.recall50[at], &class.name);
            assert_eq!(class.objects, counts[at].right + counts[at].missed);
        }
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn it_prints_as_pycocotools() {
    let mut evaluation = evaluation(1, IgnoredAre::Crowds);
    let bbox = bbox([0.0, 0.0, 10.0, 10.0]);
    let object = ObjectTarget { class_id: 1, bbox, ignore: false, area: 100.0 };
    evaluation.add(&[object], &[FoundObject { class_id: 1, bbox, score: 0.5 }]);
    let text = evaluation.summary().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[0], " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000");
    assert_eq!(lines[11], " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000");
}

#[test]
fn a_threshold_parts_right_from_wrong_and_missed() {
    let mut evaluation = evaluation(2, IgnoredAre::Difficult);
    let at = |x: f32| bbox([x, 0.0, 10.0, 10.0]);
    let object = |x, ignore| ObjectTarget { class_id: 1, bbox: at(x), ignore, area: 100.0 };
    let found = |x, score| FoundObject { class_id: 1, bbox: at(x), score };
    evaluation.add(
        &[object(0.0, false), object(50.0, false), object(100.0, true)],
        // The second is a repetition; the third finds what is ignored, and the fourth finds it again.
        &[found(0.0, 0.9), found(1.0, 0.8), found(100.0, 0.7), found(101.0, 0.6), found(50.0, 0.3)],
    );
    let counts = &evaluation.counts(0.5)[0];
    assert_eq!((counts.right, counts.wrong, counts.missed), (1, 2, 1));
    assert_eq!((counts.precision(), counts.recall(), counts.f1()), (Some(1.0 / 3.0), Some(0.5), Some(0.4)));
    let counts = &evaluation.counts(0.3)[0];
    assert_eq!((counts.right, counts.wrong, counts.missed), (2, 2, 0));
    let none = &evaluation.counts(0.5)[1];
    assert_eq!((none.precision(), none.recall(), none.f1()), (None, None, None));
}

prop_compose! {
    fn an_object()(
        class_id in 1u32..4, ignore in prop::bool::weighted(0.2), corner in [0f32..500.0, 0f32..500.0],
        size in [1f32..300.0, 1f32..300.0], part in 0.2f32..1.0,
    ) -> ObjectTarget {
        let bbox = bbox([corner[0].round(), corner[1].round(), size[0].round(), size[1].round()]);
        ObjectTarget { class_id, bbox, ignore, area: size[0].round() * size[1].round() * part }
    }
}

type Shown = (Vec<ObjectTarget>, Vec<FoundObject>);

fn a_picture() -> impl Strategy<Value = Shown> {
    let found = (an_object(), 0f32..1.0).prop_map(|(object, score)| FoundObject {
        class_id: object.class_id,
        bbox: object.bbox,
        score,
    });
    let pairs = prop::collection::vec((an_object(), 0f32..1.0), 0..6);
    (pairs, prop::collection::vec(found, 0..6)).prop_map(|(pairs, mut found)| {
        found.extend(pairs.iter().map(|(object, score)| FoundObject {
            class_id: object.class_id,
            bbox: BBox { x2: object.bbox.x2 + 5.0, ..object.bbox },
            score: *score,
        }));
        (pairs.into_iter().map(|(object, _)| object).collect(), found)
    })
}

fn told(pictures: &[Shown], ignored: IgnoredAre) -> [Option<f64>; 12] {
    let mut evaluation = evaluation(3, ignored);
    for (truth, found) in pictures {
        evaluation.add(truth, found);
    }
    evaluation.summary().numbers().map(|(_, number)| number)
}

fn an_ignored_kind() -> impl Strategy<Value = IgnoredAre> {
    prop_oneof![Just(IgnoredAre::Crowds), Just(IgnoredAre::Difficult)]
}

/// Scores apart from one another: the order among equals is the pictures' order.
fn apart(pictures: &mut [Shown]) {
    let all: usize = pictures.iter().map(|(_, found)| found.len()).sum();
    let mut found: Vec<&mut FoundObject> = pictures.iter_mut().flat_map(|(_, found)| found).collect();
    found.sort_by(|a, b| a.score.total_cmp(&b.score));
    for (rank, found) in found.into_iter().enumerate() {
        found.score = (rank + 1) as f32 / (all + 1) as f32;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whoever_finds_all_and_nothing_else_is_perfect(
        truths in prop::collection::vec(prop::collection::vec(an_object(), 0..8), 1..6), ignored in an_ignored_kind()
    ) {
        // What is ignored is left alone: it may hide a good detection of what lies in it.
        let picture = |truth: Vec<ObjectTarget>| {
            let found = |object: &ObjectTarget| FoundObject { class_id: object.class_id, bbox: object.bbox, score: 0.9 };
            let truth: Vec<ObjectTarget> = truth.into_iter().filter(|object| !object.ignore).collect();
            let found = truth.iter().map(found).collect();
            (truth, found)
        };
        let pictures: Vec<Shown> = truths.into_iter().map(picture).collect();
        let told = told(&pictures, ignored);
        let any = pictures.iter().any(|(truth, _)| !truth.is_empty());
        for number in [told[0], told[1], told[2], told[8]] {
            prop_assert_eq!(number.map(|number| (number * 1e9).round()), any.then_some(1e9));
        }
    }

    #[test]
    fn the_order_of_pictures_and_of_what_was_found_does_not_matter(
        mut pictures in prop::collection::vec(a_picture(), 1..6), ignored in an_ignored_kind()
    ) {
        apart(&mut pictures);
        let forward = told(&pictures, ignored);
        pictures.reverse();
        pictures.iter_mut().for_each(|(_, found)| found.reverse());
        prop_assert_eq!(forward, told(&pictures, ignored));
    }

    #[test]
    fn numbers_lie_between_0_and_1_and_a_stricter_threshold_gives_less(
        pictures in prop::collection::vec(a_picture(), 1..6), ignored in an_ignored_kind()
    ) {
        let told = told(&pictures, ignored);
        prop_assert!(told.iter().flatten().all(|number| (0.0..=1.0).contains(number)), "{told:?}");
        prop_assert!(told[6] <= told[7] && told[7] <= told[8], "{told:?}");
    }

    #[test]
    fn what_is_found_besides_never_helps(
        mut pictures in prop::collection::vec(a_picture(), 1..6), ignored in an_ignored_kind()
    ) {
        let before = told(&pictures, ignored)[0];
        for (_, found) in &mut pictures {
            for class_id in 1..4 {
                found.push(FoundObject { class_id, bbox: bbox([900.0, 900.0, 20.0, 20.0]), score: 1.0 });
            }
        }
        prop_assert!(told(&pictures, ignored)[0] <= before);
    }
}
