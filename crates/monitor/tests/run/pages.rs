//! The web pages and the HTTP API, with data from the broker.

use lookout_broker::{Edit, KafkaSink, Registry};
use lookout_config::Secret;
use lookout_schema::CameraSpec;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{CROSSING, Camera, Running, cluster, healthy, settings, until};

const TOKEN: &str = "a-token-of-some-length";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_unauthenticated_and_cross_site_requests() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let mut settings = settings(&cluster, &folder, "");
    settings.token = Some(Secret::new(TOKEN));
    let running = Running::start(settings).await;
    assert_eq!(running.get("/api/overview").await.status, 401);
    let shown = running.get("/cameras/gate").await;
    assert_eq!((shown.status, shown.header("location")), (303, "/login?next=/cameras/gate"));
    for path in ["/login", "/assets/app.js", "/healthz", "/metrics", "/api/overview", "/nowhere"] {
        let answer = running.get(path).await;
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'")
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let known = [("authorization", bearer.as_str())];
    assert_eq!(running.ask("GET", "/api/overview", &known, "").await.json()["auth"], true);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = running.ask("POST", "/login", &form, "token=wrong&next=/").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (303, ""));
    let right = running.ask("POST", "/login", &form, &format!("token={TOKEN}&next=//evil.example")).await;
    assert_eq!((right.status, right.header("location")), (303, "/"));
    let cookie = right.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(running.ask("GET", "/api/overview", &[("cookie", &cookie)], "").await.status, 200);
    // With the cookie, which a form of another site would also send if the browser ignored SameSite.
    let json = ("content-type", "application/json");
    let origin = running.http.clone();
    for (headers, status) in [
        (vec![("cookie", cookie.as_str()), json], 403),
        (vec![("cookie", &cookie), json, ("x-lookout", "1"), ("origin", "http://evil.example")], 403),
        (vec![("cookie", &cookie), json, ("x-lookout", "1"), ("sec-fetch-site", "cross-site")], 403),
        (vec![json, ("x-lookout", "1")], 401),
        (vec![("cookie", &cookie), json, ("x-lookout", "1"), ("origin", &origin)], 404),
    ] {
        let answer = running.ask("POST", "/api/alerts/acknowledge", &headers, "{\"id\":\"x\"}").await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_overview_details_history_and_alerts() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let running = Running::start(settings(&cluster, &folder, CROSSING)).await;
    let mut camera = Camera::new("gate");
    (0..100).for_each(|_| camera.publish(&sink));
    let overview = until("the camera", async || {
        let overview = running.get("/api/overview").await.json();
        let open = overview["cameras"].get(0).is_some_and(|camera| camera["alerts_open"] != 0);
        open.then_some(overview)
    })
    .await;
    assert_eq!(overview["cameras"][0]["counts"]["<img src=x onerror=alert(1)>"], 1);
    healthy(&running, 200).await;
    let details = running.get("/api/cameras/gate").await.json();
    assert_eq!(details["lines"]["middle"][1][1], 1.0);
    assert!(details["line_totals"]["middle"]["left_to_right"].as_u64().unwrap() > 0, "{details}");
    let history = running.get("/api/cameras/gate/history?minutes=5").await.json();
    assert!(history["fps"].as_array().unwrap().iter().any(|fps| fps.is_number()), "{history}");
    for (path, status) in [
        ("/api/cameras/nobody", 404),
        ("/api/cameras/%3Cscript%3E", 400),
        ("/api/cameras/gate/snapshot.jpg", 404),
        ("/api/alerts?limit=x", 400),
        ("/api/alerts?level=worst", 400),
        ("/api/nothing", 404),
        ("/healthz", 200),
    ] {
        assert_eq!(running.get(path).await.status, status, "{path}");
    }
    assert_eq!(running.ask("GET", "/api/overview", &[("host", "evil.example")], "").await.status, 403);
    let alerts = running.get("/api/alerts?state=open&camera=gate").await.json();
    let id = &alerts["alerts"][0]["alert"]["id"];
    let body = serde_json::json!({ "id": id, "by": "<b>me</b>", "note": "seen" }).to_string();
    let headers = [("content-type", "application/json"), ("x-lookout", "1")];
    let seen = running.ask("POST", "/api/alerts/acknowledge", &headers, &body).await.json();
    assert_eq!(seen["acknowledged"]["by"], "<b>me</b>");
    let metrics = running.get("/metrics").await.text;
    assert!(metrics.contains("lookout_monitor_records_total{topic=\"frames\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saves_zones_to_the_registry_and_reports_conflicts() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let registry = Registry::open(cluster.settings(), 2).await.unwrap();
    let spec = CameraSpec::new("gate".parse().unwrap(), "test://ball");
    let put = move || registry.edit(|_| Ok::<_, String>(vec![Edit::Put(Box::new(spec.clone()))])).is_ok();
    assert!(spawn_blocking(put).await.unwrap());
    let running = Running::start(settings(&cluster, &folder, "")).await;
    until("the registry", async || (running.get("/api/cameras/gate").await.status == 200).then_some(()))
        .await;
    let headers = [("content-type", "application/json"), ("x-lookout", "1")];
    let put = async |id: &str, version: u64, zones: &str| {
        let body = format!("{{\"version\":{version},\"zones\":{zones},\"lines\":{{}}}}");
        running.ask("PUT", &format!("/api/cameras/{id}/zones"), &headers, &body).await
    };
    let door = r#"{"door":[[0,0],[1,0],[1,1]]}"#;
    assert_eq!(put("yard", 1, door).await.status, 404);
    assert_eq!(put("gate", 1, r#"{"door":[[0,0],[1,0]]}"#).await.status, 422);
    assert_eq!(put("gate", 1, door).await.json()["version"], 2);
    let late = put("gate", 1, "{}").await;
    assert_eq!((late.status, late.json()["version"].as_u64()), (409, Some(2)));
    until("the zone", async || {
        let details = running.get("/api/cameras/gate").await.json();
        (details["zones"]["door"].is_array() && details["registry"]["version"] == 2).then_some(())
    })
    .await;
}
