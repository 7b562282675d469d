//! Delivery reports: which record one is about, and what its error means.

use rdkafka::error::RDKafkaErrorCode;

use crate::{
    outbox::{Outcome, SeqNo},
    report_queues::ReportKind,
};

/// Identifies a record that was passed to librdkafka, which returns it with the delivery report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryToken {
    /// A frame record of the outbox.
    Frame(SeqNo),
    /// A status record with a payload of `bytes` bytes. It is not in the ledger.
    Status { bytes: usize },
    /// A snapshot with a payload of `bytes` bytes. It is not in the ledger.
    Snapshot { bytes: usize },
}

impl DeliveryToken {
    /// Returns the token of a report with a payload of `bytes` bytes.
    pub(super) fn of(kind: ReportKind, bytes: usize) -> Self {
        match kind {
            ReportKind::Status => Self::Status { bytes },
            ReportKind::Snapshot => Self::Snapshot { bytes },
        }
    }
}

/// Returns what an error of librdkafka or the broker means for its record. Only errors of the record itself are
/// final. Problems with rights, clocks, policies and topics can be solved, so the record waits: no record is lost by
/// mistake, and the ledger and the sink's health show the records that wait.
pub(super) fn outcome(code: RDKafkaErrorCode) -> Outcome {
    if is_too_large(code) || code == RDKafkaErrorCode::InvalidRecord {
        Outcome::Rejected
    } else {
        Outcome::Retry
    }
}

/// Returns whether the record, or the batch that contained it, is larger than the topic allows.
pub(super) fn is_too_large(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge)
}

/// Returns whether the error comes from the client itself, which was given up with the record, and not from the
/// broker.
pub(super) fn is_own(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::Fatal)
}
