//! CLEAR MOT (Bernardin and Stiefelhagen 2008, <https://doi.org/10.1155/2008/246309>), with the same matching as
//! py-motmetrics.

use std::collections::{BTreeMap, BTreeSet};

use super::{Overlap, matching::best_pairs};

/// The counts of CLEAR MOT.
#[derive(Debug, Default)]
pub(super) struct ClearMot {
    pub(super) matches: usize,
    pub(super) iou: f64,
    pub(super) switches: usize,
    pub(super) fragmentations: usize,
    /// The track that each object last matched, and whether the object was missed since then, by object id.
    last: BTreeMap<u64, Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    track: u64,
    is_missed: bool,
}

impl ClearMot {
    /// Adds a frame. `overlaps` contains the pairs whose IoU permits a match.
    pub(super) fn frame(&mut self, objects: &[u64], overlaps: &[Overlap]) {
        let pairs = self.pairs(overlaps);
        for (object, track, iou) in &pairs {
            let before = self.last.insert(*object, Last { track: *track, is_missed: false });
            self.switches += usize::from(before.is_some_and(|before| before.track != *track));
            self.fragmentations += usize::from(before.is_some_and(|before| before.is_missed));
            self.matches += 1;
            self.iou += iou;
        }
        let matched: BTreeSet<u64> = pairs.iter().map(|(object, ..)| *object).collect();
        for object in objects.iter().filter(|object| !matched.contains(object)) {
            if let Some(last) = self.last.get_mut(object) {
                last.is_missed = true;
            }
        }
    }

    /// Matches objects with tracks. Pairs of earlier frames are kept while they overlap. For the others, the number of
    /// pairs is maximized, then their IoU.
    fn pairs(&self, overlaps: &[Overlap]) -> Vec<Overlap> {
        let mut taken = [BTreeSet::new(), BTreeSet::new()];
        // Two objects may have matched the same track one after the other. The first of them keeps it.
        let mut pairs: Vec<Overlap> = overlaps
            .iter()
            .filter(|(object, track, _)| {
                self.last.get(object).is_some_and(|last| last.track == *track)
                    && !taken[1].contains(track)
                    && taken[0].insert(*object) | taken[1].insert(*track)
            })
            .copied()
            .collect();
        let rest: Vec<Overlap> = overlaps
            .iter()
            .filter(|(object, track, _)| !taken[0].contains(object) && !taken[1].contains(track))
            .copied()
            .collect();
        // One more pair has a higher weight than any gain in IoU.
        let worth = |iou: f64| (1e9 * (1000.0 + iou)) as i64;
        let weights = rest.iter().map(|(object, track, iou)| ((*object, *track), worth(*iou))).collect();
        let chosen: BTreeSet<(u64, u64)> = best_pairs(&weights).into_iter().collect();
        pairs.extend(rest.iter().filter(|(object, track, _)| chosen.contains(&(*object, *track))));
        pairs
    }
}
