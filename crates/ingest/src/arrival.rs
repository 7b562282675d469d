//! Arrival times of packets, kept until the decoder outputs their frames.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// The packets that have entered the decoders of one connection.
///
/// A file with several video tracks has a decoder for each. Counts and times are those of the selected decoder.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    decoders: Mutex<Decoders>,
    /// Media types of the streams that no decoder accepts.
    others: Mutex<Vec<String>>,
    reads: AtomicU64,
}

#[derive(Debug, Default)]
struct Decoders {
    entered: Vec<(DecoderId, Entered)>,
    selected: Option<DecoderId>,
}

/// Identifies a decoder by its address.
pub(crate) type DecoderId = usize;

#[derive(Debug, Default)]
struct Entered {
    /// The presentation times of the latest packets in nanoseconds, with the arrival time of each.
    recent: VecDeque<(u64, Instant)>,
    packets: u64,
    /// Packets for which the decoder outputs a frame that is displayed.
    shown: u64,
    codec: Option<String>,
}

/// Maximum number of frames that a codec sends before a frame that is displayed earlier than they are.
const REORDERED: usize = 16;

/// Number of packets whose arrival is kept, which is more than any codec reorders. For a frame whose packet is no
/// longer kept, the time of decoding counts as its arrival.
const KEPT: usize = 128;

impl Arrivals {
    /// Selects the decoder from which the connection's frames come.
    pub(crate) fn select(&self, decoder: DecoderId) {
        self.decoders().selected = Some(decoder);
    }

    /// Records that a packet enters `decoder` at `now`.
    ///
    /// `pts` is its presentation time in nanoseconds. `is_shown` is false for a packet that yields no displayed frame
    /// and only serves as a reference for others.
    pub(crate) fn note(&self, decoder: DecoderId, pts: Option<u64>, is_shown: bool, now: Instant) {
        let mut decoders = self.decoders();
        let entered = decoders.of(decoder);
        entered.packets += 1;
        entered.shown += u64::from(is_shown);
        if let Some(pts) = pts {
            if entered.recent.len() == KEPT {
                entered.recent.pop_front();
            }
            entered.recent.push_back((pts, now));
        }
    }

    /// Returns the arrival time of the frame at `pts` nanoseconds, and removes its packet.
    ///
    /// Frames that are predicted from later frames (B-frames) arrive after them. Each was captured before all frames
    /// that are displayed after it, so its arrival is that of the first of them. Arrivals then increase in display
    /// order.
    pub(crate) fn take(&self, pts: u64) -> Option<Instant> {
        let mut decoders = self.decoders();
        let recent = &mut decoders.selected_mut()?.recent;
        // Where several packets have one presentation time, the first has waited longest.
        let at = recent.iter().position(|(known, _)| *known == pts)?;
        let near = recent.iter().skip(at.saturating_sub(REORDERED)).filter(|(known, _)| *known >= pts);
        let arrived = near.map(|(_, arrived)| *arrived).min();
        recent.remove(at);
        arrived
    }

    pub(crate) fn packets(&self) -> u64 {
        self.decoders().selected().map_or(0, |entered| entered.packets)
    }

    /// Returns the number of packets for which the decoder should output a displayed frame.
    pub(crate) fn shown(&self) -> u64 {
        self.decoders().selected().map_or(0, |entered| entered.shown)
    }

    /// Records that the file source read data.
    pub(crate) fn note_read(&self) {
        self.reads.fetch_add(1, Relaxed);
    }

    /// Returns a number that grows with each read of the file and with each packet that enters a decoder.
    pub(crate) fn progress(&self) -> u64 {
        let packets: u64 = self.decoders().entered.iter().map(|(_, entered)| entered.packets).sum();
        self.reads.load(Relaxed) + packets
    }

    /// Sets GStreamer's media type of the stream that `decoder` decodes, such as `video/x-h264`.
    pub(crate) fn set_codec(&self, decoder: DecoderId, media_type: &str) {
        self.decoders().of(decoder).codec = Some(media_type.to_owned());
    }

    pub(crate) fn codec(&self) -> Option<String> {
        self.decoders().selected()?.codec.clone()
    }

    /// Records that a stream of this media type is not decoded.
    pub(crate) fn note_other(&self, media_type: &str) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(media_type.to_owned());
    }

    pub(crate) fn others(&self) -> Vec<String> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    // Each critical section is a few assignments, so the data behind a poisoned lock is still valid.
    fn decoders(&self) -> std::sync::MutexGuard<'_, Decoders> {
        self.decoders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decoders {
    fn of(&mut self, decoder: DecoderId) -> &mut Entered {
        let at = self.entered.iter().position(|(id, _)| *id == decoder).unwrap_or_else(|| {
            self.entered.push((decoder, Entered::default()));
            self.entered.len() - 1
        });
        &mut self.entered[at].1
    }

    /// Returns the selected decoder or, before one is selected, the decoder with the most packets.
    fn selected(&self) -> Option<&Entered> {
        self.selected_index().and_then(|index| self.entered.get(index)).map(|(_, entered)| entered)
    }

    fn selected_mut(&mut self) -> Option<&mut Entered> {
        self.selected_index().and_then(|index| self.entered.get_mut(index)).map(|(_, entered)| entered)
    }

    fn selected_index(&self) -> Option<usize> {
        let entered = || self.entered.iter().enumerate();
        let selected = entered().find(|(_, (id, _))| Some(*id) == self.selected);
        let most = || entered().max_by_key(|(_, (_, entered))| entered.packets);
        selected.or_else(most).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reordered_frame_arrives_no_later_than_frames_displayed_after_it() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        for (i, pts) in [0, 120, 40, 80].into_iter().enumerate() {
            arrivals.note(1, Some(pts), true, start + Duration::from_millis(i as u64));
        }
        // In display order. The packet at 120 arrived before those at 40 and 80, which were captured before it.
        let shown = [0, 40, 80, 120].map(|pts| arrivals.take(pts).map(|at| (at - start).as_millis()));
        assert_eq!(shown, [Some(0), Some(1), Some(1), Some(1)]);
        assert_eq!((arrivals.take(50), arrivals.packets()), (None, 4));
    }

    #[test]
    fn frames_with_equal_timestamps_keep_their_own_arrival_times() {
        let (arrivals, start) = (Arrivals::default(), Instant::now());
        for frame in 0..300 {
            arrivals.note(1, Some(7), true, start + Duration::from_millis(frame));
            assert_eq!(arrivals.take(7), Some(start + Duration::from_millis(frame)));
        }
    }

    #[test]
    fn only_the_latest_arrival_times_are_kept() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        (0..1000).for_each(|pts| arrivals.note(1, Some(pts), true, now));
        assert_eq!(arrivals.decoders().of(1).recent.len(), KEPT);
        assert_eq!((arrivals.take(10), arrivals.take(999)), (None, Some(now)));
    }

    #[test]
    fn counts_the_packets_of_the_selected_decoder_only() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        (0..3).for_each(|pts| arrivals.note(1, Some(pts), pts > 0, now));
        (0..9).for_each(|pts| arrivals.note(2, Some(pts), true, now));
        arrivals.set_codec(1, "video/x-h264");
        arrivals.select(1);
        assert_eq!((arrivals.packets(), arrivals.shown()), (3, 2));
        assert_eq!((arrivals.codec().as_deref(), arrivals.take(7)), (Some("video/x-h264"), None));
    }
}
