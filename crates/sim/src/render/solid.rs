//! Polygons in space, and blocks built from them, which may taper.

use crate::camera::{cross, dot, sub};

/// A flat convex polygon.
#[derive(Debug, Clone)]
pub(crate) struct Polygon {
    pub(crate) points: Vec<[f64; 3]>,
    pub(crate) color: [u8; 3],
    /// Surface normal; without one, the polygon is lit evenly from all directions.
    pub(crate) normal: Option<[f64; 3]>,
    /// Whether it is only visible from its front.
    pub(crate) one_sided: bool,
    pub(crate) opacity: f32,
}

impl Polygon {
    pub(crate) fn flat(points: Vec<[f64; 3]>, color: [u8; 3]) -> Self {
        Self { points, color, normal: Some([0.0, 0.0, 1.0]), one_sided: false, opacity: 1.0 }
    }
}

/// Returns whether a polygon in camera coordinates faces the camera: its corners appear in clockwise order.
pub(crate) fn faces(local: &[[f64; 3]]) -> bool {
    let [a, b, c, ..] = local else { return false };
    dot(cross(sub(*b, *a), sub(*c, *a)), *a) < 0.0
}

/// Returns the part of a polygon in camera coordinates that is farther than `near` (Sutherland and Hodgman, 1974).
pub(crate) fn clip(local: &[[f64; 3]], near: f64) -> Vec<[f64; 3]> {
    let mut kept = Vec::with_capacity(local.len() + 1);
    for (i, from) in local.iter().enumerate() {
        let to = &local[(i + 1) % local.len()];
        if from[2] >= near {
            kept.push(*from);
        }
        if (from[2] >= near) != (to[2] >= near) {
            let part = (near - from[2]) / (to[2] - from[2]);
            kept.push([from[0] + part * (to[0] - from[0]), from[1] + part * (to[1] - from[1]), near]);
        }
    }
    kept
}

/// The position and heading of a solid's local coordinates in the world: x to its right, y ahead, z up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) at: [f64; 3],
    pub(crate) heading: f64,
}

impl Frame {
    pub(crate) fn world(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let (sin, cos) = self.heading.sin_cos();
        [self.at[0] + x * cos + y * sin, self.at[1] - x * sin + y * cos, self.at[2] + z]
    }
}

/// A horizontal rectangle at height `z`: minimum and maximum along x and y.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer {
    pub(crate) x: [f64; 2],
    pub(crate) y: [f64; 2],
    pub(crate) z: f64,
}

/// A side of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Front,
    Back,
    Left,
    Right,
    Top,
}

/// A polygon painted on a side, in fractions of the side: u from left to right as seen from outside, v from bottom to
/// top.
#[derive(Debug, Clone)]
pub(crate) struct Decal {
    pub(crate) side: Side,
    pub(crate) uv: Vec<[f64; 2]>,
    pub(crate) color: [u8; 3],
}

impl Decal {
    pub(crate) fn rect(side: Side, u: [f64; 2], v: [f64; 2], color: [u8; 3]) -> Self {
        Self { side, uv: vec![[u[0], v[0]], [u[0], v[1]], [u[1], v[1]], [u[1], v[0]]], color }
    }

    /// Returns a disc with the given center, and half of its width and height.
    pub(crate) fn disc(side: Side, [u, v]: [f64; 2], [half_u, half_v]: [f64; 2], color: [u8; 3]) -> Self {
        let corner = |i: u32| {
            let (sin, cos) = (f64::from(i) * std::f64::consts::TAU / 12.0).sin_cos();
            [u + half_u * sin, v + half_v * cos]
        };
        Self { side, uv: (0..12).map(corner).collect(), color }
    }
}

/// A block between two layers, with one color and with decals.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) low: Layer,
    pub(crate) high: Layer,
    pub(crate) color: [u8; 3],
    pub(crate) decals: Vec<Decal>,
}

impl Block {
    /// Returns a rectangular box.
    pub(crate) fn new(x: [f64; 2], y: [f64; 2], z: [f64; 2], color: [u8; 3]) -> Self {
        Self { low: Layer { x, y, z: z[0] }, high: Layer { x, y, z: z[1] }, color, decals: Vec::new() }
    }

    pub(crate) fn with(mut self, decals: impl IntoIterator<Item = Decal>) -> Self {
        self.decals.extend(decals);
        self
    }

    pub(crate) fn middle(&self) -> [f64; 3] {
        let middle = |a: [f64; 2], b: [f64; 2]| (a[0] + a[1] + b[0] + b[1]) / 4.0;
        let (low, high) = (&self.low, &self.high);
        [middle(low.x, high.x), middle(low.y, high.y), (low.z + high.z) / 2.0]
    }

    /// Returns the polygons of its sides, each followed by its decals, so that the decals are drawn on top.
    pub(crate) fn polygons(&self, frame: Frame) -> Vec<Polygon> {
        let (low, high) = (&self.low, &self.high);
        let corner = |layer: &Layer, right: usize, ahead: usize| {
            frame.world([layer.x[right], layer.y[ahead], layer.z])
        };
        let mut polygons = Vec::new();
        for side in [Side::Front, Side::Back, Side::Left, Side::Right, Side::Top] {
            // Lower left, upper left, upper right and lower right, as seen from outside.
            let quad = match side {
                Side::Front => [corner(low, 1, 1), corner(high, 1, 1), corner(high, 0, 1), corner(low, 0, 1)],
                Side::Back => [corner(low, 0, 0), corner(high, 0, 0), corner(high, 1, 0), corner(low, 1, 0)],
                Side::Left => [corner(low, 0, 1), corner(high, 0, 1), corner(high, 0, 0), corner(low, 0, 0)],
                Side::Right => [corner(low, 1, 0), corner(high, 1, 0), corner(high, 1, 1), corner(low, 1, 1)],
                Side::Top => [corner(high, 0, 0), corner(high, 0, 1), corner(high, 1, 1), corner(high, 1, 0)],
            };
            let normal = unit(cross(sub(quad[3], quad[0]), sub(quad[1], quad[0])));
            let polygon = |points: Vec<[f64; 3]>, color| Polygon {
                points,
                color,
                normal: Some(normal),
                one_sided: true,
                opacity: 1.0,
            };
            polygons.push(polygon(quad.into(), self.color));
            for decal in self.decals.iter().filter(|decal| decal.side == side) {
                let points = decal.uv.iter().map(|uv| within(&quad, *uv)).collect();
                polygons.push(polygon(points, decal.color));
            }
        }
        polygons
    }
}

/// Returns the point of a quad at (u, v).
fn within(quad: &[[f64; 3]; 4], [u, v]: [f64; 2]) -> [f64; 3] {
    let mut point = [0.0; 3];
    for (axis, part) in point.iter_mut().enumerate() {
        let left = quad[0][axis] + v * (quad[1][axis] - quad[0][axis]);
        let right = quad[3][axis] + v * (quad[2][axis] - quad[3][axis]);
        *part = left + u * (right - left);
    }
    point
}

fn unit(vector: [f64; 3]) -> [f64; 3] {
    let length = dot(vector, vector).sqrt().max(1e-9);
    vector.map(|part| part / length)
}
