//! Throughput, storage and partitions in Kafka.

use serde::Serialize;

use super::Assumption;

/// Size of a frame record without results, as compact JSON. A test compares this and the next value with the
/// golden file.
const RECORD_BYTES: f64 = 510.0;
/// Size of one detection or class in a record.
const FINDING_BYTES: f64 = 70.0;
/// Size of a status record.
const STATUS_BYTES: f64 = 600.0;
/// Default of `status_interval_ms`: each camera and worker has one status record per interval.
const STATUS_EVERY_S: f64 = 5.0;
/// Maximum throughput per partition. It is conservative: Kafka's own benchmarks reach several times as much.
const PARTITION_BYTES_PER_S: f64 = 5e6;
/// Partitions per worker, so that the cameras are redistributed in small parts when a worker joins or leaves.
const PARTITIONS_A_WORKER: u32 = 4;
/// Default of `[kafka] partitions`. The number of partitions is rounded up to a multiple of it, so that it
/// can be divided evenly among 2, 3, 4, 6 or 12 workers.
const PARTITIONS: u32 = 12;

#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) cameras: u32,
    pub(super) fps: f64,
    pub(super) findings: f64,
    pub(super) retention_h: f64,
    pub(super) replication: u32,
    pub(super) consumers: u32,
    pub(super) workers: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Kafka {
    pub(super) records_per_s: f64,
    pub(super) record_bytes: f64,
    /// Produced by the workers, including status records.
    pub(super) produced_mb_per_s: f64,
    /// Written to the disks of all brokers, including all replicas.
    pub(super) written_mb_per_s: f64,
    /// Read from all brokers, by consumers and by replication.
    pub(super) read_mb_per_s: f64,
    /// Storage of all replicas for the retention time.
    pub(super) storage_gb: f64,
    /// Value for `[kafka] partitions`.
    pub(super) partitions: u32,
}

impl Kafka {
    pub(super) fn plan(wanted: &Wanted, assumptions: &mut Vec<Assumption>) -> Self {
        let records_per_s = f64::from(wanted.cameras) * wanted.fps;
        let record_bytes = RECORD_BYTES + FINDING_BYTES * wanted.findings;
        let reporters = f64::from(wanted.cameras) + f64::from(wanted.workers);
        let bytes_per_s = records_per_s * record_bytes + reporters * STATUS_BYTES / STATUS_EVERY_S;
        let copies = f64::from(wanted.replication);
        let for_workers = wanted.workers.saturating_mul(PARTITIONS_A_WORKER);
        let for_bytes = (bytes_per_s / PARTITION_BYTES_PER_S).ceil() as u32;
        let partitions = for_workers.max(for_bytes).max(1).div_ceil(PARTITIONS).saturating_mul(PARTITIONS);
        assumptions.push(Assumption::new(
            format!(
                "a record has {record_bytes:.0} bytes with {} detections or classes, before the producer's zstd \
                 compression",
                wanted.findings
            ),
            "golden file of lookout.frame/1, --results",
        ));
        assumptions.push(Assumption::new(
            format!(
                "{PARTITIONS_A_WORKER} partitions per worker, at most {:.0} MB/s each, rounded up to a multiple of \
                 {PARTITIONS}",
                PARTITION_BYTES_PER_S / 1e6
            ),
            "rule of thumb; the number of partitions of a topic is hard to change later",
        ));
        assumptions.push(Assumption::new(
            format!(
                "replication factor {}, retention {} h, consumers of all records: {}",
                wanted.replication, wanted.retention_h, wanted.consumers
            ),
            "--replication, --retention-h, --consumers",
        ));
        Self {
            records_per_s,
            record_bytes,
            produced_mb_per_s: bytes_per_s / 1e6,
            written_mb_per_s: bytes_per_s * copies / 1e6,
            read_mb_per_s: bytes_per_s * (copies - 1.0 + f64::from(wanted.consumers)) / 1e6,
            storage_gb: bytes_per_s * wanted.retention_h * 3600.0 * copies / 1e9,
            partitions,
        }
    }
}

#[cfg(test)]
mod tests {
    use lookout_schema::FrameRecord;

    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            cameras: 400,
            fps: 10.0,
            findings: 5.0,
            retention_h: 24.0,
            replication: 3,
            consumers: 1,
            workers: 4,
        }
    }

    #[test]
    fn calculates_records_bytes_and_storage() {
        let kafka = Kafka::plan(&wanted(), &mut Vec::new());
        assert!((kafka.records_per_s - 4000.0).abs() < 1e-9);
        // 4,000 frame records of 860 bytes per second, and 404 status records of 600 bytes every 5 s.
        assert!((kafka.produced_mb_per_s - 3.48848).abs() < 1e-9, "{kafka:?}");
        assert!((kafka.written_mb_per_s - 3.0 * 3.48848).abs() < 1e-9);
        assert!((kafka.read_mb_per_s - 3.0 * 3.48848).abs() < 1e-9);
        assert!((kafka.storage_gb - 3.0 * 3.48848 * 86.4).abs() < 1e-6);
        assert_eq!(kafka.partitions, 24);
    }

    #[test]
    fn partitions_grow_with_workers_and_with_bytes() {
        let partitions = |wanted: &Wanted| Kafka::plan(wanted, &mut Vec::new()).partitions;
        assert_eq!(partitions(&Wanted { workers: 1, ..wanted() }), 12);
        assert_eq!(partitions(&Wanted { workers: 10, ..wanted() }), 48);
        // 87 MB/s.
        assert_eq!(partitions(&Wanted { cameras: 10_000, ..wanted() }), 24);
    }

    #[test]
    fn record_size_matches_the_golden_file() {
        let golden = include_str!("../../../schema/tests/golden/frame.1.json");
        let mut record: FrameRecord = serde_json::from_str(golden).unwrap();
        let size = |record: &FrameRecord| serde_json::to_string(record).unwrap().len() as f64;
        let with_one = size(&record);
        let findings = (record.detections.len() + record.classes.len()) as f64;
        record.detections.clear();
        record.classes.clear();
        assert!((size(&record) / RECORD_BYTES - 1.0).abs() < 0.1, "{}", size(&record));
        let finding = (with_one - size(&record)) / findings;
        assert!((finding / FINDING_BYTES - 1.0).abs() < 0.2, "{finding}");
    }
}
