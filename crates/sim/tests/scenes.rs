//! Tests of the ground truth's properties.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use lookout_schema::Size;
use lookout_sim::{DatasetSettings, Kind, Place, Renderer, Scene, Weather, write_crops, write_dataset};

const SIZE: Size = Size { width: 320, height: 180 };

fn renderer(place: Place, seed: u64, weather: Weather) -> Renderer {
    Renderer::new(Scene::new(place, seed), 0, SIZE, weather).unwrap()
}

#[test]
fn frames_depend_only_on_seed_and_number() {
    for place in Place::ALL {
        let mut forwards = renderer(place, 5, Weather::of(5));
        let frames: Vec<_> = (0..4).map(|n| forwards.frame(n, n as f64 * 0.5)).collect();
        let mut backwards = renderer(place, 5, Weather::of(5));
        for n in (0..4).rev() {
            assert_eq!(backwards.frame(n, n as f64 * 0.5), frames[n as usize], "{place:?} {n}");
        }
        assert_ne!(renderer(place, 6, Weather::of(5)).frame(0, 0.0).0, frames[0].0);
    }
}

#[test]
fn boxes_lie_within_the_image_and_values_are_plausible() {
    let mut seen = BTreeMap::new();
    for place in Place::ALL {
        for seed in 0..6 {
            let mut renderer = renderer(place, seed, Weather::of(seed));
            for n in 0..4 {
                let (_, truth) = renderer.frame(n, n as f64 * 3.0);
                for object in &truth.objects {
                    assert_eq!(object.bbox.clipped(SIZE), Some(object.bbox), "{object:?}");
                    assert!(
                        (0.0..=1.0).contains(&object.visible) && object.distance_m.is_finite(),
                        "{object:?}"
                    );
                    assert!(object.ttc_s.is_none_or(|ttc| ttc > 0.0), "{object:?}");
                    *seen.entry(object.label.clone()).or_insert(0) += usize::from(!object.ignore);
                }
            }
        }
    }
    assert!(Kind::ALL.iter().all(|kind| seen.get(kind.label()).is_some_and(|n| *n > 10)), "{seen:?}");
}

/// The box grows as the ground truth predicts: the size of an approaching object is proportional to the inverse of its
/// distance.
#[test]
fn box_growth_matches_the_time_to_collision() {
    let mut checked = 0;
    for seed in 0..8 {
        let scene = Scene::new(Place::Drive, seed);
        let size = Size { width: 1280, height: 720 };
        let mut renderer = Renderer::new(scene, 0, size, Weather::CLEAR).unwrap();
        let (_, from) = renderer.frame(0, 3.0);
        let (_, to) = renderer.frame(1, 4.0);
        for object in from.objects.iter().filter(|object| object.visible > 0.95 && !object.ignore) {
            let Some(later) = to.objects.iter().find(|later| later.track == object.track) else { continue };
            // The vehicle ahead, of which no other side becomes visible as it approaches.
            let whole = |b: lookout_schema::BBox| b.x1 > 2.0 && b.x2 < 1278.0 && b.y2 < 718.0;
            let ahead =
                ((object.bbox.x1 + object.bbox.x2) / 2.0 - 640.0).abs() < 40.0 && object.ttc_s.is_some();
            if !ahead || later.visible < 0.95 || !whole(object.bbox) || !whole(later.bbox) {
                continue;
            }
            let width = |b: lookout_schema::BBox| f64::from(b.x2 - b.x1);
            let grown = width(later.bbox) / width(object.bbox);
            let expected = f64::from(object.distance_m) / f64::from(later.distance_m);
            assert!((grown / expected - 1.0).abs() < 0.08, "seed {seed}: {grown} {expected} {object:?}");
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked}");
}

#[test]
fn writes_a_complete_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        DatasetSettings { first_seed: 1000, scenes: 3, images_per_scene: 2, size: SIZE, quality: 85 };
    assert_eq!(write_dataset(folder.path(), &settings, |_| {}).unwrap(), 6);
    let text = std::fs::read_to_string(folder.path().join("annotations.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (all["images"].as_array().unwrap().len(), all["categories"].as_array().unwrap().len()),
        (6, 4)
    );
    assert!(all["annotations"].as_array().unwrap().len() > 20);
    for image in all["images"].as_array().unwrap() {
        let file = folder.path().join("images").join(image["file_name"].as_str().unwrap());
        let image = image::open(file).unwrap();
        assert_eq!((image.width(), image.height()), (SIZE.width, SIZE.height));
    }
}

#[test]
fn crops_match_the_data_set_and_are_reproducible() {
    const SIDE: u32 = 32;
    let settings = DatasetSettings {
        first_seed: 1000,
        scenes: 6,
        images_per_scene: 2,
        size: Size { width: 640, height: 360 },
        quality: 85,
    };
    let crops = || {
        let folder = tempfile::tempdir().unwrap();
        let mut images = 0;
        let written = write_crops(folder.path(), &settings, SIDE, |n| images = n).unwrap();
        assert_eq!(images, 12);
        let mut found = BTreeMap::new();
        for kind in Kind::ALL {
            for entry in std::fs::read_dir(folder.path().join(kind.label())).unwrap() {
                let path = entry.unwrap().path();
                let image = image::open(&path).unwrap().to_rgb8();
                assert_eq!(image.dimensions(), (SIDE, SIDE), "{path:?}");
                found.insert((kind.label(), path.file_name().unwrap().to_owned()), image.into_raw());
            }
        }
        assert_eq!(found.len() as u64, written);
        found
    };
    let found = crops();
    assert_eq!(found, crops());

    let folder = tempfile::tempdir().unwrap();
    write_dataset(folder.path(), &settings, |_| {}).unwrap();
    let text = std::fs::read_to_string(folder.path().join("annotations.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let asked = |kind: Kind| {
        let of = |a: &&serde_json::Value| a["iscrowd"] == 0 && a["category_id"] == kind.class_id();
        all["annotations"].as_array().unwrap().iter().filter(of).count()
    };
    for kind in Kind::ALL {
        let there = found.keys().filter(|(label, _)| *label == kind.label()).count();
        assert!(there > 0 && there == asked(kind), "{kind:?}: {there} of {}", asked(kind));
    }
}
