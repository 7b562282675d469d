//! Tests of the store on disk.

use std::{collections::BTreeMap, sync::Arc};

use lookout_schema::{AlertEvidence, AlertLevel, AlertRecord, AlertState, Timestamp};
use tempfile::TempDir;

use super::{Acknowledged, AlertFilter, Store, TOPIC, hook};
use crate::state::{Bucket, Checkpoint, minute_of};

pub(crate) fn alert(id: &str, version: u32, ms: i64) -> AlertRecord {
    let at = Timestamp::from_unix_us(1_795_507_200_000_000 + ms * 1_000);
    AlertRecord {
        schema: AlertRecord::SCHEMA.into(),
        id: id.into(),
        version,
        consumer: "monitor".into(),
        rule: "down".into(),
        state: if version == 1 { AlertState::Raised } else { AlertState::Cleared },
        level: AlertLevel::Warning,
        at,
        raised_at: at,
        published_at: at,
        age_ms: 0,
        camera: Some("gate".parse().unwrap()),
        worker: None,
        frame: None,
        message: "<b>down</b>".into(),
        evidence: AlertEvidence::WorkerDown { for_s: 1.0 },
    }
}

fn open(folder: &TempDir) -> Store {
    let text = "[monitor]\n[[webhook]]\nname = \"pager\"\nurl = \"http://localhost/\"\nlevel = \"warning\"";
    Store::open(folder.path(), &crate::state::tests::settings(text).webhooks).unwrap()
}

fn ours(alerts: &[AlertRecord]) -> Arc<Checkpoint> {
    Arc::new(Checkpoint { alerts: alerts.to_vec(), ..Checkpoint::default() })
}

fn read(alerts: &[AlertRecord]) -> Arc<Checkpoint> {
    Arc::new(Checkpoint { read: alerts.to_vec(), ..Checkpoint::default() })
}

#[tokio::test]
async fn publishes_each_alert_version_once() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    assert_eq!(store.commit(ours(&[alert("a", 1, 0)])).await.unwrap().len(), 1);
    assert_eq!(store.commit(ours(&[alert("a", 1, 0)])).await.unwrap().len(), 0);
    for target in [TOPIC.to_owned(), hook("pager")] {
        assert_eq!(store.waiting(target, 10).await.unwrap().len(), 1);
    }
    // A second open of the same store fails; the outbox survives a restart of the process.
    assert!(Store::open(folder.path(), &[]).is_err());
    drop(store);
    let store = reopened(&folder).await;
    // The topic already holds the alert: the process ended after publishing and before recording that.
    store.commit(read(&[alert("a", 1, 0), alert("b", 1, 5)])).await.unwrap();
    assert_eq!(store.waiting(TOPIC.into(), 10).await.unwrap(), []);
    assert_eq!(store.waiting(hook("pager"), 10).await.unwrap().len(), 1);
    // An alert that the topic holds is not published again after the store was lost.
    assert_eq!(store.commit(ours(&[alert("b", 1, 5), alert("b", 2, 9)])).await.unwrap().len(), 1);
    let waiting = store.waiting(TOPIC.into(), 10).await.unwrap();
    assert_eq!(waiting.iter().map(|waiting| waiting.alert.version).collect::<Vec<_>>(), [2]);
    store.done(waiting.iter().map(|waiting| waiting.seq).collect()).await.unwrap();
    assert_eq!(store.waiting(TOPIC.into(), 10).await.unwrap(), []);
}

/// Waits until the threads of the closed store have released the file.
async fn reopened(folder: &TempDir) -> Store {
    tokio::task::yield_now().await;
    open(folder)
}

#[tokio::test]
async fn filters_and_pages_alerts() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let alerts: Vec<_> = (0..30).map(|n| alert(&format!("a{n}"), 1, n)).collect();
    store.commit(ours(&alerts)).await.unwrap();
    store.commit(ours(&[alert("a3", 2, 3)])).await.unwrap();
    let by = Acknowledged { at: Timestamp::now(), by: "<me>".into(), note: "seen".into() };
    let acknowledged = store.acknowledge("a5".into(), by.clone()).await.unwrap().unwrap();
    assert_eq!(acknowledged.acknowledged, Some(by.clone()));
    assert_eq!(store.acknowledge("nothing".into(), by).await.unwrap(), None);
    let filter = AlertFilter { limit: 100, ..AlertFilter::default() };
    let open = store.alerts(AlertFilter { open: true, ..filter.clone() }).await.unwrap();
    assert_eq!((open.alerts.len(), open.more), (29, false));
    let unseen = store.alerts(AlertFilter { acknowledged: Some(false), ..filter.clone() }).await.unwrap();
    assert_eq!(unseen.alerts.len(), 29);
    let page = store.alerts(AlertFilter { limit: 10, ..filter.clone() }).await.unwrap();
    assert_eq!((page.alerts[0].alert.id.as_str(), page.alerts.len(), page.more), ("a29", 10, true));
    let before = Some(page.alerts[9].alert.raised_at);
    let next = store.alerts(AlertFilter { before, limit: 10, ..filter.clone() }).await.unwrap();
    assert_eq!(next.alerts[0].alert.id, "a19");
    let none = AlertFilter { camera: Some("' OR 1=1 --".into()), ..filter };
    assert_eq!(store.alerts(none).await.unwrap().alerts, []);
    assert_eq!(store.open_alerts().await.unwrap(), BTreeMap::from([("gate".to_owned(), 29)]));
}

#[tokio::test]
async fn retention_deletes_only_the_oldest_rows() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let now = Timestamp::now();
    let minute = minute_of(now);
    let labels: BTreeMap<String, u64> = (0..40).map(|n| (format!("a label of some length {n}"), n)).collect();
    let bucket = |minute| Bucket { frames: 1, labels: labels.clone(), ..Bucket::new(minute) };
    let camera = |n: i64| format!("cam-{}", n % 10).parse().unwrap();
    let buckets = (0..12_000).map(|n| (camera(n), bucket(minute - n / 10))).collect();
    store.commit(Arc::new(Checkpoint { buckets, ..Checkpoint::default() })).await.unwrap();
    // A second write of the same minute is added to the first.
    let again = vec![(camera(0), bucket(minute))];
    store.commit(Arc::new(Checkpoint { buckets: again, ..Checkpoint::default() })).await.unwrap();
    let rows = store.history(camera(0), minute - 5_000).await.unwrap();
    assert_eq!((rows.len(), rows.last().unwrap().frames), (1_200, 2));
    store.retain(now - std::time::Duration::from_secs(600 * 60), u64::MAX).await.unwrap();
    assert_eq!(store.history(camera(0), 0).await.unwrap().len(), 601);
    let size = store.size().await.unwrap();
    store.retain(Timestamp::from_unix_us(0), size / 2).await.unwrap();
    assert!(store.size().await.unwrap() <= size / 2);
    let rows = store.history(camera(0), 0).await.unwrap();
    assert!(!rows.is_empty() && rows.last().unwrap().minute == minute);
}

#[tokio::test]
async fn detects_a_deleted_or_replaced_file_and_accepts_the_restored_one() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let (file, moved) = (folder.path().join("monitor.sqlite"), folder.path().join("moved"));
    std::fs::rename(&file, &moved).unwrap();
    let error = store.commit(ours(&[alert("a", 1, 0)])).await.unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()) && error.contains("restart the monitor"), "{error}");
    std::fs::write(&file, "").unwrap();
    assert!(store.commit(ours(&[alert("a", 1, 0)])).await.is_err());
    std::fs::rename(&moved, &file).unwrap();
    assert_eq!(store.commit(ours(&[alert("a", 1, 0)])).await.unwrap().len(), 1);
    assert_eq!(store.damage(), None);
}

#[tokio::test]
async fn reports_a_damaged_file_with_advice() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let alerts: Vec<_> = (0..500).map(|n| alert(&format!("a{n}"), 1, n)).collect();
    store.commit(ours(&alerts)).await.unwrap();
    drop(store);
    // SQLite checkpoints the WAL into the file when the last connection closes.
    let file = folder.path().join("monitor.sqlite");
    let store = loop {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if !folder.path().join("monitor.sqlite-wal").exists() {
            let mut bytes = std::fs::read(&file).unwrap();
            let page = 4096;
            assert!(bytes.len() > 20 * page, "{}", bytes.len());
            // The first page is left intact, because it identifies the file as a database.
            bytes.iter_mut().skip(page).for_each(|byte| *byte = 0xA5);
            std::fs::write(&file, bytes).unwrap();
            break Store::open(folder.path(), &[]);
        }
    };
    // Which call reports the damage depends on the pages that are read first.
    let error = match store {
        Err(error) => error.to_string(),
        Ok(store) => {
            let filter = AlertFilter { limit: 100, ..AlertFilter::default() };
            let error = store.alerts(filter).await.unwrap_err().to_string();
            assert_eq!(store.damage(), Some(error.as_str()));
            error
        }
    };
    assert!(error.contains(&file.display().to_string()) && error.contains("the file is damaged"), "{error}");
}
