//! The control connection: TCP or TLS, with a timeout for each operation.
//!
//! GIO makes the connection, as for GStreamer's own elements. It tries all addresses of a host, uses the system's
//! certificates, and supports cameras that implement only old TLS versions. rustls was not chosen because it does
//! not support those.

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

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    /// No data is available yet.
    Nothing,
    /// The camera closed the connection.
    End,
}

impl Wire {
    /// Connects to `address`.
    ///
    /// Blocks for about `patience` per IP address of the host, or until `cancellable` is canceled.
    pub(super) fn connect(
        address: &Address,
        verify: bool,
        patience: Duration,
        cancellable: &gio::Cancellable,
        context: &Context,
    ) -> Result<Self, Fault> {
        let client = gio::SocketClient::new();
        client.set_enable_proxy(false);
        // In whole seconds. The timeout also applies to each write and to the TLS handshake.
        client.set_timeout(u32::try_from(patience.as_secs()).unwrap_or(u32::MAX).max(1));
        let host = gio::NetworkAddress::new(&address.host, address.port);
        let connection = SocketClientExt::connect(&client, &host, Some(cancellable))
            .map_err(|error| unreachable(&error, address, patience, context))?;
        let socket = connection.socket();
        // Requests are small, and each one waits for its response.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let stream: gio::IOStream = if address.tls {
            handshake(&connection, verify, cancellable, address, context)?
        } else {
            connection.upcast()
        };
        let input = stream.input_stream().dynamic_cast::<gio::PollableInputStream>().map_err(|_| {
            context.fault(RetryReason::PipelineError, "GIO returned a connection that cannot be polled")
        })?;
        let output = stream.output_stream();
        Ok(Self { socket, _stream: stream, input, output, cancellable: cancellable.clone() })
    }

    /// Returns the socket, for `poll`. With TLS, decrypted bytes may be available although the socket is not
    /// readable.
    pub(super) fn socket(&self) -> &gio::Socket {
        &self.socket
    }

    /// Reads the available bytes. Does not block.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Read, glib::Error> {
        match self.input.read_nonblocking(buffer, Some(&self.cancellable)) {
            Ok(0) => Ok(Read::End),
            Ok(read) => Ok(usize::try_from(read).map_or(Read::End, Read::Bytes)),
            Err(error) => match error.kind::<gio::IOErrorEnum>() {
                Some(gio::IOErrorEnum::WouldBlock) => Ok(Read::Nothing),
                // The camera closed the TLS connection without `close_notify`.
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

    /// Returns the IP addresses of the connected socket: the camera's and the local one.
    pub(super) fn addresses(&self) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
        let ip = |address: gio::SocketAddress| {
            let address = address.downcast::<gio::InetSocketAddress>().ok()?;
            address.address().to_str().parse().ok()
        };
        Some((ip(self.socket.remote_address().ok()?)?, ip(self.socket.local_address().ok()?)?))
    }

    /// Shuts down the sending direction of the connection.
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
        let message = error.message().trim_end_matches('.');
        let what = match error.kind::<gio::IOErrorEnum>() {
            Some(gio::IOErrorEnum::TimedOut) => format!("{server} did not answer the TLS handshake"),
            _ => format!("the TLS handshake with {server} failed ({message})"),
        };
        let advice =
            "check that this port speaks TLS; if the camera has no TLS, `uri` must start with `rtsp://`";
        context.fault(RetryReason::Unreachable, &format!("{what}; {advice}"))
    };
    // GIO resumes TLS sessions by address and name, without verifying the certificate again. Connections without
    // verification get no name, so that a camera with verification cannot resume their sessions.
    let name = verify.then(|| gio::NetworkAddress::new(&address.host, address.port));
    let tls = gio::TlsClientConnection::new(connection, name.as_ref()).map_err(|error| failed(&error))?;
    tls.set_require_close_notify(false);
    // Called only for certificates with an error.
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

/// Returns a fault that distinguishes between unresolved names, refused connections, timeouts and other errors.
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
            "{server} refused the connection; the machine is reachable, so check the port in `uri` (usually 554), \
             and that RTSP is switched on"
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
