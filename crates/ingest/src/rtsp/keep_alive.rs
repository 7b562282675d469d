//! When and how an RTSP session is kept alive.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::message::Response;

/// The session timeout where the camera states none (RFC 2326, section 12.37).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that closes this soon after a keep-alive was closed because of it.
const BECAUSE: Duration = Duration::from_secs(2);

/// The request by which a session is kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    GetParameter,
    Options,
    /// Nothing: the camera closes the connection at any request during playback.
    Nothing,
}

/// What a camera was found not to bear, kept from one connection to the next.
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

/// The keep-alives of one session.
#[derive(Debug)]
pub(super) struct KeepAlive<'a> {
    habits: &'a Habits,
    method: Method,
    interval: Duration,
    started: Instant,
    due: Instant,
    /// When the last request was sent, unless it is answered.
    unanswered: Option<Instant>,
}

impl<'a> KeepAlive<'a> {
    /// Keep-alives at half the session's timeout. `has_get_parameter` says whether the camera lists the method.
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

    /// When the next request is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The method of the request that is to be sent now, if one is.
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

    /// The request is about to be sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.unanswered = Some(now);
    }

    /// Takes the answer to a keep-alive. A camera that does not know the method gets the other one.
    pub(super) fn answered(&mut self, response: &Response) {
        self.unanswered = None;
        if matches!(response.code, 400 | 405 | 451 | 501 | 551) && self.method == Method::GetParameter {
            self.method = Method::Options;
        }
    }

    /// The connection was closed. If a keep-alive caused that, no more are sent, in later sessions neither. If
    /// there were none for as long as the session's timeout, the next session tries the other request.
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

/// Id and timeout in a `Session` header.
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
    fn a_method_that_the_camera_does_not_know_is_replaced() {
        let (habits, now) = (Habits::default(), Instant::now());
        assert_eq!(KeepAlive::new(&habits, None, false, now).take(now + 30 * S), Some("OPTIONS"));
        let mut keep = KeepAlive::new(&habits, None, true, now);
        keep.answered(&answer(454));
        assert_eq!(keep.take(now + 30 * S), Some("GET_PARAMETER"));
        keep.answered(&answer(501));
        assert_eq!(keep.take(now + 60 * S), Some("OPTIONS"));
    }

    #[test]
    fn a_camera_that_closes_at_a_keep_alive_gets_no_more() {
        let (habits, now) = (Habits::default(), Instant::now());
        let mut keep = KeepAlive::new(&habits, None, true, now);
        keep.sent(now + 30 * S);
        keep.closed(now + 31 * S);
        assert_eq!(keep.take(now + 60 * S), None);
        let mut next = KeepAlive::new(&habits, None, true, now);
        assert_eq!(next.take(now + 30 * S), None);
        // Without any it is closed at the session's timeout: perhaps it takes the other request.
        next.closed(now + 59 * S);
        assert_eq!(habits.get(), Method::Nothing);
        next.closed(now + 60 * S);
        assert_eq!(KeepAlive::new(&habits, None, true, now).take(now + 30 * S), Some("OPTIONS"));
    }

    #[test]
    fn a_connection_that_is_lost_otherwise_changes_nothing() {
        let (habits, now) = (Habits::default(), Instant::now());
        let mut keep = KeepAlive::new(&habits, None, true, now);
        keep.sent(now);
        keep.closed(now + 5 * S);
        keep.answered(&answer(200));
        keep.closed(now);
        assert_eq!(habits.get(), Method::GetParameter);
    }

    #[test]
    fn session_headers_are_read() {
        assert_eq!(session("12345678"), ("12345678".into(), None));
        assert_eq!(session("a.b-$7; timeout = 10"), ("a.b-$7".into(), Some(10 * S)));
        assert_eq!(session("x;timeout=0"), ("x".into(), None));
    }
}
