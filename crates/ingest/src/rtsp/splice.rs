//! Joins the RTP streams of a camera into one continuous stream with one SSRC.
//!
//! A camera that restarts its encoder continues with another SSRC, sequence number and timestamp. GStreamer's
//! `rtpbin` treats that as another participant, and outputs its packets at another pad. This module renumbers the
//! packets instead, so that the jitter buffer, the depayloader and the decoder see no change.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The first packet of a new SSRC.
///
/// The SSRC is accepted when the packet with the next sequence number follows (RFC 3550, appendix A.1).
#[derive(Debug)]
struct Candidate {
    ssrc: u32,
    seq: u16,
    packet: Vec<u8>,
}

/// The SSRC that is currently received, and its renumbering.
#[derive(Debug)]
struct Current {
    ssrc: u32,
    /// Offsets that are added to the camera's sequence numbers and timestamps.
    seq_offset: u16,
    ts_offset: u32,
    /// Sequence number, RTP timestamp and arrival time of the latest packet, before renumbering.
    seq: u16,
    ts: u32,
    at: Instant,
}

/// Renumbers RTP and RTCP packets so that they form one stream.
#[derive(Debug)]
pub(super) struct Splice {
    clock_rate: u32,
    /// The SSRC of all output packets.
    ssrc: Option<u32>,
    current: Option<Current>,
    candidate: Option<Candidate>,
    /// Previous SSRCs. Their late packets are dropped.
    left: VecDeque<u32>,
    /// A sender report that arrived before its SSRC was accepted.
    early: Option<(u32, Vec<u8>)>,
    bye_at: Option<Instant>,
}

/// The time without packets of the current SSRC after which a previous SSRC is accepted again, and the time after a
/// BYE after which the stream has ended.
const QUIET: Duration = Duration::from_secs(1);

const SENDER_REPORT: u8 = 200;
const BYE: u8 = 203;

impl Splice {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            ssrc: None,
            current: None,
            candidate: None,
            left: VecDeque::new(),
            early: None,
            bye_at: None,
        }
    }

    /// Handles an RTP packet. Returns the renumbered packets to pass on, at most two.
    pub(super) fn rtp(&mut self, mut packet: Vec<u8>, now: Instant) -> Vec<Vec<u8>> {
        let Some(Header { seq, ts, ssrc }) = Header::read(&packet) else { return Vec::new() };
        let clock_rate = self.clock_rate;
        let Some(current) = &mut self.current else {
            self.current = Some(Current { ssrc, seq_offset: 0, ts_offset: 0, seq, ts, at: now });
            self.ssrc = Some(ssrc);
            return vec![packet];
        };
        if current.ssrc == ssrc {
            self.candidate = None;
            self.bye_at = None;
            // A late packet does not move the position back.
            if seq.wrapping_sub(current.seq) < 0x8000 {
                (current.seq, current.ts, current.at) = (seq, ts, now);
            }
            self.renumber(&mut packet);
            return vec![packet];
        }
        if self.left.contains(&ssrc) && now.saturating_duration_since(current.at) < QUIET {
            return Vec::new();
        }
        let believed = self.candidate.take_if(|first| first.ssrc == ssrc && seq == first.seq.wrapping_add(1));
        let Some(Candidate { packet: first, .. }) = believed else {
            self.candidate = Some(Candidate { ssrc, seq, packet });
            return Vec::new();
        };
        let Some(start) = Header::read(&first) else { return Vec::new() };
        let expected =
            (current.ts).wrapping_add(ticks(now.saturating_duration_since(current.at), clock_rate));
        let off = start.ts.wrapping_sub(expected) as i32;
        let ts_offset = if off.unsigned_abs() <= clock_rate {
            current.ts_offset
        } else {
            expected.wrapping_add(current.ts_offset).wrapping_sub(start.ts)
        };
        let seq_offset = current.seq.wrapping_add(current.seq_offset).wrapping_add(1).wrapping_sub(start.seq);
        if self.left.len() == 8 {
            self.left.pop_front();
        }
        self.left.push_back(current.ssrc);
        self.left.retain(|old| *old != ssrc);
        *current = Current { ssrc, seq_offset, ts_offset, seq, ts, at: now };
        self.bye_at = None;
        let mut packets = [first, packet];
        packets.iter_mut().for_each(|packet| self.renumber(packet));
        packets.into()
    }

    /// Handles an RTCP compound packet. Returns the renumbered packet to pass on, if any.
    pub(super) fn rtcp(&mut self, compound: &[u8], now: Instant) -> Vec<Vec<u8>> {
        let Some(current) = &self.current else { return vec![without_bye(compound).0] };
        let (mut kept, goodbyes) = without_bye(compound);
        if goodbyes.contains(&current.ssrc) {
            self.bye_at = Some(now);
        }
        let sender = (kept.get(1) == Some(&SENDER_REPORT)).then(|| word(&kept, 4)).flatten();
        match sender {
            Some(ssrc) if ssrc != current.ssrc => {
                self.early = Some((ssrc, kept));
                Vec::new()
            }
            _ if kept.is_empty() => Vec::new(),
            _ => {
                self.renumber_report(&mut kept);
                vec![kept]
            }
        }
    }

    /// Returns the sender report of the current SSRC that arrived before the SSRC was accepted, if any.
    pub(super) fn early_report(&mut self) -> Option<Vec<u8>> {
        let current = self.current.as_ref()?.ssrc;
        let (_, mut report) = self.early.take_if(|(ssrc, _)| *ssrc == current)?;
        self.renumber_report(&mut report);
        Some(report)
    }

    /// Returns whether the camera has sent BYE and no packet has followed for [`QUIET`].
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.bye_at.is_some_and(|at| now.saturating_duration_since(at) >= QUIET)
    }

    fn renumber(&self, packet: &mut [u8]) {
        let (Some(current), Some(ssrc), Some(header)) = (&self.current, self.ssrc, Header::read(packet))
        else {
            return;
        };
        put(packet, 2, &header.seq.wrapping_add(current.seq_offset).to_be_bytes());
        put(packet, 4, &header.ts.wrapping_add(current.ts_offset).to_be_bytes());
        put(packet, 8, &ssrc.to_be_bytes());
    }

    /// Renumbers a compound packet of the current SSRC.
    fn renumber_report(&self, compound: &mut [u8]) {
        let (Some(current), Some(ssrc)) = (&self.current, self.ssrc) else { return };
        let starts: Vec<_> =
            packets(compound).map(|(start, packet)| (start, packet.get(1).copied())).collect();
        for (start, kind) in starts {
            if word(compound, start + 4) == Some(current.ssrc) {
                // In SR and RR this is the sender's SSRC, in SDES that of the first chunk.
                put(compound, start + 4, &ssrc.to_be_bytes());
            }
            if kind == Some(SENDER_REPORT)
                && let Some(ts) = word(compound, start + 16)
            {
                put(compound, start + 16, &ts.wrapping_add(current.ts_offset).to_be_bytes());
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Header {
    seq: u16,
    ts: u32,
    ssrc: u32,
}

impl Header {
    fn read(packet: &[u8]) -> Option<Self> {
        match packet {
            [flags, _, s1, s0, ..] if packet.len() >= 12 && flags >> 6 == 2 => Some(Self {
                seq: u16::from_be_bytes([*s1, *s0]),
                ts: word(packet, 4)?,
                ssrc: word(packet, 8)?,
            }),
            _ => None,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn ticks(elapsed: Duration, clock_rate: u32) -> u32 {
    (elapsed.as_micros() * u128::from(clock_rate) / 1_000_000) as u32
}

/// Returns the packets of a compound packet with their offsets.
fn packets(compound: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = compound.get(at..at + 4)?;
        let length = 4 * (1 + usize::from(u16::from_be_bytes([head[2], head[3]])));
        let (start, packet) = (at, compound.get(at..at + length)?);
        at += length;
        Some((start, packet))
    })
}

/// Returns the compound packet without its BYE packets, and the SSRCs in these.
fn without_bye(compound: &[u8]) -> (Vec<u8>, Vec<u32>) {
    let (mut kept, mut goodbyes) = (Vec::with_capacity(compound.len()), Vec::new());
    for (_, packet) in packets(compound) {
        if packet.get(1) == Some(&BYE) {
            let sources = usize::from(packet.first().map_or(0, |flags| flags & 0x1f));
            goodbyes.extend((0..sources).filter_map(|n| word(packet, 4 + 4 * n)));
        } else {
            kept.extend_from_slice(packet);
        }
    }
    (kept, goodbyes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, seq: u16, ts: u32) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(seq.to_be_bytes());
        packet.extend(ts.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.push(0x65);
        packet
    }

    fn report(ssrc: u32, ts: u32) -> Vec<u8> {
        let mut report = vec![0x80, SENDER_REPORT, 0, 6];
        report.extend(ssrc.to_be_bytes());
        report.extend([0; 8]);
        report.extend(ts.to_be_bytes());
        report.extend([0; 8]);
        report
    }

    fn bye(ssrc: u32) -> Vec<u8> {
        [[0x81, BYE, 0, 1], ssrc.to_be_bytes()].concat()
    }

    fn numbers(packets: &[Vec<u8>]) -> Vec<(u32, u16, u32)> {
        packets.iter().map(|p| Header::read(p).map(|h| (h.ssrc, h.seq, h.ts)).unwrap()).collect()
    }

    #[test]
    fn a_new_ssrc_continues_the_sequence_numbers_and_timestamps() {
        let (mut splice, start) = (Splice::new(90_000), Instant::now());
        let mut out = splice.rtp(packet(1, 65_535, 0), start);
        let later = start + Duration::from_millis(40);
        assert!(splice.rtp(packet(2, 7, 5_000_000), later).is_empty());
        out.extend(splice.rtp(packet(2, 8, 5_000_000), later));
        out.extend(splice.rtp(packet(2, 9, 5_003_600), later + Duration::from_millis(40)));
        assert_eq!(numbers(&out), [(1, 65_535, 0), (1, 0, 3_600), (1, 1, 3_600), (1, 2, 7_200)]);
    }

    #[test]
    fn continuous_timestamps_are_not_changed() {
        let (mut splice, now) = (Splice::new(90_000), Instant::now());
        splice.rtp(packet(1, 1, 1_000), now);
        splice.rtp(packet(2, 100, 4_600), now);
        let out = splice.rtp(packet(2, 101, 4_600), now);
        assert_eq!(numbers(&out), [(1, 2, 4_600), (1, 3, 4_600)]);
    }

    #[test]
    fn stray_packets_and_a_second_sender_do_not_replace_the_stream() {
        let (mut splice, now) = (Splice::new(90_000), Instant::now());
        splice.rtp(packet(1, 1, 0), now);
        assert!(splice.rtp(packet(9, 50, 0), now).is_empty());
        assert_eq!(splice.rtp(packet(1, 2, 0), now).len(), 1);
        assert!(splice.rtp(packet(9, 51, 0), now).is_empty());
        assert_eq!(splice.rtp(packet(9, 52, 0), now).len(), 2);
        // The first sender's packets count as late until the second sender is silent.
        assert!(splice.rtp(packet(1, 3, 0), now).is_empty() && splice.rtp(packet(1, 4, 0), now).is_empty());
        let later = now + QUIET;
        assert!(splice.rtp(packet(1, 5, 0), later).is_empty());
        assert_eq!(splice.rtp(packet(1, 6, 0), later).len(), 2);
        assert!(splice.rtp(vec![0x80; 11], later).is_empty());
    }

    #[test]
    fn sender_reports_are_rewritten_like_the_packets() {
        let (mut splice, now) = (Splice::new(90_000), Instant::now());
        splice.rtp(packet(1, 1, 0), now);
        assert_eq!(splice.rtcp(&report(1, 5), now), [report(1, 5)]);
        assert!(splice.rtcp(&report(2, 1_000_000), now).is_empty());
        assert_eq!(splice.early_report(), None);
        splice.rtp(packet(2, 1, 1_000_000), now);
        splice.rtp(packet(2, 2, 1_000_000), now);
        assert_eq!(splice.early_report(), Some(report(1, 0)));
        assert_eq!(splice.rtcp(&report(2, 1_003_600), now), [report(1, 3_600)]);
    }

    #[test]
    fn an_rtcp_bye_ends_the_stream_unless_a_new_ssrc_follows() {
        let (mut splice, now) = (Splice::new(90_000), Instant::now());
        splice.rtp(packet(1, 1, 0), now);
        let compound = [report(1, 0), bye(1)].concat();
        assert_eq!(splice.rtcp(&compound, now), [report(1, 0)]);
        assert!(!splice.is_over(now) && splice.is_over(now + QUIET));
        splice.rtp(packet(2, 1, 0), now);
        splice.rtp(packet(2, 2, 0), now);
        assert!(!splice.is_over(now + QUIET));
        assert!(splice.rtcp(&bye(1), now).is_empty() && !splice.is_over(now + QUIET));
    }
}
