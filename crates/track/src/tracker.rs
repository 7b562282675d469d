//! Objects followed from frame to frame.
//!
//! Each detection is the object, or is new, or is nothing, as is the most likely for all of a frame together: how
//! well an object's motion explains it, how likely the detector is to miss what was there just now, and how often
//! new objects come. So a detection beside a missed object is not taken for it where its own object explains it
//! better. That unsure detections may go on with a track and never begin one is from Zhang et al., ByteTrack, 2021
//! (<https://arxiv.org/abs/2110.06864>). Unlike there, an object's motion is a matter of seconds, not of frames.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

use crate::{
    TrackerSettings,
    arrivals::{Arrivals, Entry},
    assignment::{Candidate, assign},
    border,
    expected::Expected,
    motion::Motion,
};

/// A track's number, from 1; no two tracks of a session have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u64);

/// One detection, as the tracker needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    pub bbox: BBox,
    /// Only detections of a class are one object.
    pub class_id: u32,
    /// 0 to 1.
    pub score: f32,
}

/// An object that is followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    pub id: TrackId,
    pub class_id: u32,
    /// Where it was seen, or, where `seen` is not of this frame, where it is expected.
    pub bbox: BBox,
    /// Of the box's center, in pixels a second.
    pub velocity: [f32; 2],
    /// Of the detection that it was last matched with.
    pub score: f32,
    /// Which of the frame's observations it is; none where it is expected only.
    pub seen: Option<usize>,
    /// When it was first and last seen, in seconds of the session.
    pub first_s: f64,
    pub last_s: f64,
    /// How often it was seen.
    pub hits: u32,
    /// Whether it is told for the first time.
    pub is_new: bool,
}

/// A track that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackEnd {
    pub id: TrackId,
    pub class_id: u32,
    pub first_s: f64,
    pub last_s: f64,
    pub hits: u32,
}

/// What a frame says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// By id.
    pub tracks: Vec<Track>,
    /// What was told before and will not be again.
    pub ended: Vec<TrackEnd>,
}

/// A camera's tracker follows no more objects than this, and looks at no more detections of a frame, the surest
/// first: what has more is no picture of anything, and memory and time stay bounded.
pub const MOST_OBJECTS: usize = 512;

/// Boxes with a corner further out than this, in pixels, are passed over.
const FARTHEST_PX: f32 = 1e6;

/// How likely it is that an object is seen that was seen just now, and one that was not.
const SEEN_AGAIN: f64 = 0.9;
const SEEN_ANEW: f64 = 0.4;

/// An object of which less than this part is expected in the picture has rather left it.
const OUT: f64 = 0.4;
const IN: f64 = 0.9;

/// What an unsure detection is less likely to be an object, as a logarithm.
const UNSURE_COSTS: f64 = 2.0;

/// After so long without a frame nothing is known any more, whatever the settings say.
const LONGEST_GAP_S: f64 = 600.0;

/// Whatever is more likely than this is certain.
const MOST_WORTH: f64 = 1000.0;

/// The objects of a camera's session.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracker {
    settings: TrackerSettings,
    state: TrackerState,
}

/// What a [`Tracker`] knows, without its settings, to be saved and loaded: with what is loaded a tracker goes on
/// as if it had not been stopped, and with new settings from then on. A format that changes numbers in their last
/// digit (as `serde_json` does without its feature `float_roundtrip`) gives almost the same tracks only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackerState {
    objects: Vec<Object>,
    told: u64,
    /// Of the last frame.
    now_s: Option<f64>,
    arrivals: Arrivals,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Object {
    /// None until it is told.
    id: Option<TrackId>,
    class_id: u32,
    motion: Motion,
    score: f32,
    first_s: f64,
    last_s: f64,
    hits: u32,
    /// Where it came in, if it cannot be an object that was lost.
    entry: Option<Entry>,
}

/// A frame's place in time and its picture.
#[derive(Debug, Clone, Copy)]
struct Moment {
    source: Size,
    now_s: f64,
    /// When the frame before was; none of the first.
    before_s: Option<f64>,
}

impl Moment {
    /// Seconds since the frame before.
    fn dt(self) -> f64 {
        self.before_s.map_or(0.0, |before_s| self.now_s - before_s)
    }
}

impl Object {
    /// What is told of its end, if it was told of at all.
    fn end(&self) -> Option<TrackEnd> {
        let Self { class_id, first_s, last_s, hits, .. } = *self;
        Some(TrackEnd { id: self.id?, class_id, first_s, last_s, hits })
    }

    /// Whether it was not seen in the frame before.
    fn is_hidden(&self, moment: Moment) -> bool {
        moment.before_s.is_some_and(|before_s| self.last_s < before_s)
    }
}

/// Boxes that have an area, and numbers that can be reckoned with.
fn is_sound(bbox: BBox) -> bool {
    let near = <[f32; 4]>::from(bbox).iter().all(|part| part.abs() <= FARTHEST_PX);
    near && bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1
}

impl Tracker {
    pub fn new(settings: TrackerSettings) -> Self {
        Self::resume(settings, TrackerState::default())
    }

    /// Goes on where a tracker was when its [`Self::state`] was saved.
    pub fn resume(settings: TrackerSettings, state: TrackerState) -> Self {
        Self { settings, state }
    }

    pub fn state(&self) -> &TrackerState {
        &self.state
    }

    /// Takes the detections of the frame of `source` that was captured at `at_s` seconds of the session.
    ///
    /// A frame that is not later than the one before, or whose time is no number, moves nothing; one that is
    /// earlier by more than an object may be hidden is of a session that has begun again, and all tracks end.
    /// Boxes without area, and boxes and scores that are no numbers, are passed over.
    pub fn step(&mut self, at_s: f64, source: Size, observations: &[Observation]) -> Step {
        let mut ended = Vec::new();
        let moment = self.go_on(at_s, source, &mut ended);
        let among = self.looked_at(observations);
        let mut seen_as = self.associate(moment, observations, &among);
        self.begin(moment, observations, &among, &mut seen_as);
        self.end(moment, &mut seen_as, &mut ended);
        Step { tracks: self.tell(moment, observations, &seen_as), ended }
    }

    /// Brings all objects to the time of a frame.
    fn go_on(&mut self, at_s: f64, source: Size, ended: &mut Vec<TrackEnd>) -> Moment {
        let max_hidden_s = self.settings.max_hidden_s;
        let at_s = if at_s.is_finite() { at_s } else { self.state.now_s.unwrap_or(0.0) };
        if self.state.now_s.is_some_and(|before_s| before_s - at_s > max_hidden_s) {
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
            let stays = now_s - object.last_s <= max_hidden_s && dt <= LONGEST_GAP_S;
            if stays {
                object.motion.predict(dt, object.is_hidden(moment));
            } else {
                ended.extend(object.end());
            }
            stays
        });
        moment
    }

    /// The numbers of the observations that can be objects.
    fn looked_at(&self, observations: &[Observation]) -> Vec<usize> {
        let low_score = self.settings.low_score;
        let wanted = |o: &Observation| o.score >= low_score && o.score.is_finite() && is_sound(o.bbox);
        let mut among: Vec<usize> = (0..observations.len()).filter(|i| wanted(&observations[*i])).collect();
        if among.len() > MOST_OBJECTS {
            among.sort_by(|a, b| observations[*b].score.total_cmp(&observations[*a].score));
            among.truncate(MOST_OBJECTS);
        }
        among
    }

    /// Matches observations with objects: for each object the number of its observation.
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
            let unsure = if score < self.settings.high_score { UNSURE_COSTS } else { 0.0 };
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
                    candidates.push(Candidate { row, column, worth: worth.min(MOST_WORTH) as f32 });
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

    /// Begins objects with the observations that are left.
    fn begin(
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
            if score < self.settings.new_score || self.state.objects.len() >= MOST_OBJECTS {
                continue;
            }
            let (first_s, last_s) = (moment.now_s, moment.now_s);
            let first_frame = moment.before_s.is_none();
            // What is there as the session begins has no frame before in which it could have been seen.
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

    /// Lets go of what was out of sight for too long. What was seen once only, and not again soon, was nothing.
    fn end(&mut self, moment: Moment, seen_as: &mut Vec<Option<usize>>, ended: &mut Vec<TrackEnd>) {
        let settings = self.settings;
        let stays = |object: &Object| {
            let patience = if object.id.is_some() { settings.max_hidden_s } else { settings.predict_s };
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

    fn tell(
        &mut self,
        moment: Moment,
        observations: &[Observation],
        seen_as: &[Option<usize>],
    ) -> Vec<Track> {
        let TrackerState { objects, told, arrivals, .. } = &mut self.state;
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
            *told += u64::from(is_new);
            let id = *object.id.get_or_insert(TrackId(*told));
            if let (true, Some(entry)) = (is_new, object.entry) {
                arrivals.count(entry);
            }
            let seen_box = seen.map(|i| observations[i].bbox);
            tracks.push(Track {
                id,
                class_id: object.class_id,
                bbox: border::told(object.motion.bbox(), seen_box, moment.source),
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

    /// Ends all tracks: the session is over.
    pub fn finish(&mut self) -> Vec<TrackEnd> {
        self.state.objects.drain(..).filter_map(|object| object.end()).collect()
    }
}
