//! Multi-object tracker.
//!
//! Each detection is assigned to a track, to a new object, or to a false positive, whichever is the most
//! likely for all detections of a frame together. The likelihood accounts for how well a track's motion
//! explains the detection, for the probability that the detector misses an object, and for the rate of new
//! objects. A detection beside a missed object is therefore not assigned to it if another track explains the
//! detection better.
//!
//! The rule that detections with a low score may extend a track but never start one is from Zhang et al.,
//! ByteTrack, 2021 (<https://arxiv.org/abs/2110.06864>). Unlike ByteTrack, the motion model works in seconds,
//! not in frames.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

use crate::{
    TrackerSettings,
    arrival_rates::{ArrivalRates, Entry},
    assignment::{Candidate, assign},
    motion::Motion,
    track::{Observation, Track, TrackEnd, TrackId, TrackerOutput},
    truncated_box,
    turn_likelihood::Expected,
};

/// The maximum number of objects that a camera's tracker follows, and of detections per frame that it
/// processes, highest scores first. It bounds memory and time.
pub const MAX_OBJECTS: usize = 512;

/// The maximum absolute coordinate of a box, in pixels. Boxes beyond it are ignored.
const MAX_PX: f32 = 1e6;

/// The probabilities that an object is detected if it was detected in the previous frame, and if it was not.
const SEEN_AGAIN: f64 = 0.9;
const SEEN_ANEW: f64 = 0.4;

/// The bounds of the fraction of an object's box inside the image: at or below `OUT` the object has probably
/// left, at or above `IN` it has not.
const OUT: f64 = 0.4;
const IN: f64 = 0.9;

/// How much less likely a detection with a low score is an object, as a logarithm.
const UNSURE_COSTS: f64 = 2.0;

/// The time without a frame after which all tracks end, whatever the settings are.
const MAX_GAP_S: f64 = 600.0;

/// Upper bound of the log-likelihood ratio of a match.
const MAX_WORTH: f64 = 1000.0;

/// The tracker of one camera's session.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracker {
    settings: TrackerSettings,
    state: TrackerState,
}

/// The state of a [`Tracker`] without its settings. A tracker that is resumed with it continues as if it had
/// not been stopped, with the new settings from then on. A serialization format that changes the last digit
/// of numbers (such as `serde_json` without its feature `float_roundtrip`) gives almost the same tracks only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackerState {
    objects: Vec<Object>,
    /// The id of the last track that was output.
    last_id: u64,
    /// The time of the last frame.
    now_s: Option<f64>,
    arrivals: ArrivalRates,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Object {
    /// `None` until the track is output.
    id: Option<TrackId>,
    class_id: u32,
    motion: Motion,
    score: f32,
    first_s: f64,
    last_s: f64,
    hits: u32,
    /// Where the object appeared; `None` if it may be an object that was lost before.
    entry: Option<Entry>,
}

/// The time and the size of a frame.
#[derive(Debug, Clone, Copy)]
struct Moment {
    source: Size,
    now_s: f64,
    /// The time of the previous frame; `None` for the first frame.
    before_s: Option<f64>,
}

impl Moment {
    /// Returns the seconds since the previous frame.
    fn dt(self) -> f64 {
        self.before_s.map_or(0.0, |before_s| self.now_s - before_s)
    }
}

impl Object {
    /// Returns the end of the track, if the track was output.
    fn end(&self) -> Option<TrackEnd> {
        let Self { class_id, first_s, last_s, hits, .. } = *self;
        Some(TrackEnd { id: self.id?, class_id, first_s, last_s, hits })
    }

    /// Returns whether the object was not detected in the previous frame.
    fn is_hidden(&self, moment: Moment) -> bool {
        moment.before_s.is_some_and(|before_s| self.last_s < before_s)
    }
}

/// Returns whether a box has an area and usable coordinates.
fn is_sound(bbox: BBox) -> bool {
    let near = <[f32; 4]>::from(bbox).iter().all(|part| part.abs() <= MAX_PX);
    near && bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1
}

impl Tracker {
    /// Creates a tracker without tracks.
    pub fn new(settings: TrackerSettings) -> Self {
        Self::resume(settings, TrackerState::default())
    }

    /// Restores a tracker from its saved [`Self::state`].
    pub fn resume(settings: TrackerSettings, state: TrackerState) -> Self {
        Self { settings, state }
    }

    /// Returns the serializable state, for [`Self::resume`].
    pub fn state(&self) -> &TrackerState {
        &self.state
    }

    /// Processes the detections of the frame of size `source` that was captured at `at_s` seconds of the
    /// session.
    ///
    /// A frame that is not later than the previous one, or whose time is not finite, does not advance the
    /// time. A frame that is earlier by more than `max_age_s` belongs to a restarted session, and all
    /// tracks end. Boxes without an area, and boxes and scores that are not finite, are ignored.
    ///
    /// # Examples
    /// ```
    /// use lookout_schema::Size;
    /// use lookout_track::{Observation, Tracker, TrackerSettings};
    ///
    /// let mut tracker = Tracker::new(TrackerSettings::default());
    /// let source = Size { width: 1280, height: 720 };
    /// let person = |x: f32| Observation { bbox: [x, 100.0, x + 50.0, 200.0].into(), class_id: 1, score: 0.9 };
    ///
    /// let first = tracker.step(0.0, source, &[person(100.0)]);
    /// let second = tracker.step(0.1, source, &[person(104.0)]);
    /// assert_eq!(second.tracks[0].id, first.tracks[0].id);
    /// ```
    pub fn step(&mut self, at_s: f64, source: Size, observations: &[Observation]) -> TrackerOutput {
        let mut ended = Vec::new();
        let moment = self.go_on(at_s, source, &mut ended);
        let among = self.looked_at(observations);
        let mut seen_as = self.associate(moment, observations, &among);
        self.start_objects(moment, observations, &among, &mut seen_as);
        self.end(moment, &mut seen_as, &mut ended);
        TrackerOutput { tracks: self.output(moment, observations, &seen_as), ended }
    }

    /// Predicts all objects to the time of a frame, and ends the objects that were undetected for too long.
    fn go_on(&mut self, at_s: f64, source: Size, ended: &mut Vec<TrackEnd>) -> Moment {
        let max_age_s = self.settings.max_age_s;
        let at_s = if at_s.is_finite() { at_s } else { self.state.now_s.unwrap_or(0.0) };
        if self.state.now_s.is_some_and(|before_s| before_s - at_s > max_age_s) {
            ended.extend(self.finish());
            self.state.now_s = None;
        }
        let before_s = self.state.now_s;
        let now_s = before_s.map_or(at_s, |before_s| before_s.max(at_s));
        self.state.now_s = Some(now_s);
        let moment = Moment { source, now_s, before_s };
        let dt = moment.dt();
        self.state.arrivals.pass(dt);
        self.state.objects.retain_mut(|object| {
            let stays = now_s - object.last_s <= max_age_s && dt <= MAX_GAP_S;
            if stays {
                object.motion.predict(dt, object.is_hidden(moment));
            } else {
                ended.extend(object.end());
            }
            stays
        });
        moment
    }

    /// Returns the indices of the observations that can be objects.
    fn looked_at(&self, observations: &[Observation]) -> Vec<usize> {
        let low_score = self.settings.low_score;
        let wanted = |o: &Observation| o.score >= low_score && o.score.is_finite() && is_sound(o.bbox);
        let mut among: Vec<usize> = (0..observations.len()).filter(|i| wanted(&observations[*i])).collect();
        if among.len() > MAX_OBJECTS {
            among.sort_by(|a, b| observations[*b].score.total_cmp(&observations[*a].score));
            among.truncate(MAX_OBJECTS);
        }
        among
    }

    /// Matches observations with objects. Returns the index of the observation for each object.
    fn associate(
        &mut self,
        moment: Moment,
        observations: &[Observation],
        among: &[usize],
    ) -> Vec<Option<usize>> {
        let TrackerState { objects, arrivals, .. } = &self.state;
        let dt = moment.dt();
        let leaves = arrivals.leaves();
        let new = |i: &usize| {
            let Observation { bbox, score, .. } = observations[*i];
            let unsure = if score < self.settings.track_high_thresh { UNSURE_COSTS } else { 0.0 };
            arrivals.ln_density(bbox, moment.source, dt) + unsure
        };
        let new: Vec<f64> = among.iter().map(new).collect();
        let expected = |object: &Object| {
            object.motion.expected(moment.now_s - object.last_s, moment.source, 1.0 - leaves)
        };
        let expected: Vec<Expected> = objects.iter().map(expected).collect();
        let mut candidates = Vec::new();
        for (row, object) in objects.iter().enumerate() {
            let out = 1.0 - ((object.motion.within(moment.source) - OUT) / (IN - OUT)).clamp(0.01, 1.0);
            let seen = if object.is_hidden(moment) { SEEN_ANEW } else { SEEN_AGAIN } * (1.0 - out * leaves);
            let prior = (seen / (1.0 - seen)).ln();
            for (column, i) in among.iter().enumerate() {
                let observation = &observations[*i];
                if observation.class_id != object.class_id {
                    continue;
                }
                let worth = expected[row].ln_likelihood(observation.bbox) + prior - new[column];
                if worth > 0.0 {
                    candidates.push(Candidate { row, column, worth: worth.min(MAX_WORTH) as f32 });
                }
            }
        }
        let mut seen_as = vec![None; objects.len()];
        for (row, column) in assign(objects.len(), among.len(), &candidates) {
            let (object, observation) = (&mut self.state.objects[row], &observations[among[column]]);
            object.motion.update(observation.bbox, &expected[row]);
            object.score = observation.score;
            object.last_s = moment.now_s;
            object.hits = object.hits.saturating_add(1);
            seen_as[row] = Some(among[column]);
        }
        seen_as
    }

    /// Starts objects with the unmatched observations.
    fn start_objects(
        &mut self,
        moment: Moment,
        observations: &[Observation],
        among: &[usize],
        seen_as: &mut Vec<Option<usize>>,
    ) {
        let mut taken = vec![false; observations.len()];
        seen_as.iter().flatten().for_each(|i| taken[*i] = true);
        let before = seen_as.len();
        for i in among.iter().filter(|i| !taken[**i]) {
            let Observation { bbox, class_id, score } = observations[*i];
            if score < self.settings.new_track_thresh || self.state.objects.len() >= MAX_OBJECTS {
                continue;
            }
            let (first_s, last_s) = (moment.now_s, moment.now_s);
            let first_frame = moment.before_s.is_none();
            // An object in the first frame of a session had no earlier frame in which it could have been
            // detected.
            let hits = if first_frame { self.settings.confirm_hits.max(1) } else { 1 };
            let lost = |(object, seen): (&Object, &Option<usize>)| {
                seen.is_none() && object.motion.reaches(bbox, moment.now_s - object.last_s)
            };
            let is_new = !first_frame && !self.state.objects.iter().zip(&seen_as[..before]).any(lost);
            let entry = is_new.then(|| Entry::of(bbox, moment.source));
            let motion = Motion::new(bbox);
            self.state.objects.push(Object {
                id: None,
                class_id,
                motion,
                score,
                first_s,
                last_s,
                hits,
                entry,
            });
            seen_as.push(Some(*i));
        }
    }

    /// Removes the objects that were undetected for too long. An object that was never output is dropped
    /// after the coast time, because a single detection without a second one is probably a false positive.
    fn end(&mut self, moment: Moment, seen_as: &mut Vec<Option<usize>>, ended: &mut Vec<TrackEnd>) {
        let settings = self.settings;
        let stays = |object: &Object| {
            let patience = if object.id.is_some() { settings.max_age_s } else { settings.predict_s };
            moment.now_s - object.last_s <= patience
        };
        let stay: Vec<bool> = self.state.objects.iter().map(stays).collect();
        let mut each = stay.iter();
        seen_as.retain(|_| each.next() == Some(&true));
        let mut each = stay.iter();
        self.state.objects.retain(|object| {
            let stays = each.next() == Some(&true);
            if !stays {
                ended.extend(object.end());
            }
            stays
        });
    }

    /// Returns the tracks to output for this frame.
    fn output(
        &mut self,
        moment: Moment,
        observations: &[Observation],
        seen_as: &[Option<usize>],
    ) -> Vec<Track> {
        let TrackerState { objects, last_id, arrivals, .. } = &mut self.state;
        let settings = self.settings;
        let mut tracks = Vec::with_capacity(objects.len());
        for (object, seen) in objects.iter_mut().zip(seen_as) {
            let is_new = object.id.is_none();
            let is_predicted = !is_new
                && moment.now_s - object.last_s <= settings.predict_s
                && object.motion.within(moment.source) >= OUT;
            let is_seen = seen.is_some() && (!is_new || object.hits >= settings.confirm_hits);
            if !is_seen && !is_predicted {
                continue;
            }
            *last_id += u64::from(is_new);
            let id = *object.id.get_or_insert(TrackId(*last_id));
            if let (true, Some(entry)) = (is_new, object.entry) {
                arrivals.count(entry);
            }
            let seen_box = seen.map(|i| observations[i].bbox);
            tracks.push(Track {
                id,
                class_id: object.class_id,
                bbox: truncated_box::output_box(object.motion.bbox(), seen_box, moment.source),
                velocity: object.motion.velocity(),
                score: object.score,
                seen: *seen,
                first_s: object.first_s,
                last_s: object.last_s,
                hits: object.hits,
                is_new,
            });
        }
        tracks.sort_unstable_by_key(|track| track.id);
        tracks
    }

    /// Ends all tracks, at the end of the session.
    pub fn finish(&mut self) -> Vec<TrackEnd> {
        self.state.objects.drain(..).filter_map(|object| object.end()).collect()
    }
}
