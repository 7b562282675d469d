//! Boxes that the picture's border cuts. A detector's box ends at the border, so of an object that leaves, the
//! center goes half as fast as before and the size shrinks, and neither is what the object does. What is beyond the
//! border is known from before: an object keeps its size.

use lookout_schema::{BBox, Size};

/// A side that is within so many of its standard deviations of the border may have been cut there.
const CUT: f64 = 3.0;

/// The box of an object that is expected at `expected` and was seen as `seen`, on beyond the border of a picture
/// of `source` where that may have cut it; `error` is the standard deviation of a side.
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

/// The box to be told of an object that is at `bbox` and was seen as `seen`, if it was: it ends at the border, but
/// for a detector whose boxes reach over it.
pub(crate) fn told(bbox: BBox, seen: Option<BBox>, source: Size) -> BBox {
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
    fn what_the_border_cuts_is_as_large_as_it_was() {
        let expected = bbox([-20.0, 30.0, 20.0, 60.0]);
        let cut = |seen| whole(bbox(seen), expected, SOURCE, 2.0);
        assert_eq!(cut([0.0, 30.0, 18.0, 60.0]), bbox([-22.0, 30.0, 18.0, 60.0]));
        // One that is larger than was known, one that is elsewhere, and one whose box was not cut.
        assert_eq!(cut([0.0, 30.0, 50.0, 60.0]), bbox([0.0, 30.0, 50.0, 60.0]));
        assert_eq!(cut([10.0, 30.0, 30.0, 60.0]), bbox([10.0, 30.0, 30.0, 60.0]));
        assert_eq!(cut([-19.0, 30.0, 21.0, 60.0]), bbox([-19.0, 30.0, 21.0, 60.0]));
        let expected = bbox([10.0, 80.0, 20.0, 130.0]);
        let seen = bbox([10.0, 85.0, 20.0, 100.0]);
        assert_eq!(whole(seen, expected, SOURCE, 2.0), bbox([10.0, 85.0, 20.0, 135.0]));
    }

    #[test]
    fn a_told_box_ends_where_the_detectors_boxes_end() {
        let out = bbox([-20.0, 30.0, 20.0, 60.0]);
        let clipped = bbox([0.0, 30.0, 20.0, 60.0]);
        assert_eq!(told(out, Some(bbox([0.0, 31.0, 21.0, 60.0])), SOURCE), clipped);
        assert_eq!(told(out, None, SOURCE), clipped);
        assert_eq!(told(out, Some(bbox([-21.0, 31.0, 21.0, 60.0])), SOURCE), out);
    }
}
