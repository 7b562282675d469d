//! Regions of a camera's image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A polygon in fractions of the image's width and height: `[[x, y], ...]`, each 0 to 1 from the upper left corner,
/// independent of the camera's resolution. It may be concave; if its edges cross, the even-odd rule applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<[f32; 2]>", into = "Vec<[f32; 2]>")]
#[schemars(with = "Vec<[f32; 2]>")]
pub struct Region(Vec<[f32; 2]>);

/// The error of corners that do not form a valid region.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum InvalidRegion {
    /// It has fewer than three corners; contains their number.
    #[error("a region needs at least three corners, this one has {0}")]
    TooFewCorners(usize),
    /// A coordinate of this corner is not between 0 and 1.
    #[error("a corner is outside of the image: [{}, {}]; each coordinate must be 0 to 1", .0[0], .0[1])]
    Outside([f32; 2]),
    /// All corners are on one horizontal or vertical line.
    #[error("the region has no area")]
    NoArea,
}

impl Region {
    /// Returns the polygon with these corners, in clockwise or counterclockwise order.
    ///
    /// # Errors
    /// Fails if there are fewer than three corners, if a coordinate is not within 0 to 1, or if all corners
    /// have the same x or the same y.
    pub fn new(corners: Vec<[f32; 2]>) -> Result<Self, InvalidRegion> {
        if corners.len() < 3 {
            return Err(InvalidRegion::TooFewCorners(corners.len()));
        }
        let within = |corner: &&[f32; 2]| !corner.iter().all(|part| (0.0..=1.0).contains(part));
        if let Some(corner) = corners.iter().find(within) {
            return Err(InvalidRegion::Outside(*corner));
        }
        let flat = |axis: usize| corners.iter().all(|corner| corner[axis] == corners[0][axis]);
        if flat(0) || flat(1) {
            return Err(InvalidRegion::NoArea);
        }
        Ok(Self(corners))
    }

    /// Returns the corners in the order in which they were given.
    pub fn corners(&self) -> &[[f32; 2]] {
        &self.0
    }

    /// Returns whether a point is inside the polygon, by the even-odd rule: a horizontal ray from the point
    /// crosses an odd number of edges.
    pub fn contains(&self, [x, y]: [f32; 2]) -> bool {
        let mut inside = false;
        let mut from = self.0.last().copied().unwrap_or_default();
        for to in &self.0 {
            let crosses = (from[1] > y) != (to[1] > y);
            if crosses && x < from[0] + (y - from[1]) / (to[1] - from[1]) * (to[0] - from[0]) {
                inside = !inside;
            }
            from = *to;
        }
        inside
    }
}

impl TryFrom<Vec<[f32; 2]>> for Region {
    type Error = InvalidRegion;

    fn try_from(corners: Vec<[f32; 2]>) -> Result<Self, InvalidRegion> {
        Self::new(corners)
    }
}

impl From<Region> for Vec<[f32; 2]> {
    fn from(region: Region) -> Self {
        region.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(corners: &[[f32; 2]]) -> Region {
        Region::new(corners.to_vec()).unwrap()
    }

    #[test]
    fn a_concave_region_does_not_contain_the_points_in_its_notch() {
        // A square with a triangle cut out of its upper side.
        let notched = region(&[[0.0, 0.0], [0.5, 0.75], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]);
        for (point, inside) in [
            ([0.5, 0.5], false),
            ([0.5, 0.9], true),
            ([0.1, 0.5], true),
            ([0.9, 0.5], true),
            ([0.5, 0.1], false),
        ] {
            assert_eq!(notched.contains(point), inside, "{point:?}");
        }
    }

    #[test]
    fn rejects_invalid_regions() {
        assert_eq!(Region::new(vec![[0.0, 0.0], [1.0, 1.0]]), Err(InvalidRegion::TooFewCorners(2)));
        let outside = Region::new(vec![[0.0, 0.0], [1.0, 0.0], [0.5, 1.5]]);
        assert_eq!(outside, Err(InvalidRegion::Outside([0.5, 1.5])));
        assert!(Region::new(vec![[0.0, 0.0], [1.0, 0.0], [f32::NAN, 1.0]]).is_err());
        assert_eq!(Region::new(vec![[0.2, 0.1], [0.2, 0.5], [0.2, 0.9]]), Err(InvalidRegion::NoArea));
        assert!(serde_json::from_str::<Region>("[[0, 0], [1, 0], [1, 2]]").is_err());
    }

    proptest! {
        #[test]
        fn a_rectangle_contains_the_points_between_its_sides(
            x in 0.0f32..1.0, y in 0.0f32..1.0, left in 0.0f32..0.5, top in 0.0f32..0.5
        ) {
            let (right, bottom) = (left + 0.5, top + 0.5);
            let rectangle = region(&[[left, top], [right, top], [right, bottom], [left, bottom]]);
            let between = left < x && x < right && top < y && y < bottom;
            let beside = x < left || x > right || y < top || y > bottom;
            prop_assume!(between || beside);
            prop_assert_eq!(rectangle.contains([x, y]), between);
        }
    }
}
