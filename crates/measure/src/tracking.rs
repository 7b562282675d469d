//! Tracking metrics: CLEAR MOT (Bernardin and Stiefelhagen 2008, <https://doi.org/10.1155/2008/246309>) and IDF1
//! (Ristani et al. 2016, <https://arxiv.org/abs/1609.01775>), with the same results as py-motmetrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use lookout_schema::BBox;
use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};
use serde::Serialize;

/// Minimum IoU at which an object and a track can match.
const MIN_IOU: f64 = 0.5;

/// An object or a track in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    /// Identifies the object or track in all frames. Ids must not be reused.
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
    matches: usize,
    iou: f64,
    switches: usize,
    /// The track that each object last matched, by object id.
    last: BTreeMap<u64, u64>,
    /// Number of frames in which an object and a track could match, by their ids.
    together: BTreeMap<(u64, u64), u32>,
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
    /// Multiple object tracking accuracy: 1 minus the sum of misses, false positives and switches, divided by the
    /// number of objects. At most 1, and negative if there are more errors than objects.
    pub mota: Option<f64>,
    /// Mean IoU of the matches, 0.5 to 1.
    pub iou: Option<f64>,
    /// IDF1, 0 to 1: the fraction of object and track boxes that agree under the best one-to-one assignment of tracks
    /// to objects over all frames.
    pub idf1: Option<f64>,
}

impl TrackingEvaluation {
    /// Adds a frame with its ground truth and its tracks.
    pub fn frame(&mut self, truth: &[Tracked], found: &[Tracked]) {
        self.frames += 1;
        self.objects += truth.len();
        self.tracks += found.len();
        let mut overlaps: Vec<(usize, usize, f64)> = Vec::new();
        for (row, object) in truth.iter().enumerate() {
            for (column, track) in found.iter().enumerate() {
                let iou = object.bbox.iou(track.bbox);
                if iou >= MIN_IOU {
                    overlaps.push((row, column, iou));
                    *self.together.entry((object.id, track.id)).or_insert(0) += 1;
                }
            }
        }
        for (row, column, iou) in self.pairs(truth, found, &overlaps) {
            let (object, track) = (truth[row].id, found[column].id);
            let before = self.last.insert(object, track);
            self.switches += usize::from(before.is_some_and(|before| before != track));
            self.matches += 1;
            self.iou += iou;
        }
    }

    /// Matches objects with tracks. Pairs of earlier frames are kept while they overlap. For the others, the number of
    /// pairs is maximized, then their IoU.
    fn pairs(
        &self,
        truth: &[Tracked],
        found: &[Tracked],
        overlaps: &[(usize, usize, f64)],
    ) -> Vec<(usize, usize, f64)> {
        let stays = |(row, column, _): &(usize, usize, f64)| {
            self.last.get(&truth[*row].id) == Some(&found[*column].id)
        };
        let mut taken = [BTreeSet::new(), BTreeSet::new()];
        // Two objects may have matched the same track one after the other. The first of them keeps it.
        let mut pairs: Vec<(usize, usize, f64)> = overlaps
            .iter()
            .filter(|pair| {
                stays(pair)
                    && !taken[1].contains(&pair.1)
                    && taken[0].insert(pair.0) | taken[1].insert(pair.1)
            })
            .copied()
            .collect();
        let rest: Vec<_> = overlaps
            .iter()
            .filter(|(row, column, _)| !taken[0].contains(row) && !taken[1].contains(column))
            .copied()
            .collect();
        // One more pair has a higher weight than any gain in IoU.
        let worth = |iou: f64| (1e6 * (1000.0 + iou)) as i64;
        let weights =
            rest.iter().map(|(row, column, iou)| ((*row as u64, *column as u64), worth(*iou))).collect();
        let chosen = best_pairs(&weights);
        pairs.extend(rest.iter().filter(|(row, column, _)| chosen.contains(&(*row as u64, *column as u64))));
        pairs
    }

    pub fn summary(&self) -> TrackingSummary {
        let Self { frames, objects, tracks, matches, switches, .. } = *self;
        let part = |some: f64, all: usize| (all > 0).then(|| some / all as f64);
        let weights = self.together.iter().map(|(pair, frames)| (*pair, i64::from(*frames))).collect();
        let same: u32 = best_pairs(&weights).iter().filter_map(|pair| self.together.get(pair)).sum();
        let wrong = (objects - matches) + (tracks - matches) + switches;
        TrackingSummary {
            frames,
            objects,
            tracks,
            misses: objects - matches,
            false_positives: tracks - matches,
            switches,
            mota: part(objects as f64 - wrong as f64, objects),
            iou: part(self.iou, matches),
            idf1: part(2.0 * f64::from(same), objects + tracks),
        }
    }
}

/// Returns the one-to-one assignment with the highest total weight (Kuhn 1955).
fn best_pairs(weights: &BTreeMap<(u64, u64), i64>) -> BTreeSet<(u64, u64)> {
    let side =
        |of: fn(&(u64, u64)) -> u64| weights.keys().map(of).collect::<BTreeSet<_>>().into_iter().collect();
    let (firsts, seconds): (Vec<u64>, Vec<u64>) = (side(|pair| pair.0), side(|pair| pair.1));
    if weights.is_empty() {
        return BTreeSet::new();
    }
    // The algorithm needs at least as many columns as rows.
    let turned = firsts.len() > seconds.len();
    let (rows, columns) = if turned { (&seconds, &firsts) } else { (&firsts, &seconds) };
    let pair = |row: u64, column: u64| if turned { (column, row) } else { (row, column) };
    let worth = |row: &u64, column: &u64| weights.get(&pair(*row, *column)).copied().unwrap_or(0);
    let numbers = rows.iter().flat_map(|row| columns.iter().map(move |column| worth(row, column))).collect();
    let Ok(matrix) = Matrix::from_vec(rows.len(), columns.len(), numbers) else { return BTreeSet::new() };
    let (_, chosen) = kuhn_munkres(&matrix);
    let chosen = chosen.into_iter().enumerate().map(|(row, column)| pair(rows[row], columns[column]));
    chosen.filter(|pair| weights.contains_key(pair)).collect()
}

impl fmt::Display for TrackingSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.3}"));
        write!(
            f,
            "MOTA {}, IDF1 {}, mean IoU {}; {} objects in {} frames: {} misses, {} false positives, {} switches",
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
