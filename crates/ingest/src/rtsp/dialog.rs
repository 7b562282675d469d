//! Requests and responses on the control connection.

use std::{
    io::PipeReader,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use gio::prelude::*;
use gstreamer::glib;
use lookout_config::{CameraSettings, SourceUri};
use lookout_schema::RetryReason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Phase, SharedPhase,
    address::Address,
    dialog_error::DialogError,
    login::{Challenged, Login},
    message::{self, Inbox, Item, Response},
    refusal::Context,
    udp::Ports,
    wire::{Read, Wire},
};
use crate::Fault;

/// For how long [`Dialog::tear_down`] waits for the response to TEARDOWN.
const TEARDOWN: Duration = Duration::from_millis(100);

/// What [`Dialog::next`] received.
#[derive(Debug)]
pub(super) enum Event {
    Response(Response),
    /// An interleaved packet or a datagram, RTP or RTCP.
    Media {
        rtcp: bool,
        packet: Vec<u8>,
    },
    /// The deadline passed.
    Nothing,
}

/// How RTP and RTCP packets are received.
#[derive(Debug)]
pub(super) enum Media {
    Interleaved { rtp: u8, rtcp: u8 },
    Udp(Ports),
}

/// A dialog with a camera: the control connection and the state of the RTSP session.
pub(super) struct Dialog {
    pub(super) context: Context,
    pub(super) media: Option<Media>,
    /// The session id, known from SETUP on.
    pub(super) session: Option<String>,
    /// RTP and RTCP packets that arrived while [`Dialog`] waited for a response. The flag marks RTCP.
    pub(super) early: Vec<(bool, Vec<u8>)>,
    pub(super) phase: Arc<SharedPhase>,
    cancellable: gio::Cancellable,
    wake: PipeReader,
    pub(super) address: Address,
    verify: bool,
    patience: Duration,
    wire: Wire,
    inbox: Inbox,
    cseq: u32,
    pub(super) login: Login,
    /// The methods in the response to OPTIONS, in upper case.
    pub(super) public: Option<String>,
    session_uri: Option<String>,
}

impl Dialog {
    /// Connects to the camera.
    pub(super) fn new(
        settings: &CameraSettings,
        context: Context,
        cancellable: gio::Cancellable,
        wake: PipeReader,
        phase: Arc<SharedPhase>,
    ) -> Result<Self, DialogError> {
        let SourceUri::Rtsp { location, credentials } = &settings.uri else {
            return Err(context.fault(RetryReason::PipelineError, "this is not an RTSP address").into());
        };
        let address = Address::parse(location)
            .ok_or_else(|| context.fault(RetryReason::NotFound, "this is not a valid RTSP address"))?;
        let (verify, patience) = (settings.tls_verify, settings.connect_timeout);
        let wire = connect(&address, verify, patience, &cancellable, &context)?;
        Ok(Self {
            context,
            media: None,
            session: None,
            early: Vec::new(),
            phase,
            cancellable,
            wake,
            address,
            verify,
            patience,
            wire,
            inbox: Inbox::default(),
            cseq: 0,
            login: Login::new(credentials.clone(), false),
            public: None,
            session_uri: None,
        })
    }

    /// Replaces the control connection with a new one.
    pub(super) fn reconnect(&mut self) -> Result<(), DialogError> {
        self.wire = connect(&self.address, self.verify, self.patience, &self.cancellable, &self.context)?;
        self.inbox = Inbox::default();
        Ok(())
    }

    /// Sends a request and returns its response. Authenticates if the camera asks for it.
    pub(super) fn exchange(
        &mut self,
        method: &str,
        uri: &str,
        headers: &[(&str, String)],
    ) -> Result<Response, DialogError> {
        let (mut renewed, mut reconnected) = (false, false);
        loop {
            let with_login = self.send(method, uri, headers);
            let answer = with_login.and_then(|with| Ok((with, self.answer()?)));
            let (with_login, response) = match answer {
                // Some cameras close the connection after an authentication challenge.
                Err(DialogError::Closed | DialogError::Failed(_))
                    if self.login.is_pending() && !reconnected =>
                {
                    reconnected = true;
                    self.reconnect()?;
                    continue;
                }
                other => other?,
            };
            if !matches!(response.code, 401 | 407) {
                if with_login {
                    self.login.accepted();
                }
                return Ok(response);
            }
            match self.login.challenged(&response, with_login) {
                Challenged::Retry if !(with_login && renewed) => renewed = with_login,
                other => return Err(self.context.login(&other, &self.address).into()),
            }
        }
    }

    /// Sends a request. Returns whether it carried credentials.
    pub(super) fn send(
        &mut self,
        method: &str,
        uri: &str,
        headers: &[(&str, String)],
    ) -> Result<bool, DialogError> {
        self.cseq += 1;
        let mut all: Vec<(&str, String)> = headers.to_vec();
        if let Some(session) = &self.session {
            all.push(("Session", session.clone()));
        }
        let login = self.login.header(method, uri);
        let with_login = login.is_some();
        all.extend(login);
        let bytes = message::request(method, uri, self.cseq, &all);
        self.wire.write(&bytes, Some(&self.cancellable)).map_err(broken)?;
        Ok(with_login)
    }

    /// Waits for the response to the last request.
    fn answer(&mut self) -> Result<Response, DialogError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.next(deadline)? {
                // A response without a CSeq is taken as the response to the last request.
                Event::Response(response) if response.cseq().is_none_or(|cseq| cseq >= self.cseq) => {
                    return Ok(response);
                }
                Event::Response(_) => {}
                Event::Media { rtcp, packet } => self.early.push((rtcp, packet)),
                Event::Nothing => return Err(DialogError::Silent),
            }
        }
    }

    /// Returns what the camera sends next, or [`Event::Nothing`] at `deadline`.
    ///
    /// Answers requests of the camera itself.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Event, DialogError> {
        loop {
            if let Some(item) = self.inbox.next().map_err(DialogError::Malformed)? {
                match item {
                    Item::Response(response) => return Ok(Event::Response(response)),
                    Item::Request(request) => {
                        self.wire
                            .write(&message::answer(&request), Some(&self.cancellable))
                            .map_err(broken)?;
                        if request.method == "TEARDOWN" {
                            return Err(DialogError::Closed);
                        }
                    }
                    Item::Data { channel, payload } => match self.media {
                        Some(Media::Interleaved { rtp, .. }) if rtp == channel => {
                            return Ok(Event::Media { rtcp: false, packet: payload });
                        }
                        Some(Media::Interleaved { rtcp, .. }) if rtcp == channel => {
                            return Ok(Event::Media { rtcp: true, packet: payload });
                        }
                        _ => {}
                    },
                }
                continue;
            }
            let mut buffer = [0; 16 << 10];
            match self.wire.read(&mut buffer).map_err(broken)? {
                Read::Bytes(read) => self.inbox.push(buffer.get(..read).unwrap_or_default()),
                Read::End => return Err(DialogError::Closed),
                Read::Nothing => {
                    if let Some(event) = self.wait(deadline, true)? {
                        return Ok(event);
                    }
                }
            }
        }
    }

    /// Returns the next datagram, or [`Event::Nothing`] at `deadline`. For use after the control connection was
    /// closed.
    pub(super) fn next_datagram(&mut self, deadline: Instant) -> Result<Event, DialogError> {
        Ok(self.wait(deadline, false)?.unwrap_or(Event::Nothing))
    }

    /// Waits until a socket is readable. Returns None if that is the control connection, or if the wait was cut
    /// short.
    fn wait(&mut self, deadline: Instant, control: bool) -> Result<Option<Event>, DialogError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Some(Event::Nothing));
        }
        let mut sockets = vec![PollFd::new(&self.wake, PollFlags::IN)];
        if control {
            sockets.push(PollFd::from_borrowed_fd(self.wire.socket().as_fd(), PollFlags::IN));
        }
        if let Some(Media::Udp(ports)) = &self.media {
            sockets.extend(
                ports.sockets().map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)),
            );
        }
        // The system limits the timeout. The caller's loop continues a longer wait.
        let timeout = Timespec::try_from(left.min(Duration::from_secs(3600))).ok();
        if let Err(error) = poll(&mut sockets, timeout.as_ref())
            && error != rustix::io::Errno::INTR
        {
            let error = glib::Error::new(gio::IOErrorEnum::Failed, &error.to_string());
            return Err(DialogError::Failed(error));
        }
        if sockets.first().is_some_and(|wake| !wake.revents().is_empty()) {
            return Err(DialogError::Stopped);
        }
        if let Some(Media::Udp(ports)) = &self.media
            && let Some((rtcp, packet)) = ports.receive()
        {
            return Ok(Some(Event::Media { rtcp, packet }));
        }
        Ok(None)
    }

    /// Sends an RTCP packet to the camera.
    pub(super) fn send_report(&mut self, packet: &[u8]) -> Result<(), DialogError> {
        match &self.media {
            Some(Media::Interleaved { rtcp, .. }) => {
                let Some(bytes) = message::interleaved(*rtcp, packet) else { return Ok(()) };
                self.wire.write(&bytes, Some(&self.cancellable)).map_err(broken)
            }
            Some(Media::Udp(ports)) => {
                ports.report(packet);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Ends the session with TEARDOWN, so that the camera frees it for the next connection.
    ///
    /// Waits for the response for at most [`TEARDOWN`].
    pub(super) fn tear_down(&mut self) {
        let (Some(_), Some(uri)) = (&self.session, self.session_uri.clone()) else { return };
        self.cseq += 1;
        let mut headers: Vec<(&str, String)> =
            self.session.iter().map(|id| ("Session", id.clone())).collect();
        headers.extend(self.login.header("TEARDOWN", &uri));
        self.wire.socket().set_timeout(1);
        let bytes = message::request("TEARDOWN", &uri, self.cseq, &headers);
        if self.wire.write(&bytes, None).is_err() {
            return;
        }
        self.wire.shut_down();
        // If a connection is closed while it has unread bytes, TCP resets it, and the request may be lost. So the
        // unread bytes are read first.
        let deadline = Instant::now() + TEARDOWN;
        let mut buffer = [0; 16 << 10];
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let mut sockets = [PollFd::from_borrowed_fd(self.wire.socket().as_fd(), PollFlags::IN)];
            let Ok(timeout) = Timespec::try_from(left) else { return };
            if !matches!(poll(&mut sockets, Some(&timeout)), Ok(1..))
                || rustix::net::recv(self.wire.socket(), &mut buffer, rustix::net::RecvFlags::DONTWAIT)
                    .is_ok_and(|(_, read)| read == 0)
            {
                return;
            }
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    pub(super) fn set_session_uri(&mut self, uri: &str) {
        self.session_uri = Some(uri.to_owned());
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.address.tls
    }

    pub(super) fn lists(&self, method: &str) -> bool {
        self.public.as_ref().is_some_and(|public| public.contains(method))
    }

    /// Returns the camera's IP address and the local one.
    pub(super) fn addresses(&self) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
        self.wire.addresses()
    }

    /// Updates the authentication state from the response to a keep-alive, which was sent without waiting for it.
    pub(super) fn renew_login(&mut self, response: &Response) {
        if matches!(response.code, 401 | 407) {
            let _ = self.login.challenged(response, true);
        }
    }

    /// Converts an error to a fault with a message for the user.
    pub(super) fn fault(&self, broken: DialogError) -> Fault {
        self.context.broken(broken, self.phase.get(), &self.address, self.patience)
    }
}

fn connect(
    address: &Address,
    verify: bool,
    patience: Duration,
    cancellable: &gio::Cancellable,
    context: &Context,
) -> Result<Wire, DialogError> {
    let wire = Wire::connect(address, verify, patience, cancellable, context);
    wire.map_err(
        |fault| if cancellable.is_cancelled() { DialogError::Stopped } else { DialogError::Fault(fault) },
    )
}

fn broken(error: glib::Error) -> DialogError {
    match error.kind::<gio::IOErrorEnum>() {
        Some(gio::IOErrorEnum::Cancelled) => DialogError::Stopped,
        Some(gio::IOErrorEnum::TimedOut) => DialogError::Silent,
        _ => DialogError::Failed(error),
    }
}
