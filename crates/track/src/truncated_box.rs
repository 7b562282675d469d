//! Correction of boxes that the image border truncates.
//!
//! A detector's box ends at the border. For an object that leaves the image, the box's center therefore moves
//! at half of the object's speed and its size shrinks. The truncated part is reconstructed from the size that
//! the object had before.

use lookout_schema::{BBox, Size};

/// A side within this number of its standard deviations of the border may be truncated there.
const CUT: f64 = 3.0;

/// Returns the box `seen`, extended beyond the border of an image of size `source` where the border may have
/// truncated it. `expected` is the object's predicted box, `error` the standard deviation of a side in
/// pixels.
pub(crate) fn whole(seen: BBox, expected: BBox, source: Size, error: f64) -> BBox {
    let near = (CUT * error) as f32;
    let one = |seen: [f32; 2], expected: [f32; 2], side: u32| {
        let ([low, high], side, length) = (seen, side as f32, expected[1] - expected[0]);
        let cut_low = expected[0] < 0.0 && low.abs() <= near;
        let cut_high = expected[1] > side && (high - side).abs() <= near;
        [
            if cut_low { low.min(high - length) } else { low },
            if cut_high { high.max(low + length) } else { high },
        ]
    };
    let [x1, x2] = one([seen.x1, seen.x2], [expected.x1, expected.x2], source.width);
    let [y1, y2] = one([seen.y1, seen.y2], [expected.y1, expected.y2], source.height);
    BBox { x1, y1, x2, y2 }
}

/// Returns the box to output for an object at `bbox`, which was detected at `seen` in this frame, if at all.
/// The box is clipped to the image, unless this detector's boxes reach beyond the border.
pub(crate) fn output_box(bbox: BBox, seen: Option<BBox>, source: Size) -> BBox {
    let ends_there = seen.is_none_or(|seen| seen.clipped(source) == Some(seen));
    let clipped = ends_there.then(|| bbox.clipped(source)).flatten();
    clipped.unwrap_or(bbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Size = Size { width: 100, height: 100 };

    fn bbox(sides: [f32; 4]) -> BBox {
        BBox::from(sides)
    }

    #[test]
    fn restores_boxes_truncated_by_the_border() {
        let expected = bbox([-20.0, 30.0, 20.0, 60.0]);
        let cut = |seen| whole(bbox(seen), expected, SOURCE, 2.0);
        assert_eq!(cut([0.0, 30.0, 18.0, 60.0]), bbox([-22.0, 30.0, 18.0, 60.0]));
        // A box larger than expected, a box away from the border, and a box that was not truncated.
        assert_eq!(cut([0.0, 30.0, 50.0, 60.0]), bbox([0.0, 30.0, 50.0, 60.0]));
        assert_eq!(cut([10.0, 30.0, 30.0, 60.0]), bbox([10.0, 30.0, 30.0, 60.0]));
        assert_eq!(cut([-19.0, 30.0, 21.0, 60.0]), bbox([-19.0, 30.0, 21.0, 60.0]));
        let expected = bbox([10.0, 80.0, 20.0, 130.0]);
        let seen = bbox([10.0, 85.0, 20.0, 100.0]);
        assert_eq!(whole(seen, expected, SOURCE, 2.0), bbox([10.0, 85.0, 20.0, 135.0]));
    }

    #[test]
    fn clips_output_boxes_like_the_detector() {
        let out = bbox([-20.0, 30.0, 20.0, 60.0]);
        let clipped = bbox([0.0, 30.0, 20.0, 60.0]);
        assert_eq!(output_box(out, Some(bbox([0.0, 31.0, 21.0, 60.0])), SOURCE), clipped);
        assert_eq!(output_box(out, None, SOURCE), clipped);
        assert_eq!(output_box(out, Some(bbox([-21.0, 31.0, 21.0, 60.0])), SOURCE), out);
    }
}
