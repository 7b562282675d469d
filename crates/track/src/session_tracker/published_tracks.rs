//! The track records published for a session's objects.

use std::collections::BTreeMap;

use lookout_schema::{FrameRecord, LineCrossing, TrackEvent, TrackRecord, ZoneStay};
use serde::{Deserialize, Serialize};

use super::places::{Met, Places};
use crate::{Crossing, Track, TrackEnd, TrackId, TrackerOutput};

/// Interval of the update records of a track without other events.
const UPDATE_INTERVAL_S: f64 = 1.0;

/// The tracks that were published and have not ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PublishedTracks {
    objects: BTreeMap<TrackId, Object>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Object {
    /// The current state of the track.
    record: TrackRecord,
    /// When a record was last published, in seconds of the session.
    published_s: f64,
}

/// A frame record, the tracker's name, and the frame's time in seconds of the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameContext<'a> {
    pub(super) frame: &'a FrameRecord,
    pub(super) tracker: &'a str,
    pub(super) at_s: f64,
}

impl PublishedTracks {
    pub(super) fn records(&self) -> impl Iterator<Item = &TrackRecord> {
        self.objects.values().map(|object| &object.record)
    }

    /// Processes the tracker's output for a frame, and returns the records to publish.
    pub(super) fn step(
        &mut self,
        context: FrameContext<'_>,
        step: &TrackerOutput,
        met: &Met,
        places: &Places,
    ) -> Vec<TrackRecord> {
        let mut records = self.end(&step.ended, context.frame);
        for track in &step.tracks {
            let known = self.objects.remove(&track.id);
            let is_new = known.is_none();
            let mut object = known.unwrap_or_else(|| first(context, track));
            let record = &mut object.record;
            record.event = if is_new { TrackEvent::New } else { TrackEvent::Update };
            set_frame(record, context.frame);
            record.bbox = track.bbox;
            record.velocity = track.velocity;
            record.score = track.score;
            record.hits = track.hits;
            if track.seen.is_some() {
                record.last_seen_at = context.frame.captured_at;
            }
            let stays = stays(places, track.id);
            let entered = stays.len() > record.zones.len();
            record.zones = stays;
            if is_new
                || entered
                || met.concerns(track.id)
                || context.at_s - object.published_s >= UPDATE_INTERVAL_S
            {
                object.published_s = context.at_s;
                records.push(TrackRecord { crossed: crossed(met, track.id), ..record.clone() });
            }
            self.objects.insert(track.id, object);
        }
        records
    }

    /// Returns the `end` records of the tracks that have ended.
    fn end(&mut self, ended: &[TrackEnd], frame: &FrameRecord) -> Vec<TrackRecord> {
        let objects = ended.iter().filter_map(|end| Some((end, self.objects.remove(&end.id)?.record)));
        let end = |(end, mut record): (&TrackEnd, TrackRecord)| {
            record.hits = end.hits;
            set_frame(&mut record, frame);
            end_record(record)
        };
        objects.map(end).collect()
    }

    /// Returns the `end` records of all tracks, at the end of a session.
    pub(super) fn end_all(&mut self) -> Vec<TrackRecord> {
        std::mem::take(&mut self.objects).into_values().map(|object| end_record(object.record)).collect()
    }
}

/// Creates the state of a track that was not published before.
fn first(context: FrameContext<'_>, track: &Track) -> Object {
    let frame = context.frame;
    let seen = track.seen.and_then(|seen| frame.detections.get(seen));
    let before_us = ((context.at_s - track.first_s).max(0.0) * 1e6) as u64;
    let record = TrackRecord {
        schema: TrackRecord::SCHEMA.into(),
        camera: frame.camera.clone(),
        epoch: frame.epoch,
        session: frame.session,
        tracker: context.tracker.to_owned(),
        id: track.id.0,
        event: TrackEvent::New,
        seq: frame.seq,
        captured_at: frame.captured_at,
        clock: frame.clock,
        published_at: frame.captured_at,
        age_ms: 0,
        class_id: track.class_id,
        label: seen.map_or_else(|| format!("class {}", track.class_id), |seen| seen.label.clone()),
        score: track.score,
        source: frame.source,
        bbox: track.bbox,
        velocity: track.velocity,
        first_seen_at: frame.captured_at - std::time::Duration::from_micros(before_us),
        last_seen_at: frame.captured_at,
        hits: track.hits,
        zones: Vec::new(),
        crossed: Vec::new(),
    };
    Object { record, published_s: context.at_s }
}

fn end_record(mut record: TrackRecord) -> TrackRecord {
    record.event = TrackEvent::End;
    record.zones.clear();
    record
}

fn set_frame(record: &mut TrackRecord, frame: &FrameRecord) {
    record.epoch = frame.epoch;
    record.seq = frame.seq;
    record.captured_at = frame.captured_at;
    record.clock = frame.clock;
    record.source = frame.source;
}

fn stays(places: &Places, id: TrackId) -> Vec<ZoneStay> {
    let stay = |(zone, dwell_s): (&str, f64)| ZoneStay { zone: zone.to_owned(), dwell_s };
    places.stays(id).map(stay).collect()
}

fn crossed(met: &Met, id: TrackId) -> Vec<LineCrossing> {
    let of_it = met.crossings.iter().filter(|(_, crossing)| crossing.id == id);
    let crossing = |(line, crossing): &(String, Crossing)| LineCrossing {
        line: line.clone(),
        direction: crossing.direction,
    };
    of_it.map(crossing).collect()
}
