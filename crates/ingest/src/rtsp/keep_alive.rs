//! When and how an RTSP session is kept alive.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::message::Response;

/// The session timeout if the camera states none (RFC 2326, section 12.37).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// If a connection closes this soon after a keep-alive, the keep-alive is taken as the cause.
const BECAUSE: Duration = Duration::from_secs(2);

/// The request that keeps a session alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    GetParameter,
    Options,
    /// No request: the camera closes the connection at any request during playback.
    Nothing,
}

/// The keep-alive method that a camera tolerates, kept from one connection to the next.
#[derive(Debug, Default)]
pub(crate) struct Habits(Mutex<Option<Method>>);

impl Habits {
    fn get(&self) -> Method {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Method::GetParameter)
    }

    fn set(&self, method: Method) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(method);
    }
}

/// Schedules the keep-alives of one session.
#[derive(Debug)]
pub(super) struct KeepAlive<'a> {
    habits: &'a Habits,
    method: Method,
    interval: Duration,
    started: Instant,
    due: Instant,
    /// When the last keep-alive was sent, unless it has been answered.
    unanswered: Option<Instant>,
}

impl<'a> KeepAlive<'a> {
    /// Schedules keep-alives at half of the session's timeout.
    ///
    /// `has_get_parameter` is whether the camera lists GET_PARAMETER as a supported method.
    pub(super) fn new(
        habits: &'a Habits,
        timeout: Option<Duration>,
        has_get_parameter: bool,
        now: Instant,
    ) -> Self {
        let offered = if has_get_parameter { Method::GetParameter } else { Method::Options };
        let interval = timeout.unwrap_or(DEFAULT_TIMEOUT).max(Duration::from_secs(1)) / 2;
        Self {
            habits,
            method: offered.max(habits.get()),
            interval,
            started: now,
            due: now + interval,
            unanswered: None,
        }
    }

    /// Returns when the next keep-alive is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Returns the method of the keep-alive to send now, if one is due, and schedules the next one.
    pub(super) fn take(&mut self, now: Instant) -> Option<&'static str> {
        if now < self.due {
            return None;
        }
        self.due = now + self.interval;
        match self.method {
            Method::GetParameter => Some("GET_PARAMETER"),
            Method::Options => Some("OPTIONS"),
            Method::Nothing => None,
        }
    }

    /// Records that a keep-alive is about to be sent. Callers must call this before they send it.
    pub(super) fn sent(&mut self, now: Instant) {
        self.unanswered = Some(now);
    }

    /// Handles the response to a keep-alive. If the camera rejects GET_PARAMETER, the next requests are OPTIONS.
    pub(super) fn answered(&mut self, response: &Response) {
        self.unanswered = None;
        if matches!(response.code, 400 | 405 | 451 | 501 | 551) && self.method == Method::GetParameter {
            self.method = Method::Options;
        }
    }

    /// Handles the closing of the connection.
    ///
    /// If a keep-alive caused it, neither this session nor later ones send keep-alives. If the connection closed
    /// without keep-alives after at least the session's timeout, the next session tries OPTIONS.
    pub(super) fn closed(&mut self, now: Instant) {
        if self.unanswered.is_some_and(|at| now.saturating_duration_since(at) < BECAUSE) {
            self.method = Method::Nothing;
            self.habits.set(Method::Nothing);
        } else if self.method == Method::Nothing
            && now.saturating_duration_since(self.started) >= self.interval * 2
        {
            self.habits.set(Method::Options);
        }
    }
}

/// Returns the id and the timeout in a `Session` header.
pub(super) fn session(header: &str) -> (String, Option<Duration>) {
    let mut parts = header.split(';').map(str::trim);
    let id = parts.next().unwrap_or_default().to_owned();
    let seconds = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse::<u32>().ok())?
    });
    (id, seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into())))
}

#[cfg(test)]
mod tests {
    use super::{
        super::message::{Inbox, Item},
        *,
    };

    fn answer(code: u16) -> Response {
        let mut inbox = Inbox::default();
        inbox.push(format!("RTSP/1.0 {code} X\r\n\r\n").as_bytes());
        match inbox.next().unwrap() {
            Some(Item::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn requests_are_sent_at_half_the_timeout() {
        let (habits, now) = (Habits::default(), Instant::now());
        let mut keep = KeepAlive::new(&habits, Some(10 * S), true, now);
        assert_eq!((keep.due(), keep.take(now + 4 * S)), (now + 5 * S, None));
        assert_eq!(keep.take(now + 5 * S), Some("GET_PARAMETER"));
        assert_eq!(keep.due(), now + 10 * S);
        assert_eq!(KeepAlive::new(&habits, None, false, now).due(), now + 30 * S);
    }

    #[test]
    fn an_unsupported_keep_alive_method_is_replaced() {
        let (habits, now) = (Habits::default(), Instant::now());
        assert_eq!(KeepAlive::new(&habits, None, false, now).take(now + 30 * S), Some("OPTIONS"));
        let mut keep = KeepAlive::new(&habits, None, true, now);
        keep.answered(&answer(454));
        assert_eq!(keep.take(now + 30 * S), Some("GET_PARAMETER"));
        keep.answered(&answer(501));
        assert_eq!(keep.take(now + 60 * S), Some("OPTIONS"));
    }

    #[test]
    fn a_camera_that_disconnects_at_a_keep_alive_gets_no_more_of_them() {
        let (habits, now) = (Habits::default(), Instant::now());
        let mut keep = KeepAlive::new(&habits, None, true, now);
        keep.sent(now + 30 * S);
        keep.closed(now + 31 * S);
        assert_eq!(keep.take(now + 60 * S), None);
        let mut next = KeepAlive::new(&habits, None, true, now);
        assert_eq!(next.take(now + 30 * S), None);
        // Without keep-alives the camera closes the connection at the session's timeout. It may accept the other
        // method.
        next.closed(now + 59 * S);
        assert_eq!(habits.get(), Method::Nothing);
        next.closed(now + 60 * S);
        assert_eq!(KeepAlive::new(&habits, None, true, now).take(now + 30 * S), Some("OPTIONS"));
    }

    #[test]
    fn an_unrelated_disconnect_does_not_change_the_keep_alive_method() {
        let (habits, now) = (Habits::default(), Instant::now());
        let mut keep = KeepAlive::new(&habits, None, true, now);
        keep.sent(now);
        keep.closed(now + 5 * S);
        keep.answered(&answer(200));
        keep.closed(now);
        assert_eq!(habits.get(), Method::GetParameter);
    }

    #[test]
    fn session_headers_are_parsed() {
        assert_eq!(session("12345678"), ("12345678".into(), None));
        assert_eq!(session("a.b-$7; timeout = 10"), ("a.b-$7".into(), Some(10 * S)));
        assert_eq!(session("x;timeout=0"), ("x".into(), None));
    }
}
