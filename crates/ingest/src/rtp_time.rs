//! Capture times from the camera's RTCP sender reports (RFC 3550, section 6.4.1).
//!
//! A sender report maps an RTP timestamp to a wall-clock time. This module matches the reports with the RTP packets
//! that enter the depayloader. There each packet still has its RTP timestamp, and already has the presentation time
//! that its frame will have. Behind the depayloader the two can no longer be matched: GStreamer's depayloaders drop
//! `GstReferenceTimestampMeta` from access units that start with parameter sets, which for most cameras means from
//! every key frame.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use gst::prelude::*;
use gstreamer as gst;
use lookout_schema::{CameraId, Timestamp};

use crate::wall_clock::{Observed, WallClock};

/// Maps the RTP time of one connection to the camera's wall clock.
#[derive(Debug)]
pub(crate) struct RtpTime {
    camera: CameraId,
    state: Mutex<State>,
}

/// The fields of an RTP packet that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtpPacket {
    pub(crate) ssrc: u32,
    pub(crate) timestamp: u32,
    /// The presentation time of the packet's frame in nanoseconds.
    pub(crate) pts: Option<u64>,
}

/// The fields of a sender report that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderReport {
    pub(crate) ssrc: u32,
    pub(crate) timestamp: u32,
    /// None if the camera states that it has no wall clock.
    pub(crate) wall: Option<Timestamp>,
}

/// A frame's capture time by the camera's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CameraTime {
    pub(crate) time: Timestamp,
    /// Increases each time the camera's clock is stepped.
    pub(crate) generation: u64,
}

#[derive(Debug, Default)]
struct State {
    clock_rate: Option<i64>,
    last: Option<(RtpPacket, i64)>,
    /// Presentation times in nanoseconds and media times in RTP ticks of the latest frames.
    recent: VecDeque<(u64, i64)>,
    /// A report for which no packet of a similar RTP time has arrived yet.
    pending: Option<SenderReport>,
    wall: Option<WallClock>,
    generation: u64,
    /// Number of consecutive reports that contradicted the mapping.
    contradictions: u32,
    /// Whether the reports contradict each other or the RTP time. They are then ignored for the rest of the
    /// connection.
    is_distrusted: bool,
    disbelief_logged: bool,
}

/// Reports that differ from the local clock by more than this are ignored.
///
/// No network delay is this long. Cameras whose clock was never set count from 1970 or from power-on, and those with
/// a wrong time zone are hours off. Neither gives valid capture times.
const MAX_AGE_MS: u64 = 600_000;

/// The number of consistent reports after which a step of the camera's clock is accepted.
const CONFIRMATIONS: u32 = 3;

/// The number of consecutive contradicting reports after which all further reports are ignored.
const MAX_CONTRADICTIONS: u32 = 5;

/// A report applies only if the latest packet's RTP time is at most this far away.
const MAX_REPORT_DISTANCE_S: i64 = 5;

/// Number of frames whose media time is kept. It exceeds the number of frames that a decoder holds.
const RECENT: usize = 256;

/// In Hz, used for nearly all video. The caps normally state the rate before the first packet.
const USUAL_CLOCK_RATE: i64 = 90_000;

impl RtpTime {
    pub(crate) fn new(camera: CameraId) -> Arc<Self> {
        Arc::new(Self { camera, state: Mutex::default() })
    }

    pub(crate) fn set_clock_rate(&self, hz: u32) {
        if hz > 0 {
            self.state().clock_rate = Some(i64::from(hz));
        }
    }

    /// Records a packet that enters the depayloader.
    pub(crate) fn packet(&self, packet: RtpPacket) {
        let mut state = self.state();
        state.advance(packet);
        state.pair(&self.camera);
    }

    /// Records a sender report that arrived at `now`.
    pub(crate) fn sender_report(&self, report: SenderReport, now: Timestamp) {
        let mut state = self.state();
        let Some(time) = report.wall.filter(|_| !state.is_distrusted) else { return };
        if now.ms_since(time).unsigned_abs() > MAX_AGE_MS {
            if !state.disbelief_logged {
                state.disbelief_logged = true;
                let known = state.wall.is_some();
                let camera = &self.camera;
                if known {
                    tracing::warn!(%camera, %time, arrival = %now, "the camera's clock jumped by more than ten minutes; \
                         frames are dated by its earlier sender reports; check the camera's time settings");
                } else {
                    tracing::warn!(%camera, %time, arrival = %now, "the camera's clock is not set; frames are dated by \
                         their arrival; set the camera's time, or an NTP server in the camera");
                }
            }
            return;
        }
        state.pending = Some(report);
        state.pair(&self.camera);
    }

    /// Returns the capture time of the frame at `pts` by the camera's clock, or None while the clock is unknown.
    pub(crate) fn read(&self, pts: Option<u64>) -> Option<CameraTime> {
        let mut state = self.state();
        let media = state.media(pts)?;
        let generation = state.generation;
        let time = Timestamp::from_unix_us(state.wall.as_mut()?.read(media));
        Some(CameraTime { time, generation })
    }

    // Recovering from a poisoned lock is safe, because each field is valid on its own.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rate(&self) -> i64 {
        self.clock_rate.unwrap_or(USUAL_CLOCK_RATE)
    }

    fn us(&self, ticks: i64) -> i64 {
        ticks.saturating_mul(1_000_000) / self.rate()
    }

    /// Advances the media time to `packet`.
    ///
    /// Uses the RTP timestamps as long as they are continuous, and the presentation times where the RTP time
    /// restarts or jumps.
    fn advance(&mut self, packet: RtpPacket) {
        let rate = self.rate();
        let ticks = match self.last {
            None => 0,
            Some((last, ticks)) => {
                let step = i64::from(packet.timestamp.wrapping_sub(last.timestamp) as i32);
                let elapsed = packet.pts.zip(last.pts).map(|(now, then)| {
                    let ns = i128::from(now) - i128::from(then);
                    i64::try_from(ns * i128::from(rate) / 1_000_000_000).unwrap_or(0)
                });
                let goes_on = step.abs() < rate
                    || step > 0
                        && elapsed
                            .is_some_and(|elapsed| step.abs_diff(elapsed) < rate.unsigned_abs() * 3 / 2);
                ticks.saturating_add(if goes_on { step } else { elapsed.unwrap_or(0).max(0) })
            }
        };
        let is_new_frame = self.recent.back().map(|(pts, _)| *pts) != packet.pts;
        if let Some(pts) = packet.pts.filter(|_| is_new_frame) {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((pts, ticks));
        }
        self.last = Some((packet, ticks));
    }

    /// Applies the pending report if the latest packet has the same SSRC and a similar RTP time.
    fn pair(&mut self, camera: &CameraId) {
        let (Some(report), Some((packet, ticks))) = (self.pending, self.last) else { return };
        let distance = i64::from(report.timestamp.wrapping_sub(packet.timestamp) as i32);
        if report.ssrc != packet.ssrc || distance.abs() > MAX_REPORT_DISTANCE_S * self.rate() {
            return;
        }
        self.pending = None;
        let Some(wall) = report.wall.map(Timestamp::as_unix_us) else { return };
        let media = self.us(ticks.saturating_add(distance));
        let Some(clock) = &mut self.wall else {
            self.wall = Some(WallClock::new(media, wall));
            self.generation += 1;
            return;
        };
        match clock.observe(media, wall, CONFIRMATIONS) {
            Observed::Agrees => self.contradictions = 0,
            Observed::Stepped => {
                tracing::warn!(%camera, "the camera's clock was stepped; a new session starts");
                self.contradictions = 0;
                self.generation += 1;
            }
            Observed::Contradicts => {
                self.contradictions += 1;
                if self.contradictions >= MAX_CONTRADICTIONS {
                    tracing::warn!(%camera, "the camera's sender reports contradict each other or its RTP timestamps; \
                         frames are dated by their arrival");
                    self.is_distrusted = true;
                    self.wall = None;
                }
            }
        }
    }

    /// Returns the media time of the frame at `pts`, in microseconds.
    fn media(&self, pts: Option<u64>) -> Option<i64> {
        let (_, latest) = self.last?;
        let Some(pts) = pts else { return Some(self.us(latest)) };
        if let Some((_, ticks)) = self.recent.iter().rev().find(|(known, _)| *known == pts) {
            return Some(self.us(*ticks));
        }
        // A parser gave the frame a time that no packet had. Count from the nearest earlier frame.
        let before = self.recent.iter().filter(|(known, _)| *known < pts).max_by_key(|(known, _)| *known);
        let (known, ticks) = *before.or(self.recent.front())?;
        let ns = i128::from(pts) - i128::from(known);
        Some(self.us(ticks).saturating_add(i64::try_from(ns / 1_000).unwrap_or(0)))
    }
}

/// Records all RTP packets and sender reports of `pipeline` in `times`.
pub(crate) fn watch(pipeline: &gst::Pipeline, times: &Arc<RtpTime>) {
    let times = Arc::downgrade(times);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else { return };
        if factory.has_type(gst::ElementFactoryType::DEPAYLOADER) {
            if let Some(pad) = element.static_pad("sink") {
                watch_packets(&pad, Weak::clone(&times));
            }
        } else if factory.name() == "rtpsession" {
            let times = Weak::clone(&times);
            element.connect_pad_added(move |_, pad| {
                if pad.name() == "recv_rtcp_sink" {
                    watch_reports(pad, Weak::clone(&times));
                }
            });
        }
    });
}

fn watch_packets(pad: &gst::Pad, times: Weak<RtpTime>) {
    let kinds =
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        let Some(times) = times.upgrade() else { return gst::PadProbeReturn::Remove };
        if let Some(buffer) = info.buffer() {
            note_packet(&times, buffer);
        } else if let Some(list) = info.buffer_list() {
            list.iter().for_each(|buffer| note_packet(&times, buffer));
        } else if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && let Some(rate) = caps.caps().structure(0).and_then(|caps| caps.get::<i32>("clock-rate").ok())
        {
            times.set_clock_rate(u32::try_from(rate).unwrap_or(0));
        }
        gst::PadProbeReturn::Ok
    });
}

fn note_packet(times: &RtpTime, buffer: &gst::BufferRef) {
    let mut header = [0; 12];
    if buffer.copy_to_slice(0, &mut header).is_ok()
        && let Some(packet) = RtpPacket::parse(&header, buffer.pts().map(gst::ClockTime::nseconds))
    {
        times.packet(packet);
    }
}

fn watch_reports(pad: &gst::Pad, times: Weak<RtpTime>) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(times) = times.upgrade() else { return gst::PadProbeReturn::Remove };
        if let Some(map) = info.buffer().and_then(|buffer| buffer.map_readable().ok()) {
            let now = Timestamp::now();
            sender_reports(&map).for_each(|report| times.sender_report(report, now));
        }
        gst::PadProbeReturn::Ok
    });
}

impl RtpPacket {
    /// Parses the fixed header (RFC 3550, section 5.1).
    fn parse(header: &[u8; 12], pts: Option<u64>) -> Option<Self> {
        let [first, _, _, _, a, b, c, d, e, f, g, h] = *header;
        let (timestamp, ssrc) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        (first >> 6 == 2).then_some(Self { ssrc, timestamp, pts })
    }
}

/// Returns the sender reports of a compound RTCP packet.
fn sender_reports(compound: &[u8]) -> impl Iterator<Item = SenderReport> {
    const SENDER_REPORT: u8 = 200;
    let mut rest = compound;
    std::iter::from_fn(move || {
        while let [first, kind, high, low, ..] = *rest {
            let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
            let packet = rest.get(..length)?;
            rest = &rest[length..];
            if first >> 6 != 2 {
                return None;
            }
            if kind == SENDER_REPORT && packet.len() >= 20 {
                return Some(sender_report(packet));
            }
        }
        None
    })
}

/// Parses a sender report. `packet` must have at least 20 bytes.
fn sender_report(packet: &[u8]) -> SenderReport {
    let word = |at: usize| packet[at..at + 4].iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
    let (seconds, fraction) = (u64::from(word(8)), u64::from(word(12)));
    // Seconds since 1900 wrap around in 2036. If the highest bit is clear, they count from then (RFC 4330, section
    // 3).
    let era = if seconds >> 31 == 1 { 0 } else { 1u64 << 32 };
    let ns = (seconds + era) * 1_000_000_000 + ((fraction * 1_000_000_000) >> 32);
    // A camera without a clock sends 0 (RFC 3550, section 6.4.1).
    let wall = (seconds != 0 || fraction != 0).then(|| Timestamp::from_ntp_ns(ns));
    SenderReport { ssrc: word(4), timestamp: word(16), wall }
}

#[cfg(test)]
mod tests;
