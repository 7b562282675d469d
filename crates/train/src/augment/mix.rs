//! Augmentations that combine several images: mosaic and mixup.

use lookout_schema::{Rect, Size};

use super::{
    random::{Random, beta, between},
    view::{MEAN_COLOR, Part, View, blank},
};
use crate::sample::{Sample, SampleImage, Target};

/// Combines four images around a random point (mosaic: Bochkovskiy et al., YOLOv4, 2020,
/// <https://arxiv.org/abs/2004.10934>). Each quarter is filled with a part of its image that has the quarter's aspect
/// ratio.
///
/// For images with a class, the result has the classes of all four, weighted by the areas of the quarters.
pub fn mosaic(samples: [&Sample; 4], size: Size, random: &mut Random) -> Sample {
    let mut middle =
        |side: u32| ((f64::from(side) * between(0.25, 0.75, random)) as u32).clamp(1, side.max(2) - 1);
    let (x, y) = (middle(size.width), middle(size.height));
    let quarters = [(0, 0), (x, 0), (0, y), (x, y)];
    let mut image = blank(size, MEAN_COLOR);
    let (mut objects, mut classes) = (Vec::new(), Vec::new());
    for (sample, (left, top)) in samples.into_iter().zip(quarters) {
        let width = if left == 0 { x } else { size.width.saturating_sub(x) };
        let height = if top == 0 { y } else { size.height.saturating_sub(y) };
        if width == 0 || height == 0 {
            continue;
        }
        let to = Rect { x: left, y: top, width, height };
        let view = View { from: part_of(sample.image.size, to, random), to };
        view.draw(&sample.image, &mut image);
        let share = f64::from(width) * f64::from(height) / (f64::from(size.width) * f64::from(size.height));
        match &sample.target {
            Target::Objects(of_sample) => objects.extend(view.objects(of_sample)),
            Target::Class(of_sample) => add(&mut classes, of_sample, share as f32),
        }
    }
    let target = if classes.is_empty() { Target::Objects(objects) } else { Target::Class(classes) };
    Sample { name: named(&samples), image, target }
}

/// Returns a random part of `source` with the aspect ratio of `to`. Its sides are half to all of those of the largest
/// such part.
fn part_of(source: Size, to: Rect, random: &mut Random) -> Part {
    let (w, h) = (f64::from(source.width), f64::from(source.height));
    let shape = f64::from(to.width) / f64::from(to.height);
    let times = between(0.5, 1.0, random);
    let (width, height) = (w.min(h * shape) * times, h.min(w / shape) * times);
    let x = between(0.0, w - width, random);
    let y = between(0.0, h - height, random);
    Part { x, y, width, height }
}

/// Blends two images: for classes, mixup by Zhang et al. 2017 (<https://arxiv.org/abs/1710.09412>); for objects, Zhang
/// et al. 2019 (Bag of Freebies, <https://arxiv.org/abs/1902.04103>), with the objects of both images.
///
/// `alpha` is the parameter of the beta distribution of the blend weights; the papers use 0.2 for classes and 1.5 for
/// objects. Images with objects keep their scale, with the smaller one at the upper left. For classes, the second image
/// is scaled to the size of the first.
pub fn mixup(one: &Sample, other: &Sample, alpha: f64, random: &mut Random) -> Sample {
    let share = beta(alpha, random) as f32;
    let (a, b) = (one.image.size, other.image.size);
    let of_objects = matches!((&one.target, &other.target), (Target::Objects(_), Target::Objects(_)));
    let (size, size_b) = if of_objects {
        (Size { width: a.width.max(b.width), height: a.height.max(b.height) }, b)
    } else {
        (a, a)
    };
    let drawn = |sample: &Sample, to: Size| {
        let to = Rect { x: 0, y: 0, width: to.width, height: to.height };
        let mut image = blank(size, MEAN_COLOR);
        View { from: Part::whole(sample.image.size), to }.draw(&sample.image, &mut image);
        image.rgb
    };
    let mut rgb = drawn(one, a);
    for (byte, other) in rgb.iter_mut().zip(drawn(other, size_b)) {
        *byte = (f32::from(*byte) * share + f32::from(other) * (1.0 - share)).round() as u8;
    }
    let target = match (&one.target, &other.target) {
        (Target::Objects(a), Target::Objects(b)) => Target::Objects([a.as_slice(), b].concat()),
        (Target::Class(a), Target::Class(b)) => {
            let mut classes = Vec::new();
            add(&mut classes, a, share);
            add(&mut classes, b, 1.0 - share);
            Target::Class(classes)
        }
        // No data set has targets of both kinds; the first target is used then.
        (target, _) => target.clone(),
    };
    Sample { name: named(&[one, other]), image: SampleImage { size, rgb }, target }
}

fn add(classes: &mut Vec<(u32, f32)>, parts: &[(u32, f32)], share: f32) {
    for (class, part) in parts {
        match classes.iter_mut().find(|(known, _)| known == class) {
            Some((_, sum)) => *sum += part * share,
            None => classes.push((*class, part * share)),
        }
    }
}

fn named(samples: &[&Sample]) -> String {
    samples.iter().map(|sample| sample.name.as_str()).collect::<Vec<_>>().join(" + ")
}
