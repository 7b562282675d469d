//! Accepts HTTP connections within limits, so that clients that connect and send nothing do not block others.
//!
//! To make room for a new connection, the oldest connection that waits for a request is closed: one of the same address
//! if that address has reached its limit, otherwise one of all connections. If none waits, the oldest connection whose
//! response has not started is closed, since a client may take forever to send its request's body. A connection whose
//! response is being sent is never closed.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
};

/// A connection that has not sent a complete request header within this time is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a request header, in bytes.
const MAX_HEADER: usize = 64 * 1024;
/// The pause after a connection could not be accepted, mostly because the process has run out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Limits of the number of open connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    max: usize,
    max_per_address: usize,
    /// Proxies, each of which forwards the connections of many clients.
    proxies: Vec<IpNet>,
}

impl Limits {
    /// Allows at most `max` connections, but never more than half of the files that this process may open, and at most
    /// `max_per_address` from one address that is not in `proxies`.
    pub fn new(max: usize, max_per_address: usize, proxies: Vec<IpNet>) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        let max = max.min(usize::try_from(files).unwrap_or(usize::MAX)).max(1);
        Self { max, max_per_address: max_per_address.min(max), proxies }
    }
}

/// Serves `answer` until `stopped` is set, then completes the requests in progress.
///
/// # Panics
/// A panic in `answer` ends only the task of its own connection.
pub async fn serve_connections<F, Fut, B>(
    listener: TcpListener,
    limits: Limits,
    answer: F,
    mut stopped: watch::Receiver<bool>,
) where
    F: Fn(Request<Incoming>, SocketAddr) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let open = Arc::new(Open::new(limits));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = open.admit(peer.ip()) {
                    tasks.spawn(serve_one(stream, peer, place, answer.clone(), stopped.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn serve_one<F, Fut, B>(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    answer: F,
    mut stopped: watch::Receiver<bool>,
) where
    F: Fn(Request<Incoming>, SocketAddr) -> Fut,
    Fut: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let evicted = Arc::clone(&place.evicted);
    let place = Arc::new(place);
    let service = service_fn(|request| {
        let asking = InPhase::new(Arc::clone(&place), Phase::Asking);
        let response = answer(request, peer);
        async move {
            let response = response.await;
            let sending = InPhase::new(Arc::clone(&asking.place), Phase::Sending);
            Ok::<_, Infallible>(response.map(|body| Counted { body: Box::pin(body), _sending: sending }))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut draining = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "HTTP connection broke");
                }
                return;
            }
            () = evicted.notified() => return,
            _ = stopped.wait_for(|stopped| *stopped), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The open connections.
struct Open {
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// Sorted by the order in which they were accepted.
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    address: IpAddr,
    /// Number of requests whose response has not started.
    asking: usize,
    /// Number of responses that are being sent.
    sending: usize,
    evicted: Arc<Notify>,
}

impl Open {
    fn new(limits: Limits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    /// Registers a connection from `address`, and returns its slot. Returns `None` if the limit is reached and every
    /// connection that could be closed is sending a response.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut table = self.table();
        let is_proxy = self.limits.proxies.iter().any(|proxy| proxy.contains(&address.to_canonical()));
        let address = network(address);
        let same = table.entries.values().filter(|entry| entry.address == address).count();
        let full = same >= self.limits.max_per_address && !is_proxy;
        if full && !table.evict(|entry| entry.address == address)
            || table.entries.len() >= self.limits.max && !table.evict(|_| true)
        {
            tracing::debug!(%address, "HTTP connection refused: the connection limit is reached");
            return None;
        }
        let id = table.next;
        table.next += 1;
        let evicted = Arc::new(Notify::new());
        table.entries.insert(id, Entry { address, asking: 0, sending: 0, evicted: Arc::clone(&evicted) });
        Some(Place { open: Arc::clone(self), id, evicted })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Closes one of the matching connections. Returns false if each of them is sending a response.
    fn evict(&mut self, of: impl Fn(&Entry) -> bool) -> bool {
        let mut open = self.entries.iter().filter(|(_, entry)| entry.sending == 0 && of(entry));
        let oldest = open.clone().find(|(_, entry)| entry.asking == 0).or_else(|| open.next());
        let Some(id) = oldest.map(|(id, _)| *id) else { return false };
        if let Some(entry) = self.entries.remove(&id) {
            entry.evicted.notify_one();
        }
        true
    }
}

/// Returns the network that is assumed to belong to one client: an IPv4 address, or an IPv6 /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

/// A connection's slot among the open ones, which is freed when dropped.
struct Place {
    open: Arc<Open>,
    id: u64,
    evicted: Arc<Notify>,
}

impl Place {
    fn count(&self, phase: Phase, change: impl FnOnce(&mut usize)) {
        if let Some(entry) = self.open.table().entries.get_mut(&self.id) {
            change(match phase {
                Phase::Asking => &mut entry.asking,
                Phase::Sending => &mut entry.sending,
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.table().entries.remove(&self.id);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The request's header has arrived, and its response has not started.
    Asking,
    Sending,
}

/// Counts a request as in a phase until this is dropped.
struct InPhase {
    place: Arc<Place>,
    phase: Phase,
}

impl InPhase {
    fn new(place: Arc<Place>, phase: Phase) -> Self {
        place.count(phase, |count| *count += 1);
        Self { place, phase }
    }
}

impl Drop for InPhase {
    fn drop(&mut self) {
        self.place.count(self.phase, |count| *count = count.saturating_sub(1));
    }
}

/// A response's body. While it exists, its connection is not closed to make room.
struct Counted<B> {
    body: Pin<Box<B>>,
    _sending: InPhase,
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(max: usize, max_per_address: usize) -> Arc<Open> {
        Arc::new(Open::new(Limits { max, max_per_address, proxies: vec!["10.0.1.0/24".parse().unwrap()] }))
    }

    fn ids(open: &Open) -> Vec<u64> {
        open.table().entries.keys().copied().collect()
    }

    #[test]
    fn closes_the_oldest_waiting_connection_of_an_address_that_reaches_its_limit() {
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let open = open(10, 2);
        let places: Vec<_> = [other, one, one, one].map(|address| open.admit(address).unwrap()).into();
        assert_eq!(ids(&open), [0, 2, 3]);
        drop(places);
        assert_eq!(ids(&open), [0_u64; 0]);
    }

    #[test]
    fn a_proxy_may_have_more_connections_than_one_client() {
        let open = open(10, 2);
        let places: Vec<_> = (0..5).map(|_| open.admit("10.0.1.7".parse().unwrap()).unwrap()).collect();
        assert_eq!(ids(&open), [0, 1, 2, 3, 4]);
        drop(places);
    }

    #[test]
    fn never_closes_a_connection_whose_response_is_being_sent() {
        let address = |i: u8| IpAddr::from([10, 0, 0, i]);
        let open = open(2, 2);
        let (first, _second) = (Arc::new(open.admit(address(1)).unwrap()), open.admit(address(2)).unwrap());
        let sending = InPhase::new(Arc::clone(&first), Phase::Sending);
        let third = Arc::new(open.admit(address(3)).unwrap());
        assert_eq!(ids(&open), [0, 2]);
        let also_sending = InPhase::new(Arc::clone(&third), Phase::Sending);
        assert!(open.admit(address(4)).is_none());
        drop(sending);
        let fourth = Arc::new(open.admit(address(4)).unwrap());
        assert_eq!(ids(&open), [2, 3]);
        let _asking = InPhase::new(Arc::clone(&fourth), Phase::Asking);
        drop(also_sending);
        let _fifth = open.admit(address(5)).unwrap();
        assert_eq!(ids(&open), [3, 4], "waiting connections are closed before those with a request");
        let _sixth = open.admit(address(6)).unwrap();
        assert_eq!(ids(&open), [3, 5]);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let client = |text: &str| network(text.parse().unwrap());
        assert_eq!(client("2001:db8:0:1::5"), client("2001:db8:0:1:ffff::9"));
        assert_ne!(client("2001:db8:0:1::5"), client("2001:db8:0:2::5"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
    }
}
