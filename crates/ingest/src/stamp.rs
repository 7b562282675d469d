//! Session, sequence number and capture time of each frame.

use std::{sync::Mutex, sync::MutexGuard, sync::PoisonError, time::Instant};

use lookout_schema::{Clock, SessionId, Timestamp};

use crate::capture::{CaptureClock, FrameTimes};

/// Assigns session, sequence number and capture time to the frames of one connection, in the order in which they
/// leave the decoder.
///
/// The times within a session never decrease. If the clock changes so that times are no longer comparable, the
/// connection continues with a new session.
#[derive(Debug)]
pub(crate) struct Stamper(Mutex<State>);

#[derive(Debug)]
struct State {
    session: SessionId,
    next_seq: u64,
    clock: CaptureClock,
}

/// A frame's identity and capture time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) session: SessionId,
    pub(crate) seq: u64,
    pub(crate) captured_at: Timestamp,
    pub(crate) clock: Clock,
}

impl Stamper {
    pub(crate) fn new(session: SessionId, clock: CaptureClock) -> Self {
        Self(Mutex::new(State { session, next_seq: 0, clock }))
    }

    /// Returns the stamp of the next frame.
    pub(crate) fn frame(&self, times: FrameTimes, arrived_at: Instant) -> Stamp {
        let mut state = self.state();
        let captured = state.clock.read(times, arrived_at);
        if captured.breaks {
            state.session = state.session.next();
            state.next_seq = 0;
        }
        let seq = state.take_seq();
        Stamp { session: state.session, seq, captured_at: captured.at, clock: captured.clock }
    }

    /// Returns the session and sequence number of a frame that cannot be decoded.
    pub(crate) fn undecodable(&self) -> (SessionId, u64) {
        let mut state = self.state();
        (state.session, state.take_seq())
    }

    pub(crate) fn session(&self) -> SessionId {
        self.state().session
    }

    /// Returns the time at which the next pass over a file starts.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        self.state().clock.end()
    }

    // Recovering from a poisoned lock is safe. At worst a sequence number is skipped.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::capture::{FileClock, LiveClock};
    use crate::rtp_time::{RtpPacket, RtpTime, SenderReport};

    #[test]
    fn a_clock_that_steps_back_starts_a_session_and_restarts_seq() {
        let reports = RtpTime::new("cam".parse().unwrap());
        let session = SessionId::generate();
        let stamper = Stamper::new(session, CaptureClock::Live(LiveClock::new(reports.clone())));
        let stamp = |frame: u32| {
            let pts = Some(u64::from(frame) * 40_000_000);
            reports.packet(RtpPacket { ssrc: 1, timestamp: frame * 3_600, pts });
            stamper.frame(FrameTimes { pts, ..FrameTimes::default() }, Instant::now())
        };
        let before = [stamp(0), stamp(1)];
        assert!(before.iter().all(|stamp| (stamp.session, stamp.clock) == (session, Clock::Arrival)));
        let now = Timestamp::now();
        let wall = Some(now - Duration::from_secs(300));
        reports.sender_report(SenderReport { ssrc: 1, timestamp: 3_600, wall }, now);
        let after = [stamp(2), stamp(3)];
        assert!(after.iter().all(|stamp| stamp.session > session && stamp.clock == Clock::Rtcp));
        assert_eq!([before, after].concat().iter().map(|stamp| stamp.seq).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!(stamper.session(), after[1].session);
    }

    #[test]
    fn an_undecodable_frame_has_its_own_seq() {
        let clock = FileClock::new(Timestamp::from_unix_us(0), 25.0);
        let stamper = Stamper::new(SessionId::generate(), CaptureClock::File(clock));
        assert_eq!(stamper.undecodable().1, 0);
        assert_eq!(stamper.frame(FrameTimes::default(), Instant::now()).seq, 1);
    }
}
