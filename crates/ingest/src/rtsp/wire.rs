//! The control connection: TCP, or TLS over it, with a bound on every wait.
//!
//! GIO makes the connection, as it does for GStreamer's own elements: it tries all addresses of a host, uses
//! the machine's certificates, and talks to cameras that know only old versions of TLS. rustls was passed over
//! for the last reason.

use std::{cell::Cell, rc::Rc, time::Duration};

use gio::prelude::*;
use gstreamer::glib;
use lookout_schema::RetryReason;

use super::{address::Address, refusal::Context};
use crate::Fault;

/// An open control connection.
pub(super) struct Wire {
    socket: gio::Socket,
    /// Keeps the connection open.
    _stream: gio::IOStream,
    input: gio::PollableInputStream,
    output: gio::OutputStream,
    cancellable: gio::Cancellable,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    /// There is nothing to read yet.
    Nothing,
    /// The camera closed the connection.
    End,
}

impl Wire {
    /// Connects to `address`. Blocks for about `patience` per address of the host, or until `cancellable` is.
    pub(super) fn connect(
        address: &Address,
        verify: bool,
        patience: Duration,
        cancellable: &gio::Cancellable,
        context: &Context,
    ) -> Result<Self, Fault> {
        let client = gio::SocketClient::new();
        client.set_enable_proxy(false);
        // Whole seconds, also for each write and for the TLS handshake.
        client.set_timeout(u32::try_from(patience.as_secs()).unwrap_or(u32::MAX).max(1));
        let host = gio::NetworkAddress::new(&address.host, address.port);
        let connection = SocketClientExt::connect(&client, &host, Some(cancellable))
            .map_err(|error| unreachable(&error, address, patience, context))?;
        let socket = connection.socket();
        // Requests are small, and each waits for its answer.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let stream: gio::IOStream = if address.tls {
            handshake(&connection, verify, cancellable, address, context)?
        } else {
            connection.upcast()
        };
        let input = stream.input_stream().dynamic_cast::<gio::PollableInputStream>().map_err(|_| {
            context.fault(RetryReason::PipelineError, "GIO gave a connection that cannot be polled")
        })?;
        let output = stream.output_stream();
        Ok(Self { socket, _stream: stream, input, output, cancellable: cancellable.clone() })
    }

    /// To wait for; there may be decrypted bytes to read although it is not readable.
    pub(super) fn socket(&self) -> &gio::Socket {
        &self.socket
    }

    /// Reads what there is.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Read, glib::Error> {
        match self.input.read_nonblocking(buffer, Some(&self.cancellable)) {
            Ok(0) => Ok(Read::End),
            Ok(read) => Ok(usize::try_from(read).map_or(Read::End, Read::Bytes)),
            Err(error) => match error.kind::<gio::IOErrorEnum>() {
                Some(gio::IOErrorEnum::WouldBlock) => Ok(Read::Nothing),
                // TLS without a proper goodbye.
                _ if error.kind::<gio::TlsError>() == Some(gio::TlsError::Eof) => Ok(Read::End),
                _ => Err(error),
            },
        }
    }

    /// Writes all of `bytes`.
    pub(super) fn write(
        &self,
        bytes: &[u8],
        cancellable: Option<&gio::Cancellable>,
    ) -> Result<(), glib::Error> {
        let (_, failed) = self.output.write_all(bytes, cancellable)?;
        failed.map_or(Ok(()), Err)
    }

    /// The camera's address as the socket sees it, and this machine's.
    pub(super) fn addresses(&self) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
        let ip = |address: gio::SocketAddress| {
            let address = address.downcast::<gio::InetSocketAddress>().ok()?;
            address.address().to_str().parse().ok()
        };
        Some((ip(self.socket.remote_address().ok()?)?, ip(self.socket.local_address().ok()?)?))
    }

    /// Says that nothing more will be written.
    pub(super) fn shut_down(&self) {
        let _ = self.socket.shutdown(false, true);
    }
}

fn handshake(
    connection: &gio::SocketConnection,
    verify: bool,
    cancellable: &gio::Cancellable,
    address: &Address,
    context: &Context,
) -> Result<gio::IOStream, Fault> {
    let failed = |error: &glib::Error| {
        let server = address.host_and_port();
        let said = error.message().trim_end_matches('.');
        let what = match error.kind::<gio::IOErrorEnum>() {
            Some(gio::IOErrorEnum::TimedOut) => format!("{server} did not answer the TLS handshake"),
            _ => format!("the TLS handshake with {server} failed ({said})"),
        };
        let advice =
            "check that this port speaks TLS; if the camera has no TLS, `uri` has to begin with `rtsp://`";
        context.fault(RetryReason::Unreachable, &format!("{what}; {advice}"))
    };
    // GIO resumes sessions of the same address and name, without another look at the certificate: one that was made
    // without verification must not be resumed by a camera that asks for it.
    let name = verify.then(|| gio::NetworkAddress::new(&address.host, address.port));
    let tls = gio::TlsClientConnection::new(connection, name.as_ref()).map_err(|error| failed(&error))?;
    tls.set_require_close_notify(false);
    // Asked only about a certificate in which something is wrong.
    let flaws = Rc::new(Cell::new(gio::TlsCertificateFlags::empty()));
    let found = Rc::clone(&flaws);
    tls.connect_accept_certificate(move |_, _, flaws| {
        found.set(flaws);
        !verify
    });
    match tls.handshake(Some(cancellable)) {
        Ok(()) => Ok(tls.upcast()),
        Err(_) if verify && !flaws.get().is_empty() => {
            let names: Vec<_> =
                flaws.get().iter_names().map(|(name, _)| name.to_lowercase().replace('_', "-")).collect();
            Err(Fault::untrusted(&context.uri, &names.join(", ")))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Why there is no connection, with names that do not resolve, refused ports and silence told apart.
fn unreachable(error: &glib::Error, address: &Address, patience: Duration, context: &Context) -> Fault {
    let (host, server) = (&address.host, address.host_and_port());
    let resolver = error.kind::<gio::ResolverError>();
    let io = error.kind::<gio::IOErrorEnum>();
    let what = match (resolver, io) {
        (Some(gio::ResolverError::TemporaryFailure), _) => {
            format!("the name server did not answer for `{host}`; check this machine's DNS and network")
        }
        (Some(_), _) | (_, Some(gio::IOErrorEnum::HostNotFound)) => format!(
            "the name `{host}` does not resolve; check the host in `uri` and this machine's DNS, or use the \
             camera's IP address"
        ),
        (_, Some(gio::IOErrorEnum::ConnectionRefused)) => format!(
            "{server} refused the connection; the machine is there, so check the port in `uri` (usually 554), and \
             that RTSP is switched on"
        ),
        (_, Some(gio::IOErrorEnum::HostUnreachable | gio::IOErrorEnum::NetworkUnreachable)) => {
            format!("there is no route to {server}; check that it is switched on, the cable and the network")
        }
        (_, Some(gio::IOErrorEnum::TimedOut)) => format!(
            "{server} did not answer within {} s; check that it is switched on and `uri` is right, and that no \
             firewall drops the packets",
            patience.as_secs().max(1)
        ),
        _ => format!("{server} cannot be reached ({}); check `uri`", error.message()),
    };
    context.fault(RetryReason::Unreachable, &what)
}
