//! Tracking metrics: CLEAR MOT with the same results as py-motmetrics, IDF1 (Ristani et al. 2016,
//! <https://arxiv.org/abs/1609.01775>), and HOTA with the same results as TrackEval.

mod clear_mot;
mod hota;
mod matching;

use std::{collections::BTreeMap, fmt};

use lookout_schema::BBox;
use serde::Serialize;

use self::{clear_mot::ClearMot, hota::Hota, matching::best_pairs};

/// Minimum IoU at which an object and a track can match.
const MIN_IOU: f64 = 0.5;

/// The id of an object, the id of a track, and the IoU of their boxes.
type Overlap = (u64, u64, f64);

/// An object or a track in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    /// Identifies the object or track in all frames. Ids must not be reused, and are unique within a frame.
    pub id: u64,
    /// Bounding box in pixels.
    pub bbox: BBox,
}

/// Evaluates a tracker frame by frame, in order. Frames of several cameras may be interleaved if their ids differ.
#[derive(Debug, Default)]
pub struct TrackingEvaluation {
    frames: usize,
    objects: usize,
    tracks: usize,
    clear: ClearMot,
    hota: Hota,
    /// Number of frames in which an object and a track could match, by their ids.
    together: BTreeMap<(u64, u64), i64>,
}

/// The metrics of a tracker. Ratios are `None` where their denominator is zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrackingSummary {
    pub frames: usize,
    /// Number of ground-truth boxes in all frames.
    pub objects: usize,
    /// Number of track boxes in all frames.
    pub tracks: usize,
    pub misses: usize,
    pub false_positives: usize,
    /// Number of identity switches: an object matches another track than before.
    pub switches: usize,
    /// Number of times that an object was matched, then missed, then matched again.
    pub fragmentations: usize,
    /// Multiple object tracking accuracy: 1 minus the sum of misses, false positives and switches, divided by the
    /// number of objects. At most 1, and negative if there are more errors than objects.
    pub mota: Option<f64>,
    /// Mean IoU of the matches, 0.5 to 1.
    pub iou: Option<f64>,
    /// IDF1, 0 to 1: the fraction of object and track boxes that agree under the best one-to-one assignment of tracks
    /// to objects over all frames.
    pub idf1: Option<f64>,
    /// HOTA, 0 to 1: the geometric mean of detection and association accuracy, averaged over IoU thresholds.
    pub hota: Option<f64>,
    /// Detection accuracy, 0 to 1.
    pub det_a: Option<f64>,
    /// Association accuracy, 0 to 1.
    pub ass_a: Option<f64>,
}

impl TrackingEvaluation {
    /// Adds a frame with its ground truth and its tracks.
    pub fn frame(&mut self, truth: &[Tracked], found: &[Tracked]) {
        self.frames += 1;
        self.objects += truth.len();
        self.tracks += found.len();
        let overlap = |object: &Tracked, track: &Tracked| (object.id, track.id, object.bbox.iou(track.bbox));
        let overlaps: Vec<Overlap> = truth
            .iter()
            .flat_map(|object| found.iter().map(move |track| overlap(object, track)))
            .filter(|(_, _, iou)| *iou > 0.0)
            .collect();
        let close: Vec<Overlap> = overlaps.iter().filter(|(_, _, iou)| *iou >= MIN_IOU).copied().collect();
        close.iter().for_each(|(object, track, _)| *self.together.entry((*object, *track)).or_insert(0) += 1);
        let ids = |of: &[Tracked]| of.iter().map(|one| one.id).collect::<Vec<u64>>();
        let (objects, tracks) = (ids(truth), ids(found));
        self.clear.frame(&objects, &close);
        self.hota.frame(&objects, &tracks, overlaps);
    }

    pub fn summary(&self) -> TrackingSummary {
        let Self { frames, objects, tracks, .. } = *self;
        let ClearMot { matches, iou, switches, fragmentations, .. } = self.clear;
        let part = |some: f64, all: usize| (all > 0).then(|| some / all as f64);
        let same: i64 = best_pairs(&self.together).iter().map(|pair| self.together[pair]).sum();
        let wrong = (objects - matches) + (tracks - matches) + switches;
        let scores = self.hota.scores();
        TrackingSummary {
            frames,
            objects,
            tracks,
            misses: objects - matches,
            false_positives: tracks - matches,
            switches,
            fragmentations,
            mota: part(objects as f64 - wrong as f64, objects),
            iou: part(iou, matches),
            idf1: part(2.0 * same as f64, objects + tracks),
            hota: scores.map(|scores| scores.hota),
            det_a: scores.map(|scores| scores.det_a),
            ass_a: scores.map(|scores| scores.ass_a),
        }
    }
}

/// Returns the pairs of an object and a track with at least `min_iou` that have the highest total IoU.
pub(crate) fn best_matches(truth: &[Tracked], found: &[Tracked], min_iou: f64) -> Vec<(u64, u64)> {
    const SCALE: f64 = 1e12;
    let mut weights = BTreeMap::new();
    for (object, track) in truth.iter().flat_map(|object| found.iter().map(move |track| (object, track))) {
        let iou = object.bbox.iou(track.bbox);
        if iou >= min_iou {
            weights.insert((object.id, track.id), (iou * SCALE) as i64);
        }
    }
    best_pairs(&weights)
}

impl fmt::Display for TrackingSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.3}"));
        write!(
            f,
            "HOTA {}, MOTA {}, IDF1 {}, mean IoU {}; {} objects in {} frames: {} misses, {} false positives, {} switches",
            number(self.hota),
            number(self.mota),
            number(self.idf1),
            number(self.iou),
            self.objects,
            self.frames,
            self.misses,
            self.false_positives,
            self.switches
        )
    }
}
