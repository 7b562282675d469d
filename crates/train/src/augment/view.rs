//! Copies a part of an image into another image. All changes of position and size use it, for pixels and boxes.

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image};
use lookout_schema::{BBox, Rect, Size};

use crate::sample::{Sample, SampleImage, Target};
use lookout_measure::ObjectTarget;

/// ImageNet's mean color, which is zero after normalization, as is the padding of a detector's batch.
pub const MEAN_COLOR: [u8; 3] = [124, 116, 104];

/// Minimum visible fraction of an object that is trained on. Below it the object is ignored, since it is neither a good
/// example nor background.
pub const MIN_TRAINED: f32 = 0.25;

/// Minimum visible fraction of an object that is kept. Below it, or below one pixel in width or height, the object is
/// removed.
pub const MIN_KEPT: f32 = 0.05;

/// A rectangle in pixels of an image, at subpixel positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Part {
    pub(super) fn whole(size: Size) -> Self {
        Self { x: 0.0, y: 0.0, width: f64::from(size.width), height: f64::from(size.height) }
    }
}

/// A part of a source image and its rectangle in the target image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    /// The part of the source.
    pub(super) from: Part,
    /// The rectangle in the target.
    pub(super) to: Rect,
}

impl View {
    /// Returns the visible objects, in pixels of the target.
    pub(super) fn objects(&self, objects: &[ObjectTarget]) -> Vec<ObjectTarget> {
        let scale_x = f64::from(self.to.width) / self.from.width;
        let scale_y = f64::from(self.to.height) / self.from.height;
        let (left, top) = (f64::from(self.to.x), f64::from(self.to.y));
        let x = |x: f32| (f64::from(x) - self.from.x) * scale_x + left;
        let y = |y: f32| (f64::from(y) - self.from.y) * scale_y + top;
        let moved = |object: &ObjectTarget| {
            let b = object.bbox;
            let whole = [x(b.x1), y(b.y1), x(b.x2), y(b.y2)];
            let area = object.area * (scale_x * scale_y) as f32;
            clipped(ObjectTarget { area, ..*object }, whole, self.to)
        };
        objects.iter().filter_map(moved).collect()
    }

    /// Scales the part and copies it into the target.
    pub(super) fn draw(&self, source: &SampleImage, on: &mut SampleImage) {
        let scaled = self.scaled(source);
        let row = self.to.width as usize * 3;
        let stride = on.size.width as usize * 3;
        let first = self.to.y as usize * stride + self.to.x as usize * 3;
        for (y, line) in scaled.chunks_exact(row.max(1)).enumerate() {
            let at = first + y * stride;
            on.rgb[at..at + row].copy_from_slice(line);
        }
    }

    /// Scales the part with Pillow's bilinear filter, which Lookout uses for all images that go to a network.
    fn scaled(&self, source: &SampleImage) -> Vec<u8> {
        let Size { width, height } = source.size;
        let Part { x, y, .. } = self.from;
        // Rounding errors may move the rectangle over the border, which the resizer rejects.
        let w = self.from.width.min(f64::from(width) - x);
        let h = self.from.height.min(f64::from(height) - y);
        let from = Image::from_vec_u8(width, height, source.rgb.clone(), PixelType::U8x3);
        let mut scaled = Image::new(self.to.width, self.to.height, PixelType::U8x3);
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(x, y, w, h);
        let done = from.ok().and_then(|from| Resizer::new().resize(&from, &mut scaled, &options).ok());
        debug_assert!(done.is_some(), "{self:?} of {:?}", source.size);
        scaled.into_vec()
    }
}

/// Returns `object` with the part of `whole` (x1, y1, x2, y2) that lies in `to`, by the rules of [`MIN_TRAINED`] and
/// [`MIN_KEPT`]. `object.area` is the area of the whole object. An ignored object is kept while any part of it is
/// visible.
fn clipped(object: ObjectTarget, whole: [f64; 4], to: Rect) -> Option<ObjectTarget> {
    let (right, bottom) = (f64::from(to.x + to.width), f64::from(to.y + to.height));
    let [x1, y1, x2, y2] = whole;
    let left = [
        x1.clamp(f64::from(to.x), right),
        y1.clamp(f64::from(to.y), bottom),
        x2.clamp(f64::from(to.x), right),
        y2.clamp(f64::from(to.y), bottom),
    ];
    let area = |[x1, y1, x2, y2]: [f64; 4]| (x2 - x1) * (y2 - y1);
    let part = (area(left) / area(whole)) as f32;
    let is_whole = part > 1.0 - 1e-4;
    let large_enough = left[2] - left[0] >= 1.0 && left[3] - left[1] >= 1.0;
    let keep = part > 0.0 && (object.ignore || is_whole || (part >= MIN_KEPT && large_enough));
    let bbox = BBox::from(left.map(|corner| corner as f32));
    let has_area = bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1;
    (keep && has_area).then_some(ObjectTarget {
        bbox,
        ignore: object.ignore || part < MIN_TRAINED,
        area: object.area * part,
        ..object
    })
}

/// Returns an image of one color.
pub(super) fn blank(size: Size, color: [u8; 3]) -> SampleImage {
    let pixels = size.width as usize * size.height as usize;
    SampleImage { size, rgb: color.repeat(pixels) }
}

/// Returns a new image of `size` with the part of a sample that `view` selects. The rest has the mean color.
pub(super) fn viewed(sample: &Sample, view: View, size: Size) -> Sample {
    let mut image = blank(size, MEAN_COLOR);
    view.draw(&sample.image, &mut image);
    let target = match &sample.target {
        Target::Objects(objects) => Target::Objects(view.objects(objects)),
        whole @ Target::Class(_) => whole.clone(),
    };
    Sample { name: sample.name.clone(), image, target }
}

/// Returns the rectangle that covers all of `size`.
pub(super) fn all_of(size: Size) -> Rect {
    Rect { x: 0, y: 0, width: size.width, height: size.height }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(corners: [f32; 4]) -> ObjectTarget {
        let [x1, y1, x2, y2] = corners;
        ObjectTarget { class_id: 1, bbox: corners.into(), ignore: false, area: (x2 - x1) * (y2 - y1) }
    }

    #[test]
    fn visible_fraction_decides_about_an_object() {
        // The right half of an image of 100x100 pixels, at twice the scale.
        let from = Part { x: 50.0, y: 0.0, width: 50.0, height: 100.0 };
        let view = View { from, to: Rect { x: 10, y: 0, width: 100, height: 200 } };
        let seen = |corners| view.objects(&[object(corners)]).pop();
        let whole = seen([60.0, 10.0, 70.0, 20.0]).unwrap();
        assert_eq!((<[f32; 4]>::from(whole.bbox), whole.area), ([30.0, 20.0, 50.0, 40.0], 400.0));
        let half = seen([40.0, 10.0, 60.0, 20.0]).unwrap();
        assert_eq!(
            (<[f32; 4]>::from(half.bbox), half.area, half.ignore),
            ([10.0, 20.0, 30.0, 40.0], 400.0, false)
        );
        assert!(seen([0.0, 10.0, 60.0, 20.0]).unwrap().ignore);
        assert_eq!(seen([0.0, 10.0, 51.0, 20.0]), None);
        assert_eq!(seen([0.0, 10.0, 50.0, 20.0]), None);
        let crowd = ObjectTarget { ignore: true, ..object([0.0, 10.0, 51.0, 20.0]) };
        assert!(view.objects(&[crowd])[0].ignore);
    }
}
