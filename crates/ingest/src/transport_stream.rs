//! Keeps damaged frames of MPEG transport streams.
//!
//! GStreamer's `tsdemux` discards a whole frame if one of its packets is missing, which it detects by a gap in the
//! continuity counters (ISO/IEC 13818-1, section 2.4.3.3). If one packet in thirty is lost, most frames would be
//! discarded, although decoders can conceal nearly all of the errors. So this module renumbers the counters without
//! gaps before the demuxer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use gst::prelude::*;
use gstreamer as gst;

/// Closes the gaps in all transport streams in `pipeline`, and adds their number to `gaps`.
pub(crate) fn watch(pipeline: &gst::Pipeline, gaps: &Arc<AtomicU64>) {
    let gaps = Arc::downgrade(gaps);
    pipeline.connect_deep_element_added(move |_, _, element| {
        if element.factory().is_none_or(|factory| factory.name() != "tsdemux") {
            return;
        }
        let Some(pad) = element.static_pad("sink") else { return };
        let (repair, gaps) = (Mutex::new(Repair::default()), gaps.clone());
        let data = gst::PadProbeType::BUFFER;
        // `tsdemux` pulls data from files. Other sources push data to it.
        pad.add_probe(data | gst::PadProbeType::PUSH | gst::PadProbeType::PULL, move |_, info| {
            let (Ok(mut repair), Some(gaps)) = (repair.lock(), gaps.upgrade()) else {
                return gst::PadProbeReturn::Remove;
            };
            let pulled = info.mask.contains(gst::PadProbeType::PULL).then_some(info.offset);
            if let Some(buffer) = info.buffer_mut()
                && let Ok(mut map) = buffer.make_mut().map_writable()
            {
                gaps.fetch_add(repair.close(&mut map, pulled), Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
    });
}

const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// The distances between packets in bytes: as broadcast, with a timestamp before each packet (Blu-ray, AVCHD), and
/// with error correction after each packet.
const STRIDES: [usize; 3] = [PACKET, 192, 204];

/// The number of consecutive packets that must start with the sync byte.
const IN_SYNC: usize = 4;

/// Rewrites the continuity counters of the elementary streams.
#[derive(Debug, Default)]
struct Repair {
    streams: BTreeMap<u16, Stream>,
    /// If the next data continue the previous data: the bytes up to the next packet, and the distance between
    /// packets.
    next: Option<(usize, usize)>,
    /// The first bytes of a packet whose header continues in the next data.
    split: Vec<u8>,
    /// The offset in the file at which the previous data end.
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    /// The counter as received, and as rewritten.
    came: u8,
    given: u8,
}

impl Repair {
    /// Closes the gaps in `data` and returns their number.
    ///
    /// `offset` is the position in the file for data that were pulled. Data without it continue the previous data.
    fn close(&mut self, data: &mut [u8], offset: Option<u64>) -> u64 {
        if let Some(offset) = offset {
            if offset != self.end {
                // The demuxer performed a seek, to find the file's length or to restart.
                *self = Self::default();
            }
            self.end = offset + data.len() as u64;
        }
        let mut gaps = u64::from(self.split_packet(data));
        let mut at = 0;
        loop {
            let in_sync =
                self.next.take().filter(|(skip, _)| data.get(at + skip).is_none_or(|byte| *byte == SYNC));
            let Some((skip, stride)) = in_sync.or_else(|| find_sync(&data[at..])) else { return gaps };
            at += skip;
            if at >= data.len() {
                self.next = Some((at - data.len(), stride));
                return gaps;
            }
            let end = data.len().min(at + PACKET);
            match &mut data[at..end] {
                [_, high, low, flags, rest @ ..] => {
                    gaps += u64::from(self.packet([*high, *low], flags, rest));
                }
                start => self.split = start.to_vec(),
            }
            self.next = Some((stride, stride));
        }
    }

    /// Rewrites the counter of a packet whose header started in the previous data. Returns whether a gap preceded
    /// it.
    fn split_packet(&mut self, data: &mut [u8]) -> bool {
        let split = std::mem::take(&mut self.split);
        let missing = 4 - split.len().min(3);
        if split.is_empty() || data.len() < missing {
            return false;
        }
        let (head, rest) = data.split_at_mut(missing);
        let header: Vec<u8> = split.iter().chain(head.iter()).copied().collect();
        let ([_, high, low, _], Some(flags)) = (header.as_slice(), head.last_mut()) else { return false };
        let rest = &rest[..rest.len().min(PACKET - 4)];
        self.packet([*high, *low], flags, rest)
    }

    /// Rewrites the counter in the `flags` of a packet, whose end may be missing. Returns whether a gap preceded it.
    fn packet(&mut self, [high, low]: [u8; 2], flags: &mut u8, rest: &[u8]) -> bool {
        let pid = u16::from(high & 0x1f) << 8 | u16::from(low);
        let (has_adaptation, has_payload) = (*flags & 0x20 != 0, *flags & 0x10 != 0);
        if !has_payload {
            return false;
        }
        let adaptation = match rest.first() {
            Some(length) if has_adaptation => usize::from(*length) + 1,
            _ => 0,
        };
        let is_announced = adaptation > 1 && rest.get(1).is_some_and(|flags| flags & 0x80 != 0);
        let starts =
            high & 0x40 != 0 && rest.get(adaptation..).is_some_and(|payload| payload.starts_with(&[0, 0, 1]));
        let came = *flags & 15;
        let Some(stream) = self.streams.get_mut(&pid) else {
            // Only elementary streams are rewritten. In tables the demuxer has to detect gaps.
            if starts {
                self.streams.insert(pid, Stream { came, given: came });
            }
            return false;
        };
        let is_repeated = came == stream.came;
        let is_gap = !is_repeated && !is_announced && came != (stream.came + 1) & 15;
        let given = match () {
            () if is_announced => came,
            () if is_repeated => stream.given,
            () => (stream.given + 1) & 15,
        };
        *stream = Stream { came, given };
        *flags = *flags & 0xf0 | given;
        is_gap
    }
}

/// Returns the offset of the first packet, and the distance between packets.
fn find_sync(data: &[u8]) -> Option<(usize, usize)> {
    let is_sync = |at: usize, stride: usize| {
        (0..IN_SYNC).all(|packet| data.get(at + packet * stride).is_none_or(|byte| *byte == SYNC))
    };
    (0..data.len()).find_map(|at| {
        let stride = STRIDES.into_iter().find(|stride| data[at] == SYNC && is_sync(at, *stride))?;
        Some((at, stride))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIDEO: u16 = 0x100;

    fn packet(pid: u16, counter: u8, starts: bool) -> Vec<u8> {
        let mut packet = vec![0xff; PACKET];
        let [high, low] = pid.to_be_bytes();
        packet[..4].copy_from_slice(&[SYNC, high | if starts { 0x40 } else { 0 }, low, 0x10 | counter & 15]);
        if starts {
            packet[4..7].copy_from_slice(&[0, 0, 1]);
        }
        packet
    }

    /// Returns a stream with these counters, which are taken modulo 16.
    fn stream(pid: u16, counters: impl IntoIterator<Item = u8>) -> Vec<u8> {
        counters.into_iter().enumerate().flat_map(|(i, counter)| packet(pid, counter, i % 8 == 0)).collect()
    }

    fn counters(data: &[u8]) -> Vec<u8> {
        data.chunks_exact(PACKET).map(|packet| packet[3] & 15).collect()
    }

    #[test]
    fn a_gap_is_closed_and_counted() {
        let mut data = stream(VIDEO, [3, 4, 5, 9, 10, 15, 0, 1]);
        assert_eq!(Repair::default().close(&mut data, None), 2);
        assert_eq!(counters(&data), [3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_stream_without_gaps_is_not_changed() {
        let whole = stream(VIDEO, (0..200).map(|i| i % 16));
        // Chunk sizes that are not multiples of a packet split packet headers.
        for chunk in [PACKET, PACKET + 1, PACKET + 2, PACKET + 3, 50 * PACKET, 4_096, 1_000] {
            let mut data = whole.clone();
            let mut repair = Repair::default();
            assert_eq!(
                data.chunks_mut(chunk).map(|chunk| repair.close(chunk, None)).sum::<u64>(),
                0,
                "{chunk}"
            );
            assert!(data == whole, "{chunk}");
        }
    }

    #[test]
    fn repeated_packets_and_signaled_discontinuities_are_not_gaps() {
        let mut data = stream(VIDEO, [3, 4, 4, 5]);
        let mut announced = packet(VIDEO, 12, false);
        announced[3] |= 0x20;
        announced[4..6].copy_from_slice(&[1, 0x80]);
        data.extend(announced);
        data.extend(packet(VIDEO, 13, false));
        let before = data.clone();
        assert_eq!(Repair::default().close(&mut data, None), 0);
        assert!(data == before);
    }

    #[test]
    fn tables_are_not_changed() {
        let mut data: Vec<u8> =
            [0, 5, 7, 1].into_iter().flat_map(|counter| packet(0, counter, false)).collect();
        let before = data.clone();
        assert_eq!(Repair::default().close(&mut data, None), 0);
        assert!(data == before);
    }

    #[test]
    fn timestamped_packets_and_leading_garbage_are_accepted() {
        let mut data = vec![1, 2, SYNC, 4, 5];
        for (i, counter) in [3, 4, 5, 9, 10].into_iter().enumerate() {
            data.extend([0; 4]);
            data.extend(packet(VIDEO, counter, i == 0));
        }
        assert_eq!(Repair::default().close(&mut data, None), 1);
    }

    #[test]
    fn a_seek_is_not_a_gap() {
        let mut repair = Repair::default();
        assert_eq!(repair.close(&mut stream(VIDEO, [3, 4, 5, 6]), Some(0)), 0);
        assert_eq!(repair.close(&mut stream(VIDEO, [9, 10, 11, 12]), Some(1_000_000)), 0);
        assert_eq!(repair.close(&mut stream(VIDEO, [3, 4, 5, 6]), Some(0)), 0);
        assert_eq!(repair.close(&mut stream(VIDEO, [7, 9, 10, 11]), Some(4 * PACKET as u64)), 1);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_keep_their_length(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..10)) {
            let mut repair = Repair::default();
            for mut chunk in chunks {
                let length = chunk.len();
                repair.close(&mut chunk, None);
                prop_assert_eq!(chunk.len(), length);
            }
        }

        #[test]
        fn repaired_counters_have_no_gap_after_packet_loss(
            kept in prop::collection::vec(prop::bool::weighted(0.9), 20..300), chunk in 1usize..2_000,
        ) {
            let whole = stream(VIDEO, (0..kept.len()).map(|i| (i % 16) as u8));
            let packets = whole.chunks_exact(PACKET).zip(&kept).enumerate();
            // The first packet starts the stream. After 15 lost packets the next one looks like a repeated one.
            let left = packets.filter(|(i, (_, kept))| *i == 0 || **kept).map(|(_, (packet, _))| packet);
            let mut data = left.collect::<Vec<_>>().concat();
            let mut repair = Repair::default();
            let chunk = chunk.next_multiple_of(PACKET);
            data.chunks_mut(chunk).for_each(|chunk| { repair.close(chunk, None); });
            let counters = counters(&data);
            prop_assert!(counters.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 15 || pair[1] == pair[0]));
        }
    }
}
