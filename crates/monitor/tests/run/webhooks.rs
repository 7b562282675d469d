//! Delivery of alerts to webhooks.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hmac::{Hmac, KeyInit, Mac};
use lookout_broker::KafkaSink;
use lookout_schema::AlertRecord;
use sha2::Sha256;
use tempfile::TempDir;

use super::{CROSSING, Camera, Running, cluster, settings, until};

type Calls = Arc<(AtomicUsize, Mutex<Vec<(HeaderMap, Bytes)>>)>;

async fn hook(State(calls): State<Calls>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if calls.0.fetch_add(1, Relaxed) == 0 {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    calls.1.lock().unwrap().push((headers, body));
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_a_webhook_and_signs_its_calls() {
    let calls = Calls::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let app = Router::new().route("/hook", post(hook)).with_state(Arc::clone(&calls));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let more = format!("{CROSSING}[[webhook]]\nurl = \"http://{to}/hook\"\nsecret = \"s3cret\"");
    let _running = Running::start(settings(&cluster, &folder, &more)).await;
    let mut camera = Camera::new("gate");
    while camera.crossings < 2 {
        camera.publish(&sink);
    }
    until("both alerts", async || (calls.1.lock().unwrap().len() >= 2).then_some(())).await;
    let taken = std::mem::take(&mut *calls.1.lock().unwrap());
    let mut ids: Vec<String> = Vec::new();
    for (headers, body) in &taken {
        let header = |name: &str| headers[name].to_str().unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
        mac.update(header("x-lookout-timestamp").as_bytes());
        mac.update(b".");
        mac.update(body);
        let digest = mac.finalize().into_bytes();
        let signature: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(header("x-lookout-signature"), format!("sha256={signature}"));
        let alert: AlertRecord = serde_json::from_slice(body).unwrap();
        assert_eq!(header("x-lookout-id"), format!("{}/{}", alert.id, alert.version));
        ids.push(alert.id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_a_refused_alert_aside_and_delivers_the_others() {
    let calls = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let counted = Arc::clone(&calls);
    let refuse_first = async move || match counted.fetch_add(1, Relaxed) {
        0 => StatusCode::BAD_REQUEST,
        _ => StatusCode::NO_CONTENT,
    };
    let app = Router::new().route("/hook", post(refuse_first));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let more = format!("{CROSSING}[[webhook]]\nname = \"phone\"\nurl = \"http://{to}/hook\"");
    let running = Running::start(settings(&cluster, &folder, &more)).await;
    let mut camera = Camera::new("gate");
    while camera.crossings < 3 {
        camera.publish(&sink);
    }
    let metric = async |text: &str| running.get("/metrics").await.text.contains(text).then_some(());
    let calls = "lookout_monitor_webhook_calls_total{webhook=\"phone\",result=";
    until("one refused", async || metric(&format!("{calls}\"refused\"}} 1")).await).await;
    until("two delivered", async || metric(&format!("{calls}\"delivered\"}} 2")).await).await;
    let dead_letters = running.get("/api/webhooks/dead-letters").await.json();
    assert_eq!(dead_letters.as_array().unwrap().len(), 1, "{dead_letters}");
    assert_eq!(
        (&dead_letters[0]["webhook"], &dead_letters[0]["why"]),
        (&"phone".into(), &"HTTP status 400".into())
    );
}
