//! A TCP forwarder with a fixed address and a changing target.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Forwards TCP connections, as a load balancer does. It stops with the process.
pub(crate) struct Forwarder {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    target: Option<String>,
    open: Vec<TcpStream>,
}

impl Forwarder {
    pub(crate) fn start(target: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { target: Some(target.into()), open: Vec::new() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = shared.lock().unwrap().target.clone();
                // Without a target, the connection is closed at once.
                let Some(Ok(server)) = target.map(TcpStream::connect) else { continue };
                let both = [&client, &server].map(|stream| stream.try_clone().unwrap());
                shared.lock().unwrap().open.extend(both);
                carry(client.try_clone().unwrap(), server.try_clone().unwrap());
                carry(server, client);
            }
        });
        Self { address, state }
    }

    /// Returns the forwarder's `host:port`.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Closes all connections. New connections are forwarded to `target`, or closed if it is `None`.
    pub(crate) fn lead_to(&self, target: Option<&str>) {
        let mut state = self.state.lock().unwrap();
        state.target = target.map(Into::into);
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
