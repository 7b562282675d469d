//! Downloads of published weights from a local HTTP server with various faults.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use lookout_model::{
    archs::{fetch_torchvision, published, published_files},
    weights::{Accuracy, Fetch, FetchError, Progress, Published, WeightsError},
};
use sha2::{Digest, Sha256};

/// Large enough that an error shows in a size rounded to 0.001 MiB.
const SIZE: usize = 200_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|index| (index % 251) as u8).collect()
}

fn tiny() -> Published {
    let digest = Sha256::digest(content());
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Published {
        arch: "tiny",
        version: "V1",
        file: Box::leak(format!("tiny-{hex}.pth").into_boxed_str()),
        size_mib: SIZE as f64 / (1024.0 * 1024.0),
        accuracy: Accuracy::ImageNet { top1: 0.0, top5: 0.0 },
        resize: 256,
        crop: Some(224),
    }
}

/// Starts a server that answers one request with `answer` and sends the request's first line to the receiver.
fn server(
    answer: impl FnOnce(TcpStream) + Send + 'static,
) -> (Fetch, mpsc::Receiver<String>, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://user:secret@{}/models/", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::sync_channel(1);
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        asked.send(request.lines().next().unwrap().to_owned()).unwrap();
        answer(stream);
    });
    (Fetch { base, patience: Duration::from_secs(20) }, requests, thread)
}

/// Returns an answer with status 200 that states `length` and sends `body`.
fn sends(length: Option<usize>, body: Vec<u8>) -> impl FnOnce(TcpStream) + Send {
    move |mut stream| {
        let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n").as_bytes()).unwrap();
        // The client may have closed the connection already.
        _ = stream.write_all(&body);
    }
}

/// Returns the error of a fetch, and checks that it did not change the cache.
fn error(fetch: &Fetch, published: &Published, cache: &Path) -> FetchError {
    let before = files(cache);
    match fetch.published(published, cache, &mut |_| {}) {
        Err(WeightsError::Fetch { url, place, source }) => {
            assert!(url.ends_with(&format!("/models/{}", published.file)), "{url}");
            assert!(!url.contains("secret"), "{url}");
            assert_eq!(place, cache.join("weights").join(published.file));
            assert_eq!(files(cache), before, "an unfinished file was left");
            source
        }
        other => panic!("{other:?}"),
    }
}

fn files(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache.join("weights")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn file_is_downloaded_once_and_then_cached() {
    let cache = tempfile::tempdir().unwrap();
    let published = tiny();
    let (fetch, requests, thread) = server(sends(Some(SIZE), content()));
    let mut progress_reports = Vec::new();
    let path =
        fetch.published(&published, cache.path(), &mut |progress| progress_reports.push(progress)).unwrap();
    thread.join().unwrap();
    assert_eq!(requests.recv().unwrap(), format!("GET /models/{} HTTP/1.1", published.file));
    assert_eq!(fs::read(&path).unwrap(), content());
    assert_eq!(path, published.place(cache.path()));
    assert_eq!(files(cache.path()), [published.file]);
    let size = SIZE as u64;
    assert_eq!(progress_reports.last(), Some(&Progress { received: size, total: Some(size) }));
    assert!(progress_reports.is_sorted_by_key(|progress| progress.received));
    // The server has ended.
    assert_eq!(fetch.published(&published, cache.path(), &mut |_| {}).unwrap(), path);
}

#[test]
fn content_length_is_optional() {
    let cache = tempfile::tempdir().unwrap();
    let (fetch, _requests, thread) = server(sends(None, content()));
    let path = fetch.published(&tiny(), cache.path(), &mut |_| {}).unwrap();
    thread.join().unwrap();
    assert_eq!(fs::read(path).unwrap(), content());
}

#[test]
fn damaged_cached_file_is_downloaded_again() {
    let cache = tempfile::tempdir().unwrap();
    let published = tiny();
    let place = published.place(cache.path());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, &content()[1..]).unwrap();
    let (fetch, _requests, thread) = server(sends(Some(SIZE), content()));
    fetch.published(&published, cache.path(), &mut |_| {}).unwrap();
    thread.join().unwrap();
    assert_eq!(fs::read(&place).unwrap(), content());
}

#[test]
fn interrupted_download_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let (fetch, _requests, thread) = server(sends(Some(SIZE), content()[..SIZE / 2].to_vec()));
    let error = error(&fetch, &tiny(), cache.path());
    thread.join().unwrap();
    assert!(matches!(error, FetchError::Broken { received, .. } if received <= SIZE as u64 / 2), "{error:?}");
}

#[test]
fn wrong_size_or_digest_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let (fetch, _requests, thread) = server(sends(Some(SIZE / 2), Vec::new()));
    let short = error(&fetch, &tiny(), cache.path());
    thread.join().unwrap();
    assert!(matches!(short, FetchError::Size { received: 100_000, .. }), "{short:?}");

    let (fetch, _requests, thread) = server(sends(None, content()[..SIZE / 2].to_vec()));
    let cut = error(&fetch, &tiny(), cache.path());
    thread.join().unwrap();
    assert!(matches!(cut, FetchError::Size { received: 100_000, .. }), "{cut:?}");

    let (fetch, _requests, thread) = server(sends(None, content().repeat(50)));
    let endless = error(&fetch, &tiny(), cache.path());
    thread.join().unwrap();
    assert!(
        matches!(endless, FetchError::Size { received, .. } if received < 2 * SIZE as u64),
        "{endless:?}"
    );

    let mut other = content();
    other[SIZE / 2] ^= 1;
    let (fetch, _requests, thread) = server(sends(Some(SIZE), other));
    let wrong = error(&fetch, &tiny(), cache.path());
    thread.join().unwrap();
    assert!(matches!(wrong, FetchError::Digest { .. }), "{wrong:?}");
}

#[test]
fn missing_file_and_unreachable_server_are_errors() {
    let cache = tempfile::tempdir().unwrap();
    let (fetch, _requests, thread) = server(|mut stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let missing = error(&fetch, &tiny(), cache.path());
    thread.join().unwrap();
    assert!(matches!(missing, FetchError::Status { status: 404 }), "{missing:?}");
    // The server has ended, and its port is closed.
    let refused = error(&fetch, &tiny(), cache.path());
    assert!(matches!(refused, FetchError::Http(_)), "{refused:?}");
}

#[test]
fn hanging_server_times_out() {
    let patience = Duration::from_millis(200);
    let cache = tempfile::tempdir().unwrap();
    let (done, wait) = mpsc::sync_channel::<()>(0);
    let (fetch, _requests, thread) = server(move |stream| {
        _ = wait.recv();
        drop(stream);
    });
    let silent = error(&Fetch { patience, ..fetch }, &tiny(), cache.path());
    drop(done);
    thread.join().unwrap();
    assert!(matches!(silent, FetchError::Http(ureq::Error::Timeout(_))), "{silent:?}");

    let (done, wait) = mpsc::sync_channel::<()>(0);
    let (fetch, _requests, thread) = server(move |stream| {
        let held = stream.try_clone().unwrap();
        sends(Some(SIZE), content()[..SIZE / 2].to_vec())(stream);
        _ = wait.recv();
        drop(held);
    });
    let stuck = error(&Fetch { patience, ..fetch }, &tiny(), cache.path());
    drop(done);
    thread.join().unwrap();
    assert!(matches!(stuck, FetchError::Broken { .. }), "{stuck:?}");
}

#[test]
fn unreachable_server_error_has_manual_instructions() {
    let cache = tempfile::tempdir().unwrap();
    let published = published("resnet50").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fetch = Fetch { base: format!("http://{closed}"), patience: Duration::from_secs(5) };
    let error = fetch.published(published, cache.path(), &mut |_| {}).unwrap_err().to_string();
    let place = cache.path().join("weights/resnet50-11ad3fa6.pth");
    assert!(error.contains(&format!("http://{closed}/resnet50-11ad3fa6.pth")), "{error}");
    assert!(error.contains(&place.display().to_string()), "{error}");
    assert!(matches!(
        fetch_torchvision("resnet51", cache.path()),
        Err(WeightsError::NotPublished { arch }) if arch == "resnet51"
    ));
}

#[test]
fn published_weights_match_torchvision() {
    for published in published_files() {
        let digits = published.digest_prefix();
        assert!(digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{published:?}");
        let (data, resize) = match published.version {
            "COCO_V1" => ("_coco", 800),
            "IMAGENET1K_V2" => ("", 232),
            _ => ("", 256),
        };
        assert_eq!(published.file, format!("{}{data}-{digits}.pth", published.arch));
        assert_eq!(published.resize, resize, "{published:?}");
    }
    let default = |arch| published(arch).map(|published| published.file);
    assert_eq!(default("resnet18"), Some("resnet18-f37072fd.pth"));
    assert_eq!(default("resnet50"), Some("resnet50-11ad3fa6.pth"));
    assert_eq!(default("resnet152"), Some("resnet152-f82ba261.pth"));
    for arch in lookout_config::arch_names() {
        assert_eq!(default(arch).is_none(), arch.starts_with("plain"), "{arch}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = fetch_torchvision("plain18", folder.path()).unwrap_err().to_string();
    assert!(error.contains("publishes no weights for plain18"), "{error}");
    assert_eq!(default("vgg16"), None);
}
