//! Shifts the times of records, so that consumers that check the age of records can process a recording.

use lookout_schema::{
    AlertRecord, FrameRecord, RecordKind, SnapshotRecord, StatusRecord, Timestamp, TrackRecord,
};
use lookout_wire::{WireRecord, decode, encode, format_of};

/// Returns the record in `value` with all its times shifted by `by_us` microseconds, in the same format; `None` if
/// `value` is not a record that this program knows. Differences between its times, such as its age, do not change.
/// Fields that this program does not know are lost.
pub fn shifted(kind: RecordKind, value: &[u8], by_us: i64) -> Option<Vec<u8>> {
    match kind {
        RecordKind::Frame => change(value, |frame: &mut FrameRecord| {
            each([&mut frame.captured_at, &mut frame.published_at], by_us);
        }),
        RecordKind::Status => change(value, |status: &mut StatusRecord| match status {
            StatusRecord::Camera(camera) => each([&mut camera.at], by_us),
            StatusRecord::Worker(worker) => each([&mut worker.at, &mut worker.started_at], by_us),
        }),
        RecordKind::Snapshot => {
            change(value, |snapshot: &mut SnapshotRecord| each([&mut snapshot.captured_at], by_us))
        }
        RecordKind::Track => change(value, |track: &mut TrackRecord| {
            each([&mut track.captured_at, &mut track.published_at], by_us);
            each([&mut track.first_seen_at, &mut track.last_seen_at], by_us);
        }),
        RecordKind::Alert => change(value, |alert: &mut AlertRecord| {
            each([&mut alert.at, &mut alert.raised_at, &mut alert.published_at], by_us);
        }),
        RecordKind::Camera => None,
    }
}

fn change<T: WireRecord>(value: &[u8], change: impl FnOnce(&mut T)) -> Option<Vec<u8>> {
    let mut record = decode(value).ok()?;
    change(&mut record);
    encode(&record, format_of(value)).ok()
}

fn each<const N: usize>(times: [&mut Timestamp; N], by_us: i64) {
    for time in times {
        *time = Timestamp::from_unix_us(time.as_unix_us().saturating_add(by_us));
    }
}

#[cfg(test)]
mod tests {
    use lookout_schema::RecordFormat;

    use super::*;

    const FRAME: &str = include_str!("../../../schema/tests/golden/frame.1.json");
    const DAY_US: i64 = 86_400_000_000;

    #[test]
    fn shifts_a_frame_by_a_day_and_keeps_its_format() {
        let frame: FrameRecord = decode(FRAME.as_bytes()).unwrap();
        for format in RecordFormat::ALL {
            let value = encode(&frame, format).unwrap();
            let later = shifted(RecordKind::Frame, &value, DAY_US).unwrap();
            assert_eq!(format_of(&later), format);
            let later: FrameRecord = decode(&later).unwrap();
            assert_eq!(later.captured_at.ms_since(frame.captured_at), DAY_US / 1000);
            assert_eq!(later.published_at.ms_since(later.captured_at), frame.age_ms);
            let back =
                FrameRecord { captured_at: frame.captured_at, published_at: frame.published_at, ..later };
            assert_eq!(back, frame);
        }
        assert_eq!(shifted(RecordKind::Status, FRAME.as_bytes(), 1), None);
    }

    #[test]
    fn shifts_every_time_of_every_record_kind() {
        for (kind, golden) in [
            (RecordKind::Frame, FRAME),
            (RecordKind::Status, include_str!("../../../schema/tests/golden/status.camera.1.json")),
            (RecordKind::Status, include_str!("../../../schema/tests/golden/status.worker.1.json")),
            (RecordKind::Snapshot, include_str!("../../../schema/tests/golden/snapshot.1.json")),
            (RecordKind::Track, include_str!("../../../schema/tests/golden/track.1.json")),
            (RecordKind::Alert, include_str!("../../../schema/tests/golden/alert.collision.1.json")),
        ] {
            let later = String::from_utf8(shifted(kind, golden.as_bytes(), DAY_US).unwrap()).unwrap();
            let dates = |text: &str, date: &str| text.matches(date).count();
            assert!(dates(golden, "2026-11-24T") > 0);
            assert_eq!(dates(&later, "2026-11-25T"), dates(golden, "2026-11-24T"), "{later}");
        }
    }
}
