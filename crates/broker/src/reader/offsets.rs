//! The offsets that the reader has reached, and the records that were deleted before they were read.

use lookout_schema::RecordKind;

use super::RecordReader;

impl RecordReader {
    /// Updates the offset of a partition. Returns [`RecordWithOffset::offsets_restart`] of the record, or `None` if the record is not to
    /// be returned.
    pub(super) fn take_place(&mut self, kind: RecordKind, partition: i32, offset: i64) -> Option<bool> {
        let place = (kind, partition);
        // The client may log the topic's id after the topic was assigned.
        if !self.ids.contains_key(&kind)
            && let Some(id) = self.fetching().topic_id(self.topics.of(kind))
        {
            self.ids.insert(kind, id);
        }
        let reset = self.fetching().take_reset(self.topics.of(kind), partition);
        let assigned = self.assigned.get_mut(&place)?;
        let runs_back = assigned.next.is_some_and(|next| offset < next);
        let offsets_restart = std::mem::take(&mut assigned.offsets_restart) || runs_back;
        assigned.next = Some(offset + 1);
        if runs_back {
            let topic = self.topics.of(kind);
            tracing::warn!(
                topic,
                partition,
                offset,
                "the partition's offsets went backwards, reading resumes at this offset"
            );
        } else if let Some(from) = reset.filter(|from| *from < offset) {
            self.count_lost(kind, partition, (offset - from).unsigned_abs());
        }
        if let Some(ends) = &mut self.ends {
            let end = ends.get(&place).copied()?;
            if offset + 1 >= end {
                ends.remove(&place);
            }
            if offset >= end {
                return None;
            }
        }
        Some(offsets_restart)
    }

    pub(super) fn count_lost(&mut self, kind: RecordKind, partition: i32, records: u64) {
        if records > 0 {
            *self.lost.entry(kind).or_default() += records;
            let topic = self.topics.of(kind);
            tracing::warn!(topic, partition, records, "records were deleted before they were read");
        }
    }
}
