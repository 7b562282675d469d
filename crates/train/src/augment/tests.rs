use std::convert::Infallible;

use lookout_schema::{BBox, Size};
use lookout_stage::ResizeMode;
use proptest::prelude::*;

use super::*;
use crate::sample::{Sample, SampleImage, Target};
use lookout_measure::ObjectTarget;

/// Colors of the objects by class, far from each other and from the background.
const COLORS: [[u8; 3]; 3] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]];
const GROUND: [u8; 3] = [200, 200, 200];

/// Draws an image with one rectangle per class, each in its own color, without overlaps.
fn drawn(size: Size, seeds: [[f64; 4]; 3]) -> Sample {
    let mut rgb = GROUND.repeat(size.width as usize * size.height as usize);
    let mut objects = Vec::new();
    // One column per class, so that no rectangle covers another.
    let column = size.width / 3;
    for (class, ([a, b, c, d], color)) in seeds.into_iter().zip(COLORS).enumerate() {
        let side = |seed: f64, room: u32| (8.0 + seed * f64::from(room - 8)) as u32;
        let (width, height) = (side(a, column), side(b, size.height));
        let x = class as u32 * column + (c * f64::from(column - width)) as u32;
        let y = (d * f64::from(size.height - height)) as u32;
        for row in y..y + height {
            for at in x..x + width {
                let byte = (row * size.width + at) as usize * 3;
                rgb[byte..byte + 3].copy_from_slice(&color);
            }
        }
        let corners = [x, y, x + width, y + height].map(|corner| corner as f32);
        let area = (width * height) as f32;
        let bbox = BBox::from(corners);
        objects.push(ObjectTarget { class_id: class as u32 + 1, bbox, ignore: false, area });
    }
    Sample { name: "drawn".into(), image: SampleImage { size, rgb }, target: Target::Objects(objects) }
}

/// Returns the bounding box of the pixels that are closer to a class's color than to others: `x1, y1, x2, y2`.
fn seen(image: &SampleImage, class_id: u32) -> Option<[f32; 4]> {
    let channel = class_id as usize - 1;
    let (pixels, _) = image.rgb.as_chunks::<3>();
    let width = image.size.width as usize;
    let mut found: Option<[usize; 4]> = None;
    for (at, pixel) in pixels.iter().enumerate() {
        let others = (0..3).filter(|other| *other != channel);
        if others.map(|other| pixel[other]).all(|other| pixel[channel] >= other.saturating_add(128)) {
            let (x, y) = (at % width, at / width);
            let [x1, y1, x2, y2] = found.unwrap_or([x, y, x, y]);
            found = Some([x1.min(x), y1.min(y), x2.max(x + 1), y2.max(y + 1)]);
        }
    }
    found.map(|corners| corners.map(|corner| corner as f32))
}

/// Checks that every box lies in its image and matches the position of its class's color.
fn check(sample: &Sample, slack: f32) {
    let Target::Objects(objects) = &sample.target else { panic!() };
    assert_eq!(sample.image.rgb.len(), (sample.image.size.width * sample.image.size.height * 3) as usize);
    for object in objects {
        assert_eq!(object.bbox.clipped(sample.image.size), Some(object.bbox), "{object:?}");
        let b = object.bbox;
        assert!(object.area > 0.0 && object.area <= (b.x2 - b.x1) * (b.y2 - b.y1) * 1.02 + 1.0, "{object:?}");
        // The color of a thin object is blurred by its neighbors.
        if b.x2 - b.x1 < 3.0 || b.y2 - b.y1 < 3.0 {
            continue;
        }
        let found = seen(&sample.image, object.class_id).unwrap_or_else(|| panic!("{object:?} is missing"));
        let corners = <[f32; 4]>::from(b);
        let off = found.iter().zip(corners).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= slack, "{corners:?} is seen at {found:?}");
    }
    for class_id in 1..=3 {
        if !objects.iter().any(|object| object.class_id == class_id)
            && let Some([x1, y1, x2, y2]) = seen(&sample.image, class_id)
        {
            // A small remainder of the object may be visible.
            let share = (x2 - x1) * (y2 - y1) / (sample.image.size.width * sample.image.size.height) as f32;
            assert!(share < 0.1 || x2 - x1 < 3.0 || y2 - y1 < 3.0, "{class_id} is left: {share}");
        }
    }
}

fn only_one(_: &mut Random) -> Result<Sample, Infallible> {
    unreachable!("no step needs another sample")
}

fn samples() -> impl Strategy<Value = Sample> {
    let part = prop::array::uniform4(0.0..1.0);
    (48u32..300, 24u32..200, prop::array::uniform3(part))
        .prop_map(|(width, height, seeds)| drawn(Size { width, height }, seeds))
}

fn transform() -> impl Strategy<Value = Transform> {
    let size = (32u32..200, 32u32..200).prop_map(|(width, height)| Size { width, height });
    prop_oneof![
        Just(Transform::Flip { probability: 1.0 }),
        size.clone().prop_map(|size| Transform::ScaleJitter(ScaleJitter { size, min: 0.5, max: 2.0 })),
        Just(Transform::OverlapCrop { crop: OverlapCrop::default(), probability: 1.0 }),
        size.clone().prop_map(|size| Transform::ResizedCrop(ResizedCrop {
            size,
            min_area: 0.3,
            max_aspect_ratio: 2.0
        })),
        size.clone().prop_map(|input| Transform::Resize { fit: ResizeMode::Letterbox, input }),
        size.clone().prop_map(|input| Transform::Resize { fit: ResizeMode::Stretch, input }),
        size.prop_map(|input| Transform::Resize {
            fit: ResizeMode::CenterCrop { short_side: input.width.max(input.height) + 8 },
            input
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn boxes_follow_their_objects_through_augmentation(
        sample in samples(), transforms in prop::collection::vec(transform(), 1..4), seed in any::<u64>()
    ) {
        let before = sample.clone();
        let augmentation = Augmentation { transforms };
        let mut random = random_for(seed, [0, 0]);
        let made = augmentation.apply(sample, &mut random, &mut only_one).unwrap();
        // Each step that enlarges the image makes blurred borders wider.
        check(&made, 2.0 + 4.0 * (augmentation.transforms.len() as f32 - 1.0));
        let again = augmentation.apply(before, &mut random_for(seed, [0, 0]), &mut only_one).unwrap();
        prop_assert_eq!(made, again);
    }

    #[test]
    fn mosaic_boxes_match_their_objects(samples in prop::array::uniform4(samples()), seed in any::<u64>()) {
        // One class per image, so that each color appears in one place only.
        let mut samples = samples;
        for (at, sample) in samples.iter_mut().enumerate() {
            let Target::Objects(objects) = &mut sample.target else { panic!() };
            let ground = |pixel: &mut [u8; 3], keep: [u8; 3]| if *pixel != keep { *pixel = GROUND };
            let keep = COLORS.get(at).copied().unwrap_or(GROUND);
            let (pixels, _) = sample.image.rgb.as_chunks_mut::<3>();
            pixels.iter_mut().for_each(|pixel| ground(pixel, keep));
            objects.retain(|object| object.class_id as usize == at + 1);
        }
        let [a, b, c, d] = &samples;
        let size = Size { width: 160, height: 120 };
        let made = mosaic([a, b, c, d], size, &mut random_for(seed, [0, 0]));
        prop_assert_eq!(made.image.size, size);
        check(&made, 6.0);
    }

    #[test]
    fn color_and_jpeg_augmentation_keep_boxes(sample in samples(), seed in any::<u64>()) {
        let jitter = ColorJitter { brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.02 };
        let transforms = vec![Transform::Color { jitter, probability: 1.0 }, Transform::Jpeg { quality: [60, 95], probability: 1.0 }];
        let target = sample.target.clone();
        let size = sample.image.size;
        let made = Augmentation { transforms }.apply(sample, &mut random_for(seed, [0, 0]), &mut only_one).unwrap();
        prop_assert_eq!(&made.target, &target);
        prop_assert_eq!(made.image.size, size);
        prop_assert_eq!(made.image.rgb.len(), (size.width * size.height * 3) as usize);
    }

    #[test]
    fn tiny_images_do_not_panic(
        width in 1u32..5, height in 1u32..5, transforms in prop::collection::vec(transform(), 1..4), seed in any::<u64>()
    ) {
        let size = Size { width, height };
        let bbox = BBox { x1: 0.0, y1: 0.0, x2: width as f32, y2: height as f32 };
        let object = ObjectTarget { class_id: 1, bbox, ignore: false, area: (width * height) as f32 };
        let rgb = vec![9; (width * height * 3) as usize];
        let target = Target::Objects(vec![object]);
        let sample = Sample { name: "thin".into(), image: SampleImage { size, rgb }, target };
        let mut random = random_for(seed, [0, 0]);
        let made = Augmentation { transforms }.apply(sample.clone(), &mut random, &mut only_one).unwrap();
        let Target::Objects(objects) = &made.target else { panic!() };
        for object in objects {
            prop_assert_eq!(object.bbox.clipped(made.image.size), Some(object.bbox));
        }
        mosaic([&sample, &made, &sample, &made], size, &mut random);
        mixup(&sample, &made, 1.5, &mut random);
    }
}

#[test]
fn double_flip_is_the_identity() {
    let sample = drawn(Size { width: 61, height: 30 }, [[0.5; 4]; 3]);
    let once = flipped(sample.clone());
    check(&once, 0.0);
    assert_ne!(once, sample);
    assert_eq!(flipped(once), sample);
}

#[test]
fn mixup_blends_both_samples() {
    let size = Size { width: 60, height: 30 };
    let of = |class, size: Size| Sample {
        target: Target::Class(vec![(class, 1.0)]),
        ..drawn(size, [[0.5; 4]; 3])
    };
    let mut random = random_for(3, [0, 0]);
    let (one, other) = (of(0, size), of(4, Size { width: 50, height: 50 }));
    let made = mixup(&one, &other, 1.0, &mut random);
    let Target::Class(parts) = &made.target else { panic!() };
    assert_eq!(parts.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [0, 4]);
    assert!((parts.iter().map(|(_, part)| part).sum::<f32>() - 1.0).abs() < 1e-6);
    assert_eq!(made.image.size, size);
    let same = mixup(&one, &one, 1.0, &mut random);
    assert_eq!(same.image, one.image);
    assert_eq!(same.target, one.target);
    let made = mosaic([&one, &other, &one, &one], size, &mut random);
    let Target::Class(parts) = &made.target else { panic!() };
    assert!(parts.len() == 2 && (parts.iter().map(|(_, part)| part).sum::<f32>() - 1.0).abs() < 1e-5);
    let objects = drawn(size, [[0.5; 4]; 3]);
    let wide = drawn(Size { width: 90, height: 24 }, [[0.2; 4]; 3]);
    let made = mixup(&objects, &wide, 1.5, &mut random);
    assert_eq!(made.image.size, Size { width: 90, height: 30 });
    let Target::Objects(both) = &made.target else { panic!() };
    assert_eq!(both.len(), 6);
}

#[test]
fn steps_request_the_other_samples_they_need() {
    let size = Size { width: 64, height: 64 };
    let sample = drawn(size, [[0.5; 4]; 3]);
    let transforms = vec![
        Transform::Flip { probability: 0.5 },
        Transform::Mosaic { size, probability: 1.0 },
        Transform::Mixup { alpha: 1.5, probability: 1.0 },
    ];
    let mut asked = 0;
    let mut other = |_: &mut Random| {
        asked += 1;
        Ok::<_, Infallible>(sample.clone())
    };
    Augmentation { transforms }.apply(sample.clone(), &mut random_for(1, [2, 3]), &mut other).unwrap();
    // Three for the mosaic, and one for mixup, which itself goes through a mosaic of three others.
    assert_eq!(asked, 3 + 1 + 3);
}
