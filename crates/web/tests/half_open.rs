//! Tests the health and metrics server while clients hold connections that never send a complete request.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use lookout_web::Page;

/// Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn health_answers_while_one_client_exceeds_the_connection_limit_with_half_open_requests() {
    let listener = lookout_web::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        tokio::spawn(lookout_web::serve(listener, |path: &str| Page::text(format!("page {path}\n"))));
    tokio::task::spawn_blocking(move || {
        let half_open: Vec<_> = (0..500)
            .map(|i| {
                let mut stream = TcpStream::connect(address).unwrap();
                // Some connections send nothing, others send part of a request.
                if i % 2 == 0 {
                    stream.write_all(b"GET /healthz HTT").unwrap();
                }
                stream
            })
            .collect();
        for _ in 0..20 {
            let answer = get(address, "/healthz");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("page /healthz"), "{answer}");
        }
        drop(half_open);
    })
    .await
    .unwrap();
    server.abort();
}
