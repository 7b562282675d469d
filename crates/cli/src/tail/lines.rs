//! Formats records as lines of text or JSON.

use std::fmt::Write as _;

use lookout_broker::ReadRecord;
use lookout_schema::{AlertRecord, BBox, Clock, FrameRecord, SnapshotRecord, StatusRecord, TrackRecord};
use serde_json::Value;

/// Returns the record as JSON. The JPEG of a snapshot is omitted.
pub(super) fn json(record: &ReadRecord) -> serde_json::Result<Option<String>> {
    match record {
        ReadRecord::Frame(frame) => serde_json::to_string(frame).map(Some),
        ReadRecord::Status(status) => serde_json::to_string(status).map(Some),
        ReadRecord::Track(track) => serde_json::to_string(track).map(Some),
        ReadRecord::Alert(alert) => serde_json::to_string(alert).map(Some),
        ReadRecord::Snapshot(snapshot) => {
            let mut record = serde_json::to_value(snapshot)?;
            record.as_object_mut().map(|fields| fields.remove("jpeg"));
            Ok(Some(Value::to_string(&record)))
        }
        ReadRecord::Camera { .. } | ReadRecord::Unreadable { .. } => Ok(None),
    }
}

/// Returns the record as a line of text.
pub(super) fn text(record: &ReadRecord) -> Option<String> {
    let line = match record {
        ReadRecord::Frame(frame) => frame_line(frame),
        ReadRecord::Status(status) => status_line(status),
        ReadRecord::Snapshot(snapshot) => snapshot_line(snapshot),
        ReadRecord::Track(track) => track_line(track),
        ReadRecord::Alert(alert) => alert_line(alert),
        ReadRecord::Camera { .. } | ReadRecord::Unreadable { .. } => return None,
    };
    // Texts in records are not trusted: they could contain escape sequences for the terminal.
    Some(line.replace(char::is_control, "\u{FFFD}"))
}

fn corners(b: BBox) -> String {
    format!("[{:.0} {:.0} {:.0} {:.0}]", b.x1, b.y1, b.x2, b.y2)
}

fn frame_line(frame: &FrameRecord) -> String {
    let mut line = format!("{} {} #{} {}", frame.captured_at, frame.camera, frame.seq, frame.clock.as_str());
    // The capture times of files are based on stream time, so the age is meaningless.
    if frame.clock != Clock::File {
        let _ = write!(line, " age {} ms", frame.age_ms);
    }
    for (cause, frames) in &frame.dropped_before {
        let _ = write!(line, ", {frames} dropped before ({})", cause.as_str());
    }
    for seen in &frame.detections {
        let _ = write!(line, ", {} {:.2} at {}", seen.label, seen.score, corners(seen.bbox));
    }
    for seen in &frame.classes {
        let _ = write!(line, ", {} {:.2}", seen.label, seen.score);
    }
    line
}

fn status_line(status: &StatusRecord) -> String {
    match status {
        StatusRecord::Camera(camera) => {
            // The counts in a received record are not trusted, so the sum could overflow.
            let dropped = camera.ledger.dropped.values().fold(0u64, |sum, count| sum.saturating_add(*count));
            let mut line = format!(
                "{} {} is {}, {:.1} fps, {} delivered, {} dropped",
                camera.at,
                camera.camera,
                camera.status.as_str(),
                camera.fps,
                camera.ledger.delivered,
                dropped
            );
            if let Some(detail) = &camera.detail {
                let _ = write!(line, ": {detail}");
            }
            line
        }
        StatusRecord::Worker(worker) => format!(
            "{} worker {} is {}, {} cameras, {} {} on {}, device {:.0} % busy, batch size {:.1}",
            worker.at,
            worker.worker,
            worker.state.as_str(),
            worker.cameras,
            worker.model.arch,
            worker.model.precision,
            worker.device,
            worker.device_busy * 100.0,
            worker.batch_size
        ),
    }
}

fn snapshot_line(snapshot: &SnapshotRecord) -> String {
    format!(
        "{} {} #{} snapshot {}x{}, {} bytes, {} detections",
        snapshot.captured_at,
        snapshot.camera,
        snapshot.seq,
        snapshot.image.width,
        snapshot.image.height,
        snapshot.jpeg.len(),
        snapshot.detections.len()
    )
}

fn track_line(track: &TrackRecord) -> String {
    let mut line = format!(
        "{} {} #{} {} {}: {} {} {:.2} at {}, {} hits",
        track.captured_at,
        track.camera,
        track.seq,
        track.tracker,
        track.event.as_str(),
        track.label,
        track.id,
        track.score,
        corners(track.bbox),
        track.hits
    );
    for stay in &track.zones {
        let _ = write!(line, ", in {} for {:.1} s", stay.zone, stay.dwell_s);
    }
    for crossing in &track.crossed {
        let _ = write!(line, ", crossed {}", crossing.line);
    }
    line
}

fn alert_line(alert: &AlertRecord) -> String {
    let of = alert.camera.as_ref().map(|camera| camera.as_str());
    let of = of.or(alert.worker.as_ref().map(|worker| worker.as_str())).unwrap_or("-");
    format!(
        "{} {of} {} {} {} ({}): {}",
        alert.at,
        alert.level.as_str(),
        alert.rule,
        alert.state.as_str(),
        alert.consumer,
        alert.message
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(text: &str) -> Box<T> {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn formats_each_kind_of_record() {
        let golden = [
            ReadRecord::Snapshot(read(include_str!("../../../schema/tests/golden/snapshot.1.json"))),
            ReadRecord::Track(read(include_str!("../../../schema/tests/golden/track.1.json"))),
            ReadRecord::Alert(read(include_str!("../../../schema/tests/golden/alert.collision.1.json"))),
        ];
        let lines = golden.each_ref().map(|record| text(record).unwrap_or_default());
        assert_eq!(
            lines,
            [
                "2026-11-24T08:00:00.123456Z north-gate #1042 snapshot 320x180, 6 bytes, 0 detections",
                "2026-11-24T08:00:00.123456Z north-gate #1042 monitor update: person 17 0.94 at \
                 [104 220 161 398], 121 hits, in door for 4.5 s, crossed kerb",
                "2026-11-24T08:00:00.123456Z north-gate critical collision changed (adas): car ahead in 1.8 s",
            ]
        );
        let snapshot = json(&golden[0]).ok().flatten().unwrap_or_default();
        assert!(snapshot.contains("\"image\"") && !snapshot.contains("jpeg"), "{snapshot}");
    }

    #[test]
    fn replaces_control_characters() {
        let mut alert: Box<AlertRecord> =
            read(include_str!("../../../schema/tests/golden/alert.collision.1.json"));
        alert.message = "\u{1b}[2J\nfake".into();
        let line = text(&ReadRecord::Alert(alert)).unwrap_or_default();
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
