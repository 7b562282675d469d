//! The actor that each pixel shows.

use lookout_schema::{BBox, Size};

/// For each pixel, the number of the actor that it shows, from 1; 0 for no actor.
#[derive(Debug)]
pub(super) struct Ids {
    size: Size,
    ids: Vec<u16>,
}

/// The visible extent of an actor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) pixels: u32,
    x: (u32, u32),
    y: (u32, u32),
}

impl Extent {
    /// Returns the bounding box of all its pixels.
    pub(super) fn bbox(&self) -> BBox {
        BBox {
            x1: self.x.0 as f32,
            y1: self.y.0 as f32,
            x2: self.x.1 as f32 + 1.0,
            y2: self.y.1 as f32 + 1.0,
        }
    }
}

impl Ids {
    pub(super) fn new(size: Size) -> Self {
        Self { size, ids: vec![0; size.width as usize * size.height as usize] }
    }

    pub(super) fn clear(&mut self) {
        self.ids.fill(0);
    }

    /// Assigns the pixels whose center lies in a convex polygon to `id`, and returns how many had a different id.
    pub(super) fn fill(&mut self, points: &[[f32; 2]], id: u16) -> u32 {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let (low, high) =
            points.iter().fold((f32::MAX, f32::MIN), |(low, high), p| (low.min(p[1]), high.max(p[1])));
        let rows = ((low - 0.5).ceil().max(0.0) as usize)
            ..((high - 0.5).floor() + 1.0).clamp(0.0, height as f32) as usize;
        let mut changed = 0;
        for row in rows {
            let y = row as f32 + 0.5;
            let (mut left, mut right) = (f32::MAX, f32::MIN);
            for (i, from) in points.iter().enumerate() {
                let to = points[(i + 1) % points.len()];
                if (from[1] > y) != (to[1] > y) {
                    let x = from[0] + (y - from[1]) / (to[1] - from[1]) * (to[0] - from[0]);
                    (left, right) = (left.min(x), right.max(x));
                }
            }
            let first = (left - 0.5).ceil().max(0.0);
            let last = ((right - 0.5).floor() + 1.0).clamp(0.0, width as f32);
            if first >= last {
                continue;
            }
            for pixel in &mut self.ids[row * width + first as usize..row * width + last as usize] {
                changed += u32::from(*pixel != id);
                *pixel = id;
            }
        }
        changed
    }

    /// Returns the visible extent of each of `count` actors; `None` for invisible ones.
    pub(super) fn extents(&self, count: usize) -> Vec<Option<Extent>> {
        let mut extents: Vec<Option<Extent>> = vec![None; count];
        let width = self.size.width as usize;
        for (i, id) in self.ids.iter().enumerate().filter(|(_, id)| **id > 0) {
            let (x, y) = ((i % width) as u32, (i / width) as u32);
            let Some(extent) = extents.get_mut(usize::from(*id) - 1) else { continue };
            let extent = extent.get_or_insert(Extent { pixels: 0, x: (x, x), y: (y, y) });
            extent.pixels += 1;
            extent.x = (extent.x.0.min(x), extent.x.1.max(x));
            extent.y.1 = y;
        }
        extents
    }
}
