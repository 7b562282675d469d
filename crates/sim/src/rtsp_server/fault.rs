//! The faults of a camera, and when they occur.

use std::{str::FromStr, time::Duration};

use thiserror::Error;

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Frames are held for half a second and sent all at once.
    Burst,
    /// Every tenth frame is lost.
    Loss,
    /// No frames are sent, and the connection stays open.
    Silence,
    /// Half of the frames are sent.
    HalfRate,
    /// The frames have a different size.
    Resolution,
    /// The timestamps are ten seconds ahead.
    ClockJump,
    /// The connection is closed; a client that reconnects is accepted.
    Disconnect,
}

impl FaultKind {
    pub const ALL: [(&str, Self); 7] = [
        ("burst", Self::Burst),
        ("loss", Self::Loss),
        ("silence", Self::Silence),
        ("half-rate", Self::HalfRate),
        ("resolution", Self::Resolution),
        ("clock-jump", Self::ClockJump),
        ("disconnect", Self::Disconnect),
    ];
}

/// A fault of one camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub camera: usize,
    pub kind: FaultKind,
    /// Since the server started.
    pub from: Duration,
    pub lasts: Duration,
}

/// A text is not a valid fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a valid fault: use CAMERA:KIND@FROM+SECONDS, such as `2:silence@20+10`, where KIND is burst, loss, \
     silence, half-rate, resolution, clock-jump or disconnect"
)]
pub struct InvalidFault(pub String);

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let parse = || {
            let (camera, rest) = text.split_once(':')?;
            let (kind, when) = rest.split_once('@')?;
            let (from, lasts) = when.split_once('+')?;
            let kind = FaultKind::ALL.iter().find(|(name, _)| *name == kind)?.1;
            let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
            let camera = camera.parse().ok().filter(|camera| *camera > 0)?;
            Some(Self { camera, kind, from: seconds(from)?, lasts: seconds(lasts)? })
        };
        parse().ok_or_else(|| InvalidFault(text.chars().take(80).collect()))
    }
}

impl Fault {
    /// Returns whether the fault is active at `since` after the server started.
    pub fn is_on(&self, since: Duration) -> bool {
        (self.from..self.from.saturating_add(self.lasts)).contains(&since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_faults_and_their_times() {
        let fault: Fault = "2:silence@20+10".parse().unwrap();
        assert_eq!((fault.camera, fault.kind), (2, FaultKind::Silence));
        let on = |s: u64| fault.is_on(Duration::from_secs(s));
        assert!(!on(19) && on(20) && on(29) && !on(30));
        for wrong in
            ["", "2:silence", "0:silence@1+1", "2:sleep@1+1", "2:silence@-1+1", "2:loss@1+nan", "x:loss@1+1"]
        {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
