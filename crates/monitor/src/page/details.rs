//! The page of a single camera.

use std::collections::BTreeMap;

use lookout_schema::{BBox, Region, Size, Timestamp, TrackRecord, ZoneStay};
use serde::Serialize;

use super::CameraView;
use crate::state::Camera;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Details {
    camera: CameraView,
    registry: Option<RegistryView>,
    zones: BTreeMap<String, Region>,
    lines: BTreeMap<String, [[f32; 2]; 2]>,
    tracks: Vec<TrackView>,
    zone_counts: BTreeMap<String, BTreeMap<String, u64>>,
    line_totals: BTreeMap<String, LineTotals>,
}

#[derive(Debug, Clone, Serialize)]
struct RegistryView {
    version: u64,
    enabled: bool,
    updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
struct LineTotals {
    left_to_right: u64,
    right_to_left: u64,
}

/// A track.
#[derive(Debug, Clone, Serialize)]
struct TrackView {
    id: u64,
    label: String,
    score: f32,
    #[serde(rename = "box")]
    bbox: BBox,
    velocity: [f32; 2],
    first_seen_at: Timestamp,
    zones: Vec<ZoneStay>,
}

/// The tracks of a frame.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TracksView {
    captured_at: Timestamp,
    seq: u64,
    source: Size,
    tracks: Vec<TrackView>,
}

impl TrackView {
    fn new(track: &TrackRecord) -> Self {
        Self {
            id: track.id,
            label: track.label.clone(),
            score: track.score,
            bbox: track.bbox.clipped(track.source).unwrap_or(track.bbox),
            velocity: track.velocity,
            first_seen_at: track.first_seen_at,
            zones: track.zones.clone(),
        }
    }
}

impl Details {
    pub(crate) fn new(view: CameraView, camera: &Camera) -> Self {
        let spec = camera.live.spec.as_deref();
        let objects: BTreeMap<u64, &TrackRecord> =
            camera.session_tracker.objects().map(|track| (track.id, track)).collect();
        let mut zone_counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (zone, visits) in camera.session_tracker.zones() {
            let counts = zone_counts.entry(zone.to_owned()).or_default();
            for object in visits.filter_map(|visit| objects.get(&visit.id.0)) {
                *counts.entry(object.label.clone()).or_default() += 1;
            }
        }
        let totals = |name: &String| {
            let [left_to_right, right_to_left] = camera.line_totals.get(name).copied().unwrap_or_default();
            (name.clone(), LineTotals { left_to_right, right_to_left })
        };
        Self {
            camera: view,
            registry: spec.map(|spec| RegistryView {
                version: spec.version,
                enabled: spec.enabled,
                updated_at: spec.updated_at,
            }),
            zones: camera.places.zones.clone(),
            lines: camera.places.lines.clone(),
            tracks: objects.values().map(|track| TrackView::new(track)).collect(),
            zone_counts,
            line_totals: camera.places.lines.keys().map(totals).collect(),
        }
    }

    /// Creates the details of a registry camera without records.
    pub(crate) fn without_records(spec: &lookout_schema::CameraSpec) -> Self {
        Self {
            camera: CameraView::without_records(spec),
            registry: Some(RegistryView {
                version: spec.version,
                enabled: spec.enabled,
                updated_at: spec.updated_at,
            }),
            zones: spec.zones.clone(),
            lines: spec.lines.clone(),
            tracks: Vec::new(),
            zone_counts: BTreeMap::new(),
            line_totals: BTreeMap::new(),
        }
    }
}

/// Returns the tracks in the frame `seq` of the camera; `None` before its first frame.
pub(crate) fn tracks_view(camera: &Camera, seq: u64) -> Option<TracksView> {
    let last = camera.last_frame.as_ref()?;
    let now = camera.session_tracker.objects().filter(|track| track.seq == seq);
    Some(TracksView {
        captured_at: last.captured_at,
        seq,
        source: last.source,
        tracks: now.map(TrackView::new).collect(),
    })
}
