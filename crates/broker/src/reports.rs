//! Status records on their way: best effort, bounded, the latest win.

use std::collections::VecDeque;

/// A status record.
#[derive(Debug)]
pub(crate) struct Report {
    pub key: String,
    pub payload: Vec<u8>,
}

/// Most that wait; beyond it the oldest is dropped, which a later one of its camera outdates anyway.
const MAX_WAITING: usize = 1000;

/// Most that librdkafka is handed at once.
const WINDOW: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Reports {
    waiting: VecDeque<Report>,
    in_flight: usize,
}

impl Reports {
    pub(crate) fn push(&mut self, report: Report) {
        if self.waiting.len() == MAX_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            tracing::debug!(key = oldest.key, "a status record was given up");
        }
        self.waiting.push_back(report);
    }

    /// The one to send next, if one may be sent now.
    pub(crate) fn next(&self) -> Option<&Report> {
        self.waiting.front().filter(|_| self.in_flight < WINDOW)
    }

    /// The one that was next has been handed to librdkafka.
    pub(crate) fn sent(&mut self) {
        self.in_flight += usize::from(self.waiting.pop_front().is_some());
    }

    /// One that was sent is settled, whichever way.
    pub(crate) fn settled(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// What was sent is lost with its client.
    pub(crate) fn forget_sent(&mut self) {
        self.in_flight = 0;
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_win_and_the_window_holds() {
        let mut reports = Reports::default();
        for n in 0..MAX_WAITING + 5 {
            reports.push(Report { key: n.to_string(), payload: Vec::new() });
        }
        assert_eq!(reports.next().map(|report| report.key.as_str()), Some("5"));
        for _ in 0..WINDOW {
            assert!(reports.next().is_some());
            reports.sent();
        }
        assert!(reports.next().is_none());
        reports.settled();
        assert_eq!(reports.next().map(|report| report.key.as_str()), Some("105"));
    }
}
