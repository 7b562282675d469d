//! The two UDP ports that receive a camera's RTP and RTCP packets.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

/// A pair of ports. The RTP port is even, and the RTCP port is the next one (RFC 3550, section 11).
#[derive(Debug)]
pub(super) struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// The camera's address for RTCP packets, once it is known.
    reports_to: Cell<Option<SocketAddr>>,
}

/// The number of attempts to find a free pair of ports.
const ATTEMPTS: usize = 50;

/// The receive buffer size in bytes, which is enough for a key frame of a 4K camera. The system may grant less.
const BUFFER: usize = 1 << 20;

/// The largest size of a datagram in bytes.
const DATAGRAM: usize = 64 << 10;

impl Ports {
    /// Binds a free pair of ports at the local address `local`.
    pub(super) fn bind(local: IpAddr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            let rtp = UdpSocket::bind((local, 0))?;
            let port = rtp.local_addr()?.port();
            if port % 2 != 0 {
                continue;
            }
            match UdpSocket::bind((local, port + 1)) {
                Ok(rtcp) => {
                    for socket in [&rtp, &rtcp] {
                        socket.set_nonblocking(true)?;
                        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket, BUFFER);
                    }
                    return Ok(Self { rtp, rtcp, reports_to: Cell::new(None) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns the port numbers of RTP and RTCP for the `client_port` parameter of SETUP.
    pub(super) fn numbers(&self) -> io::Result<(u16, u16)> {
        Ok((self.rtp.local_addr()?.port(), self.rtcp.local_addr()?.port()))
    }

    /// Sends a packet to each of the camera's ports, which opens the return path through firewalls and NAT.
    pub(super) fn open(&self, camera: IpAddr, (rtp, rtcp): (u16, u16)) {
        self.reports_to.set(Some((camera, rtcp).into()));
        // An RTP header and an empty receiver report, which cameras ignore.
        let _ = self.rtp.send_to(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], (camera, rtp));
        let _ = self.rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 0], (camera, rtcp));
    }

    pub(super) fn report(&self, packet: &[u8]) {
        if let Some(address) = self.reports_to.get() {
            let _ = self.rtcp.send_to(packet, address);
        }
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        [&self.rtp, &self.rtcp].into_iter()
    }

    /// Returns a packet that has arrived, if any, and whether it is RTCP. Does not block.
    pub(super) fn receive(&self) -> Option<(bool, Vec<u8>)> {
        let mut buffer = [0; DATAGRAM];
        for (rtcp, socket) in [(false, &self.rtp), (true, &self.rtcp)] {
            if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                return Some((rtcp, buffer.get(..length).unwrap_or_default().to_vec()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_port_pair_starts_with_an_even_port() {
        let ports = Ports::bind(Ipv4Addr::LOCALHOST.into()).unwrap();
        let (rtp, rtcp) = ports.numbers().unwrap();
        assert_eq!((rtp % 2, rtcp), (0, rtp + 1));
        let camera = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        camera.send_to(b"report", (Ipv4Addr::LOCALHOST, rtcp)).unwrap();
        let received = std::iter::repeat_with(|| ports.receive()).find_map(|packet| packet);
        assert_eq!(received, Some((true, b"report".to_vec())));
    }
}
