//! Fake cameras that publish records, and helpers that wait for them and read them.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_broker::{KafkaSink, ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{
    CameraId, CameraStatus, CameraStatusRecord, Clock, Epoch, FrameRecord, LedgerCounts, ModelInfo,
    SessionId, Size, StatusRecord, Timestamp, TimingUs,
};
use lookout_stage::{CameraLedger, Permits, RecordSink, Ticket};

/// The timeout of a wait; only a failing test reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Returns a status record of `camera`.
pub(crate) fn status(camera: &str) -> StatusRecord {
    StatusRecord::Camera(CameraStatusRecord {
        schema: StatusRecord::SCHEMA.into(),
        at: Timestamp::now(),
        camera: camera.parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(1),
        session: None,
        status: CameraStatus::Connecting,
        retry: None,
        detail: None,
        reconnects: 0,
        fps: 0.0,
        age_ms: None,
        clock: None,
        ledger: LedgerCounts::default(),
        priority: None,
        degraded: None,
    })
}

/// A live camera, or a file source if it has permits.
pub(crate) struct Source {
    pub(crate) ledger: Arc<CameraLedger>,
    session: SessionId,
    seq: u64,
    permits: Option<Permits>,
}

impl Source {
    pub(crate) fn live(id: &str) -> Self {
        let ledger = CameraLedger::new(id.parse().unwrap());
        Self { ledger, session: SessionId::generate(), seq: 0, permits: None }
    }

    pub(crate) fn lossless(id: &str, permits: usize) -> Self {
        Self { permits: Some(Permits::new(NonZeroUsize::new(permits).unwrap())), ..Self::live(id) }
    }

    pub(crate) fn publish(&mut self, sink: &KafkaSink) {
        self.publish_with(sink, "resnet50");
    }

    /// Publishes a record that names `arch`; a file source waits for a permit first.
    pub(crate) fn publish_with(&mut self, sink: &KafkaSink, arch: &str) {
        let ticket = self.ledger.receive(self.session, self.seq);
        let mut ticket: Ticket = match &self.permits {
            Some(permits) => {
                ticket.with_permit(permits.acquire(PATIENCE).expect("timed out waiting for a permit"))
            }
            None => ticket,
        };
        let now = Timestamp::now();
        let dropped_before = ticket.published(now.as_unix_us());
        let record = FrameRecord {
            schema: FrameRecord::SCHEMA.into(),
            camera: self.ledger.camera().clone(),
            worker: "edge-1".parse().unwrap(),
            epoch: Epoch(1),
            session: self.session,
            seq: self.seq,
            pts_ns: None,
            captured_at: now,
            clock: Clock::File,
            published_at: now,
            age_ms: 0,
            timing_us: TimingUs::default(),
            source: Size { width: 768, height: 576 },
            model: ModelInfo { arch: arch.into(), weights: "random:7".into(), precision: "fp32".into() },
            classifier: None,
            dropped_before,
            detections: Vec::new(),
            classes: Vec::new(),
        };
        self.seq += 1;
        sink.publish(&record, ticket);
    }

    /// Returns its ledger, after a check that the counters add up.
    pub(crate) fn counts(&self) -> LedgerCounts {
        let counts = self.ledger.counts();
        counts.check().unwrap();
        counts
    }
}

/// Returns a connected sink that has delivered a record of `source`.
pub(crate) async fn connected(settings: &KafkaSettings, source: &mut Source) -> KafkaSink {
    let sink = KafkaSink::start(settings).unwrap();
    source.publish(&sink);
    until("the first record is delivered", || source.counts().delivered == 1).await;
    sink
}

pub(crate) async fn drain(sink: &KafkaSink) {
    sink.drain(Instant::now() + PATIENCE).await;
}

/// Waits until `done` returns true.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the sequence numbers of each camera's frame records, in the order on the topic.
pub(crate) async fn read_all(settings: &KafkaSettings) -> BTreeMap<CameraId, Vec<u64>> {
    let options = ReaderOptions { from: ReadFrom::Beginning, until_end: true, ..ReaderOptions::default() };
    let mut reader = RecordReader::open(settings, &options).await.unwrap();
    let mut seen: BTreeMap<CameraId, Vec<u64>> = BTreeMap::new();
    while let Some(record) = reader.next().await.unwrap() {
        match record {
            ReadRecord::Frame(frame) => seen.entry(frame.camera.clone()).or_default().push(frame.seq),
            ReadRecord::Status(_) => {}
            _ => panic!("{record:?}"),
        }
    }
    seen
}
