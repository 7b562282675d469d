//! Detections of one image, and the copy of candidates from the device to the host.

use tch::{Device, Kind, Tensor};

/// The detections of one image, the highest score first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detections {
    /// `x1, y1, x2, y2` in pixels of the network's input, clipped to the image.
    pub boxes: Vec<[f32; 4]>,
    /// 0 to 1.
    pub scores: Vec<f32>,
    pub labels: Vec<u32>,
}

impl Detections {
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }
}

impl Detections {
    /// Converts one row of the output of the GPU postprocessing; see
    /// [`lookout_fused::cuda::LevelReading::apply`].
    pub(crate) fn from_row(row: &[f32]) -> Self {
        let Some((count, boxes)) = row.split_first() else { return Self::default() };
        let (boxes, _) = boxes.as_chunks::<6>();
        let mut found = Self::default();
        for [x1, y1, x2, y2, score, label] in boxes.iter().take(*count as usize) {
            found.boxes.push([*x1, *y1, *x2, *y2]);
            found.scores.push(*score);
            found.labels.push(*label as u32);
        }
        found
    }
}

/// One candidate as copied from the device: its box, its score, and its class or pyramid level.
pub(super) type Row = [f32; 6];

/// Concatenates boxes `[.., 4]`, scores `[..]` and groups `[..]` to `[.., 6]`, so that a single copy moves them
/// from a GPU to the host.
pub(super) fn rows(boxes: &Tensor, scores: &Tensor, groups: &Tensor) -> Tensor {
    let column = |tensor: &Tensor| tensor.to_kind(Kind::Float).unsqueeze(-1);
    Tensor::cat(&[boxes.to_kind(Kind::Float), column(scores), column(groups)], -1)
}

/// Copies the rows of `[.., 6]` to the host, in their order.
pub(super) fn to_host(rows: &Tensor) -> Vec<Row> {
    let rows = rows.to_device(Device::Cpu).contiguous();
    let mut numbers = vec![0.0_f32; rows.numel()];
    rows.copy_data(&mut numbers, rows.numel());
    let (rows, _) = numbers.as_chunks();
    rows.to_vec()
}

/// Copies an Int64 tensor `[N]` to the host.
pub(super) fn indices(tensor: &Tensor) -> Vec<i64> {
    let mut numbers = vec![0_i64; tensor.numel()];
    tensor.to_device(Device::Cpu).contiguous().copy_data(&mut numbers, tensor.numel());
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_the_counted_number_of_boxes() {
        let row = [1.0, 2.0, 3.0, 4.0, 5.0, 0.75, 17.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0];
        let found = Detections::from_row(&row);
        let expected = Detections { boxes: vec![[2.0, 3.0, 4.0, 5.0]], scores: vec![0.75], labels: vec![17] };
        assert_eq!(found, expected);
        assert!(Detections::from_row(&[0.0]).is_empty() && Detections::from_row(&[]).is_empty());
    }
}
