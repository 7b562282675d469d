//! Anchors: the boxes that a detector's regression outputs are relative to (Ren, He, Girshick and Sun, Faster
//! R-CNN, 2015, section 3.1.1).

use std::{cell::Cell, fmt};

use tch::{Device, Tensor};

/// Height and width, in pixels or in locations of a feature map.
pub(super) type Extent = [i64; 2];

/// Generates the anchors of all pyramid levels.
pub(super) struct Anchors {
    /// For each level, the anchors `[x1, y1, x2, y2]` of one location, relative to its center.
    cells: Vec<Vec<[f32; 4]>>,
    /// The last grid. All frames of a camera have the same size, so the next batch usually needs the same grid.
    last: Cell<Option<Grid>>,
}

struct Grid {
    image_size: Extent,
    maps: Vec<Extent>,
    device: Device,
    levels: Vec<Tensor>,
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchors").field("cells", &self.cells).finish_non_exhaustive()
    }
}

impl Clone for Anchors {
    fn clone(&self) -> Self {
        Self { cells: self.cells.clone(), last: Cell::new(None) }
    }
}

impl Anchors {
    /// Creates one anchor per location for each of a level's `scales` (a side in pixels) and each of `ratios`
    /// (height to width).
    pub(super) fn new<'a>(scales: impl IntoIterator<Item = &'a [f32]>, ratios: &[f32]) -> Self {
        let cells = scales.into_iter().map(|scales| cell(scales, ratios)).collect();
        Self { cells, last: Cell::new(None) }
    }

    /// Returns the number of anchors per location.
    pub(super) fn per_place(&self) -> i64 {
        self.cells.first().map_or(0, |cell| cell.len() as i64)
    }

    /// Returns the anchors of each level, `[H*W*A, 4]` in fp32, in the order of [`super::tower::flattened`].
    ///
    /// Locations are `image_size / map` pixels apart, rounded down as in torchvision. If a side of the image is
    /// not a multiple of the level's stride, this is less than the stride.
    pub(super) fn grid(&self, image_size: Extent, maps: &[Extent], device: Device) -> Vec<Tensor> {
        let is_same =
            |grid: &Grid| (grid.image_size, grid.device, grid.maps.as_slice()) == (image_size, device, maps);
        let grid = self.last.take().filter(is_same).unwrap_or_else(|| {
            let levels = self.cells.iter().zip(maps);
            let levels = levels.map(|(cell, map)| level(cell, image_size, *map).to_device(device)).collect();
            Grid { image_size, maps: maps.to_vec(), device, levels }
        });
        let levels = grid.levels.iter().map(Tensor::shallow_clone).collect();
        self.last.set(Some(grid));
        levels
    }
}

/// Returns the anchors of one location, as torchvision's `generate_anchors` does: ordered by ratio, then by
/// scale.
fn cell(scales: &[f32], ratios: &[f32]) -> Vec<[f32; 4]> {
    let one = |(ratio, scale): (f32, f32)| {
        let height = ratio.sqrt();
        let width = 1.0 / height;
        let [w, h] = [width, height].map(|side| side * scale);
        [-w, -h, w, h].map(|corner| (corner / 2.0).round_ties_even())
    };
    ratios.iter().flat_map(|ratio| scales.iter().map(move |scale| (*ratio, *scale))).map(one).collect()
}

fn level(cell: &[[f32; 4]], image_size: Extent, [height, width]: Extent) -> Tensor {
    let [dy, dx] = [image_size[0] / height.max(1), image_size[1] / width.max(1)];
    let mut boxes = Vec::with_capacity((height * width) as usize * cell.len() * 4);
    for y in 0..height {
        for x in 0..width {
            let [x, y] = [(x * dx) as f32, (y * dy) as f32];
            boxes.extend(cell.iter().flat_map(|[x1, y1, x2, y2]| [x + x1, y + y1, x + x2, y + y2]));
        }
    }
    Tensor::from_slice(&boxes).view([-1, 4]) // [H*W*A, 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_anchors_match_torchvision() {
        // AnchorGenerator.generate_anchors([32, 40, 50], [0.5, 1.0, 2.0]) of torchvision 0.26.
        let cell = cell(&[32.0, 40.0, 50.0], &[0.5, 1.0, 2.0]);
        assert_eq!(cell[0], [-23.0, -11.0, 23.0, 11.0]);
        assert_eq!(cell[1], [-28.0, -14.0, 28.0, 14.0]);
        assert_eq!(cell[4], [-20.0, -20.0, 20.0, 20.0]);
        assert_eq!(cell[8], [-18.0, -35.0, 18.0, 35.0]);
    }

    #[test]
    fn anchor_stride_is_image_size_over_grid_size() {
        let anchors = Anchors::new([[8.0].as_slice()], &[1.0]);
        let grid = anchors.grid([333, 500], &[[42, 63]], Device::Cpu);
        assert_eq!(grid[0].size(), [42 * 63, 4]);
        // 500 / 63 and 333 / 42, rounded down.
        let second: Vec<f32> = Vec::try_from(grid[0].get(64)).unwrap();
        assert_eq!(second, [3.0, 3.0, 11.0, 11.0]);
    }
}
