//! The HTTP server on its own: behind a reverse proxy, and with misbehaving clients. No broker is reachable.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use lookout_monitor::{Monitor, parse};
use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_blocking};

/// The timeout of a wait; only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-some-length";

struct Running {
    address: SocketAddr,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Running {
    async fn start(more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let text = format!(
            "[monitor]\nhttp = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\ndata = {:?}\n{more}\n[kafka]\nbrokers = \"127.0.0.1:1\"",
            folder.path()
        );
        let settings = parse(Path::new("monitor.toml"), &text, &|_| None).unwrap();
        let monitor = Monitor::open(settings).await.unwrap();
        let address = monitor.address();
        let task = tokio::spawn(async move { monitor.run(std::future::pending()).await.unwrap() });
        Self { address, task, _folder: folder }
    }

    /// Sends a request as raw text, and returns the whole response.
    async fn ask(&self, head: &str, body: &str) -> String {
        let request = format!(
            "{head}\r\nHost: cameras.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = self.address;
        spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            response
        })
        .await
        .unwrap()
    }

    async fn status_with(&self, token: &str, client: &str) -> String {
        let head =
            format!("GET /api/alerts HTTP/1.1\r\nAuthorization: Bearer {token}\r\nX-Forwarded-For: {client}");
        self.ask(&head, "").await[9..12].to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limits_wrong_tokens_per_client_behind_a_proxy() {
    let running = Running::start("").await;
    for _ in 0..10 {
        assert_eq!(running.status_with("wrong", "198.51.100.7").await, "401");
    }
    assert_eq!(running.status_with("wrong", "198.51.100.7").await, "429");
    assert_eq!(running.status_with("wrong", "198.51.100.8").await, "401");
    for client in ["198.51.100.7", "198.51.100.8"] {
        assert_eq!(running.status_with(TOKEN, client).await, "200", "{client}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_the_page_under_a_base_path() {
    let running = Running::start("base_path = \"/lookout/\"").await;
    for prefix in ["/lookout", ""] {
        let to_login = running.ask(&format!("GET {prefix}/alerts?state=open HTTP/1.1"), "").await;
        assert!(to_login.contains("location: /lookout/login?next=/alerts"), "{to_login}");
        let login = running.ask(&format!("GET {prefix}/login?next=/alerts HTTP/1.1"), "").await;
        assert!(login.contains("action=\"/lookout/login\"") && !login.contains("=\"/assets"), "{login}");
        let script = running.ask(&format!("GET {prefix}/assets/app.js HTTP/1.1"), "").await;
        assert!(script.starts_with("HTTP/1.1 200"), "{script}");
        let health = running.ask(&format!("GET {prefix}/healthz HTTP/1.1"), "").await;
        assert!(health.starts_with("HTTP/1.1 503"), "{health}");
        let form = "POST {prefix}/login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
        let form = form.replace("{prefix}", prefix);
        let secure = format!("{form}\r\nOrigin: https://cameras.example\r\nX-Forwarded-Proto: https");
        let in_ = running.ask(&secure, &format!("token={TOKEN}&next=/alerts")).await;
        assert!(in_.contains("location: /lookout/alerts") && in_.contains("; Secure"), "{in_}");
        let foreign = running.ask(&format!("{form}\r\nOrigin: https://evil.example"), "token=x").await;
        assert!(foreign.starts_with("HTTP/1.1 403") && foreign.contains("X-Forwarded-Host"), "{foreign}");
    }
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let page = running.ask(&format!("GET /lookout/ HTTP/1.1\r\n{bearer}"), "").await;
    assert!(page.contains("content=\"/lookout\"") && !page.contains("{{base}}"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_stream_disables_proxy_buffering() {
    let running = Running::start("").await;
    let address = running.address;
    let head = spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let (mut read, mut part) = (String::new(), [0; 4096]);
        while !read.contains("event:") {
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "{read}");
            read += std::str::from_utf8(&part[..count]).unwrap();
        }
        read.to_lowercase()
    });
    let head = head.await.unwrap();
    assert!(head.contains("x-accel-buffering: no") && head.contains("text/event-stream"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_while_many_half_open_requests_are_held() {
    let running = Running::start("trusted_proxies = []").await;
    let address = running.address;
    let half_open = spawn_blocking(move || {
        let connect = |i| {
            let mut stream = TcpStream::connect(address).ok()?;
            // Some send nothing, some a partial header, some a partial body.
            let part: &[u8] = match i % 3 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\nHost:",
                _ => b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoken=",
            };
            stream.write_all(part).ok()?;
            Some(stream)
        };
        (0..450).filter_map(connect).collect::<Vec<_>>()
    });
    let half_open = half_open.await.unwrap();
    assert!(!half_open.is_empty());
    for _ in 0..10 {
        let metrics = running.ask("GET /metrics HTTP/1.1", "").await;
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    }
}
