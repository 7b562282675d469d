//! Status records and snapshots that wait to be sent: best effort, bounded, newer ones replace older ones. Each kind
//! has its own queue, so that neither displaces the other.

use std::{collections::VecDeque, time::Instant};

use lookout_schema::RecordKind;

/// The kind of a report, which has its own queue and topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportKind {
    Status,
    Snapshot,
}

impl ReportKind {
    /// All kinds, the most important first.
    pub(crate) const ALL: [Self; 2] = [Self::Status, Self::Snapshot];

    pub(crate) fn record_kind(self) -> RecordKind {
        match self {
            Self::Status => RecordKind::Status,
            Self::Snapshot => RecordKind::Snapshot,
        }
    }
}

/// A status record or a snapshot.
#[derive(Debug)]
pub(crate) struct Report {
    pub key: String,
    pub payload: Vec<u8>,
}

/// The limits of a kind.
#[derive(Debug)]
struct Room {
    /// Maximum number of waiting reports. Beyond it, the oldest is dropped.
    records: usize,
    bytes: usize,
    /// Maximum number of reports in flight in librdkafka. One may always be in flight, whatever its size.
    window_records: usize,
    window_bytes: usize,
    /// Whether a newer report replaces a waiting one with the same key.
    latest_of_key: bool,
}

const MIB: usize = 1024 * 1024;

/// A dropped status record is outdated by a later one of its camera.
const STATUS: Room = Room {
    records: 1000,
    bytes: 64 * MIB,
    window_records: 100,
    window_bytes: 64 * MIB,
    latest_of_key: false,
};

/// The window limits how many bytes of snapshots can be queued before a frame record on the way to a broker.
const SNAPSHOTS: Room =
    Room { records: 10_000, bytes: 16 * MIB, window_records: 100, window_bytes: MIB, latest_of_key: true };

#[derive(Debug, Default)]
pub(crate) struct ReportQueues {
    status: Queue,
    snapshots: Queue,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Report>,
    waiting_bytes: usize,
    in_flight: usize,
    in_flight_bytes: usize,
    /// librdkafka accepts no report of this kind until then.
    held_until: Option<Instant>,
    lost: u64,
}

impl ReportQueues {
    pub(crate) fn push(&mut self, kind: ReportKind, report: Report) {
        self.queue(kind).push(report, room(kind));
    }

    /// Returns the next report of `kind` to send, if one may be sent now.
    pub(crate) fn next(&self, kind: ReportKind, now: Instant) -> Option<&Report> {
        let queue = self.of(kind);
        if queue.held_until.is_some_and(|until| now < until) {
            return None;
        }
        queue.next(room(kind))
    }

    /// Holds `kind` until `until`, because librdkafka accepts none of its reports.
    pub(crate) fn hold(&mut self, kind: ReportKind, until: Instant) {
        self.queue(kind).held_until = Some(until);
    }

    /// Notes that the next report was passed to librdkafka.
    pub(crate) fn sent(&mut self, kind: ReportKind) {
        let queue = self.queue(kind);
        if let Some(report) = queue.pop() {
            queue.in_flight += 1;
            queue.in_flight_bytes += report.payload.len();
        }
    }

    /// Drops the next report, which librdkafka will never accept.
    pub(crate) fn refused(&mut self, kind: ReportKind) {
        let queue = self.queue(kind);
        queue.lost += u64::from(queue.pop().is_some());
    }

    /// Settles a report of `bytes` bytes that was sent.
    pub(crate) fn settled(&mut self, kind: ReportKind, bytes: usize, delivered: bool) {
        let queue = self.queue(kind);
        // It was already forgotten with its client.
        if queue.in_flight == 0 {
            return;
        }
        queue.in_flight -= 1;
        queue.in_flight_bytes = queue.in_flight_bytes.saturating_sub(bytes);
        queue.lost += u64::from(!delivered);
    }

    /// Counts the reports in flight as lost with their client.
    pub(crate) fn forget_sent(&mut self) {
        for kind in ReportKind::ALL {
            let queue = self.queue(kind);
            queue.lost += queue.in_flight as u64;
            (queue.in_flight, queue.in_flight_bytes) = (0, 0);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.forget_sent();
        for kind in ReportKind::ALL {
            while !self.of(kind).waiting.is_empty() {
                self.refused(kind);
            }
        }
    }

    pub(crate) fn is_empty(&self, kind: ReportKind) -> bool {
        self.of(kind).waiting.is_empty() && self.of(kind).in_flight == 0
    }

    /// Returns the number of reports of all kinds that are in flight in librdkafka.
    pub(crate) fn in_flight(&self) -> usize {
        self.status.in_flight + self.snapshots.in_flight
    }

    /// Returns the number of reports that never reached the broker.
    pub(crate) fn lost(&self, kind: ReportKind) -> u64 {
        self.of(kind).lost
    }

    fn of(&self, kind: ReportKind) -> &Queue {
        match kind {
            ReportKind::Status => &self.status,
            ReportKind::Snapshot => &self.snapshots,
        }
    }

    fn queue(&mut self, kind: ReportKind) -> &mut Queue {
        match kind {
            ReportKind::Status => &mut self.status,
            ReportKind::Snapshot => &mut self.snapshots,
        }
    }
}

fn room(kind: ReportKind) -> &'static Room {
    match kind {
        ReportKind::Status => &STATUS,
        ReportKind::Snapshot => &SNAPSHOTS,
    }
}

impl Queue {
    fn push(&mut self, report: Report, room: &Room) {
        if room.latest_of_key
            && let Some(at) = self.waiting.iter().position(|waiting| waiting.key == report.key)
            && let Some(outdated) = self.waiting.remove(at)
        {
            self.waiting_bytes -= outdated.payload.len();
            self.lost += 1;
        }
        self.waiting_bytes += report.payload.len();
        self.waiting.push_back(report);
        while self.waiting.len() > room.records || self.waiting_bytes > room.bytes {
            let Some(oldest) = self.pop() else { return };
            tracing::debug!(key = oldest.key, "queue full, oldest status record or snapshot dropped");
            self.lost += 1;
        }
    }

    fn pop(&mut self) -> Option<Report> {
        let report = self.waiting.pop_front()?;
        self.waiting_bytes -= report.payload.len();
        Some(report)
    }

    fn next(&self, room: &Room) -> Option<&Report> {
        let next = self.waiting.front()?;
        let fits = self.in_flight < room.window_records
            && self.in_flight_bytes + next.payload.len() <= room.window_bytes;
        (fits || self.in_flight == 0).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(reports: &mut ReportQueues, kind: ReportKind, key: usize, bytes: usize) {
        reports.push(kind, Report { key: key.to_string(), payload: vec![0; bytes] });
    }

    fn next(reports: &ReportQueues, kind: ReportKind) -> Option<&str> {
        reports.next(kind, Instant::now()).map(|report| report.key.as_str())
    }

    #[test]
    fn drops_the_oldest_reports_and_limits_those_in_flight() {
        let mut reports = ReportQueues::default();
        for n in 0..STATUS.records + 5 {
            push(&mut reports, ReportKind::Status, n, 1);
        }
        assert_eq!((next(&reports, ReportKind::Status), reports.lost(ReportKind::Status)), (Some("5"), 5));
        for _ in 0..STATUS.window_records {
            assert!(next(&reports, ReportKind::Status).is_some());
            reports.sent(ReportKind::Status);
        }
        assert!(next(&reports, ReportKind::Status).is_none());
        reports.settled(ReportKind::Status, 1, true);
        assert_eq!(next(&reports, ReportKind::Status), Some("105"));
    }

    #[test]
    fn keeps_one_snapshot_per_camera_within_the_byte_limit() {
        let mut reports = ReportQueues::default();
        push(&mut reports, ReportKind::Status, 0, 1);
        for n in 0..100 {
            push(&mut reports, ReportKind::Snapshot, n % 2, n);
        }
        assert_eq!((reports.snapshots.waiting.len(), reports.snapshots.waiting_bytes), (2, 98 + 99));
        assert_eq!(reports.lost(ReportKind::Snapshot), 98);
        for n in 0..100 {
            push(&mut reports, ReportKind::Snapshot, n, MIB / 2);
        }
        assert_eq!(reports.snapshots.waiting_bytes, SNAPSHOTS.bytes);
        assert_eq!(
            (next(&reports, ReportKind::Snapshot), next(&reports, ReportKind::Status)),
            (Some("68"), Some("0"))
        );
    }

    #[test]
    fn sends_a_snapshot_larger_than_the_window_alone() {
        let mut reports = ReportQueues::default();
        for (key, bytes) in [2 * MIB, MIB / 2, MIB / 2, 1].into_iter().enumerate() {
            push(&mut reports, ReportKind::Snapshot, key, bytes);
        }
        reports.sent(ReportKind::Snapshot);
        assert_eq!(next(&reports, ReportKind::Snapshot), None);
        reports.settled(ReportKind::Snapshot, 2 * MIB, true);
        reports.sent(ReportKind::Snapshot);
        assert_eq!(next(&reports, ReportKind::Snapshot), Some("2"));
        reports.sent(ReportKind::Snapshot);
        assert_eq!(next(&reports, ReportKind::Snapshot), None);
        reports.settled(ReportKind::Snapshot, MIB / 2, false);
        assert_eq!(
            (next(&reports, ReportKind::Snapshot), reports.lost(ReportKind::Snapshot)),
            (Some("3"), 1)
        );
        reports.clear();
        assert!(reports.is_empty(ReportKind::Snapshot));
        assert_eq!(reports.lost(ReportKind::Snapshot), 3);
    }
}
