//! HOTA (Luiten et al. 2021, <https://arxiv.org/abs/2009.07736>), with the same results as TrackEval.

use std::collections::BTreeMap;

use super::{Overlap, matching::best_pairs};

/// The IoU thresholds over which HOTA is averaged: 0.05, 0.10, ..., 0.95.
const THRESHOLDS: u32 = 19;

/// Scale of the integer weights of the assignment.
const SCALE: f64 = 1e15;

/// The overlaps of all frames. HOTA matches objects with tracks after the last frame, because the matching
/// prefers pairs that agree over the whole sequence.
#[derive(Debug, Default)]
pub(super) struct Hota {
    frames: Vec<Vec<Overlap>>,
    objects: BTreeMap<u64, u32>,
    tracks: BTreeMap<u64, u32>,
    /// By object and track: the sum of their IoU as a share of all IoU of either, over all frames.
    together: BTreeMap<(u64, u64), f64>,
}

/// HOTA and its two factors, averaged over the thresholds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct HotaScores {
    pub(super) hota: f64,
    pub(super) det_a: f64,
    pub(super) ass_a: f64,
}

impl Hota {
    /// Adds a frame. `overlaps` contains all pairs with an IoU above 0.
    pub(super) fn frame(&mut self, objects: &[u64], tracks: &[u64], overlaps: Vec<Overlap>) {
        let mut sums = [BTreeMap::new(), BTreeMap::new()];
        for (object, track, iou) in &overlaps {
            *sums[0].entry(*object).or_insert(0.0) += iou;
            *sums[1].entry(*track).or_insert(0.0) += iou;
        }
        for (object, track, iou) in &overlaps {
            let share = iou / (sums[0][object] + sums[1][track] - iou);
            *self.together.entry((*object, *track)).or_insert(0.0) += share;
        }
        objects.iter().for_each(|id| *self.objects.entry(*id).or_insert(0) += 1);
        tracks.iter().for_each(|id| *self.tracks.entry(*id).or_insert(0) += 1);
        self.frames.push(overlaps);
    }

    /// Returns the scores; `None` without any object or track.
    pub(super) fn scores(&self) -> Option<HotaScores> {
        let total = |counts: &BTreeMap<u64, u32>| counts.values().map(|count| f64::from(*count)).sum::<f64>();
        let (objects, tracks) = (total(&self.objects), total(&self.tracks));
        if objects + tracks == 0.0 {
            return None;
        }
        let count = |object: u64, track: u64| f64::from(self.objects[&object] + self.tracks[&track]);
        let matches: Vec<Overlap> = self.frames.iter().flat_map(|overlaps| self.matched(overlaps)).collect();
        let mut scores = HotaScores::default();
        for threshold in 1..=THRESHOLDS {
            let min_iou = f64::from(threshold) * 0.05 - f64::EPSILON;
            let mut pairs: BTreeMap<(u64, u64), u32> = BTreeMap::new();
            for (object, track, _) in matches.iter().filter(|(_, _, iou)| *iou >= min_iou) {
                *pairs.entry((*object, *track)).or_insert(0) += 1;
            }
            let true_positives: f64 = pairs.values().map(|count| f64::from(*count)).sum();
            let association = |((object, track), matches): (&(u64, u64), &u32)| {
                let matches = f64::from(*matches);
                matches * matches / (count(*object, *track) - matches)
            };
            let ass_a = pairs.iter().map(association).sum::<f64>() / true_positives.max(1.0);
            let det_a = true_positives / (objects + tracks - true_positives).max(1.0);
            scores.hota += (det_a * ass_a).sqrt() / f64::from(THRESHOLDS);
            scores.det_a += det_a / f64::from(THRESHOLDS);
            scores.ass_a += ass_a / f64::from(THRESHOLDS);
        }
        Some(scores)
    }

    /// Matches the objects of a frame with its tracks.
    fn matched(&self, overlaps: &[Overlap]) -> Vec<Overlap> {
        let alignment = |object: u64, track: u64| {
            let together = self.together[&(object, track)];
            together / (f64::from(self.objects[&object] + self.tracks[&track]) - together)
        };
        let weights = overlaps
            .iter()
            .map(|(object, track, iou)| {
                ((*object, *track), (SCALE * alignment(*object, *track) * iou) as i64)
            })
            .collect();
        let iou_of: BTreeMap<(u64, u64), f64> =
            overlaps.iter().map(|(object, track, iou)| ((*object, *track), *iou)).collect();
        best_pairs(&weights)
            .into_iter()
            .map(|(object, track)| (object, track, iou_of[&(object, track)]))
            .collect()
    }
}
