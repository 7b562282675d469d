//! Parses the output of a module.

use tch::{Device, IValue, Kind, Tensor};

use crate::detection::Detections;

/// The boxes that a module returns for one image, unfiltered: in any order and with any values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScriptBoxes {
    /// `x1, y1, x2, y2` in pixels of the module's input.
    pub boxes: Vec<[f32; 4]>,
    pub scores: Vec<f32>,
    pub labels: Vec<i64>,
}

impl ScriptBoxes {
    /// Returns at most `most` boxes that score above `threshold`, the highest score first; ties keep their
    /// order. Boxes with NaN or infinite numbers, or with labels that cannot be class numbers, are left out.
    pub(crate) fn best(&self, threshold: f32, most: usize) -> Detections {
        let one = |((corners, score), label): ((&[f32; 4], &f32), &i64)| {
            let finite = score.is_finite() && corners.iter().all(|corner| corner.is_finite());
            let label = u32::try_from(*label).ok().filter(|_| finite && *score > threshold)?;
            Some((*corners, *score, label))
        };
        let mut found: Vec<_> =
            self.boxes.iter().zip(&self.scores).zip(&self.labels).filter_map(one).collect();
        found.sort_by(|(_, a, _), (_, b, _)| b.total_cmp(a));
        let mut best = Detections::default();
        for (corners, score, label) in found.into_iter().take(most) {
            best.boxes.push(corners);
            best.scores.push(score);
            best.labels.push(label);
        }
        best
    }
}

/// Returns logits `[N, K]` in fp32 on the CPU, with N = `images`, or `None` if the output has another form.
pub(super) fn logits(output: &IValue, images: i64) -> Option<Tensor> {
    let logits = tensor(output)?;
    let fits = matches!(logits.size()[..], [n, k] if n == images && k > 0) && is_float(logits);
    fits.then(|| logits.to_device(Device::Cpu).to_kind(Kind::Float))
}

/// Returns the boxes of each of the `images` images. The output is a list with one dict or tuple per image,
/// or one tuple for the whole batch. Returns `None` if it has another form.
pub(super) fn boxes(output: &IValue, images: i64) -> Option<Vec<ScriptBoxes>> {
    match output {
        IValue::GenericList(each) => {
            let each: Vec<ScriptBoxes> = each.iter().map(image).collect::<Option<_>>()?;
            (i64::try_from(each.len()) == Ok(images)).then_some(each)
        }
        IValue::Tuple(parts) => batch(three(parts)?, images),
        _ => None,
    }
}

/// Parses the boxes of one image: a dict of `boxes` `[M, 4]`, `scores` `[M]` and `labels` `[M]`, which may have
/// other keys, or a tuple of the three.
fn image(output: &IValue) -> Option<ScriptBoxes> {
    match output {
        IValue::Tuple(parts) => one(three(parts)?),
        IValue::GenericDict(items) => {
            let part = |wanted: &str| {
                let of =
                    |(name, _): &&(IValue, IValue)| matches!(name, IValue::String(name) if name == wanted);
                items.iter().find(of).and_then(|(_, value)| tensor(value))
            };
            one([part("boxes")?, part("scores")?, part("labels")?])
        }
        _ => None,
    }
}

/// Parses boxes `[N, M, 4]`, scores `[N, M]` and labels `[N, M]` of a batch.
fn batch(parts: [&Tensor; 3], images: i64) -> Option<Vec<ScriptBoxes>> {
    let sizes = parts.map(Tensor::size);
    let [n, m, 4] = sizes[0][..] else { return None };
    if n != images || sizes[1] != [n, m] || sizes[2] != [n, m] {
        return None;
    }
    let all = one([&parts[0].flatten(0, 1), &parts[1].flatten(0, 1), &parts[2].flatten(0, 1)])?;
    let m = usize::try_from(m).ok()?;
    let of = |n: usize| ScriptBoxes {
        boxes: all.boxes[n * m..][..m].to_vec(),
        scores: all.scores[n * m..][..m].to_vec(),
        labels: all.labels[n * m..][..m].to_vec(),
    };
    Some((0..usize::try_from(n).ok()?).map(of).collect())
}

/// Parses boxes `[M, 4]`, scores `[M]` and labels `[M]` of one image.
fn one([boxes, scores, labels]: [&Tensor; 3]) -> Option<ScriptBoxes> {
    let [m, 4] = boxes.size()[..] else { return None };
    let fits = scores.size() == [m]
        && labels.size() == [m]
        && is_float(boxes)
        && is_float(scores)
        && labels.kind() == Kind::Int64;
    if !fits {
        return None;
    }
    let corners = floats(boxes);
    Some(ScriptBoxes { boxes: corners.as_chunks().0.to_vec(), scores: floats(scores), labels: whole(labels) })
}

fn three(parts: &[IValue]) -> Option<[&Tensor; 3]> {
    let [boxes, scores, labels] = parts else { return None };
    Some([tensor(boxes)?, tensor(scores)?, tensor(labels)?])
}

fn tensor(output: &IValue) -> Option<&Tensor> {
    if let IValue::Tensor(tensor) = output { Some(tensor) } else { None }
}

fn is_float(tensor: &Tensor) -> bool {
    matches!(tensor.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let mut numbers = vec![0.0; tensor.numel()];
    tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().copy_data(&mut numbers, tensor.numel());
    numbers
}

fn whole(tensor: &Tensor) -> Vec<i64> {
    let mut numbers = vec![0; tensor.numel()];
    tensor.to_device(Device::Cpu).contiguous().copy_data(&mut numbers, tensor.numel());
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_sorted_by_score_without_non_finite_values() {
        let found = ScriptBoxes {
            boxes: [[0.0; 4]; 5].into_iter().chain([[f32::NAN; 4]]).collect(),
            scores: vec![0.6, 0.9, 0.5, f32::NAN, f32::INFINITY, 0.8],
            labels: vec![1, 2, 3, 4, 5, 6],
        };
        assert_eq!(found.best(0.5, 10).labels, [2, 1]);
        assert_eq!(found.best(0.5, 1).labels, [2]);
        let negative = ScriptBoxes { labels: vec![-1; 6], ..found };
        assert!(negative.best(0.0, 10).is_empty());
    }

    #[test]
    fn outputs_of_other_shapes_are_rejected() {
        let zeros = |size: &[i64]| IValue::Tensor(Tensor::zeros(size, (Kind::Float, Device::Cpu)));
        let labels = |size: &[i64]| IValue::Tensor(Tensor::zeros(size, (Kind::Int64, Device::Cpu)));
        let read = |output: IValue| boxes(&output, 2);
        let tuple = |b: &[i64], s: &[i64], l: &[i64]| IValue::Tuple(vec![zeros(b), zeros(s), labels(l)]);
        assert!(read(tuple(&[2, 5, 4], &[2, 5], &[2, 5])).is_some());
        assert!(read(tuple(&[2, 0, 4], &[2, 0], &[2, 0])).is_some());
        assert!(read(tuple(&[2, 5, 4], &[2, 5], &[2, 4])).is_none());
        assert!(read(tuple(&[3, 5, 4], &[3, 5], &[3, 5])).is_none());
        assert!(read(tuple(&[2, 5, 5], &[2, 5], &[2, 5])).is_none());
        assert!(read(IValue::Tuple(vec![zeros(&[2, 5, 4]), zeros(&[2, 5])])).is_none());
        let one = || tuple(&[5, 4], &[5], &[5]);
        assert!(read(IValue::GenericList(vec![one(), one()])).is_some());
        assert!(read(IValue::GenericList(vec![one()])).is_none());
        assert!(read(one()).is_none());
        assert!(read(IValue::None).is_none());
        let logits = |size: &[i64]| logits(&zeros(size), 2);
        assert!(logits(&[2, 7]).is_some());
        assert!(logits(&[2, 0]).is_none() && logits(&[2, 7, 1]).is_none() && logits(&[1, 7]).is_none());
    }
}
