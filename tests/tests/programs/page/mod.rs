//! The monitor's web page in a real browser: content, actions, and resistance to hostile records.
//!
//! Screenshots are saved in `target/screenshots/`.

mod scene;
mod stage;

use std::{fs, sync::Arc};

use anyhow::{Context, Result};
use fantoccini::key::Key;
use lookout_broker::{Edit, Registry};
use lookout_schema::CameraSpec;
use lookout_tests::{browser::Browser, isolation::lock_module, kafka::KafkaServer};
use scene::{Actor, HOSTILE, Scene, actors, alert};
use stage::{Monitor, ONE, Stage, accessible, programs};
use tokio::task::spawn_blocking;

const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/monitor/assets");

/// Limit for the size of all files that load before the first paint, for slow connections.
const MAX_ASSETS: u64 = 150_000;

const NOT_IN_PAGES: &str = "<style| style=|<script>| onclick| onload|javascript:|http://|https://";
const NOT_IN_SCRIPTS: &str = "innerHTML|outerHTML|insertAdjacentHTML|setHTML|parseHTML|DOMParser|document.write|\
                              createContextualFragment|eval(|new Function|srcdoc|javascript:|\"style\"|https://";

#[test]
fn assets_do_not_turn_text_into_html_or_code() -> Result<()> {
    let _module = lock_module(module_path!());
    let mut size = 0;
    for entry in fs::read_dir(ASSETS)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        size += text.len() as u64;
        let is_page = path.extension().is_some_and(|extension| extension == "html");
        let forbidden = if is_page { NOT_IN_PAGES } else { NOT_IN_SCRIPTS };
        for word in forbidden.split('|') {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
    println!("the page's files are {size} bytes");
    assert!(size < MAX_ASSETS, "{size}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_cameras_with_boxes_and_problems() -> Result<()> {
    let _module = lock_module(module_path!());
    let Some(stage) = Stage::set(actors(), "").await? else { return Ok(()) };
    let browser = &stage.browser;
    stage.goto("/").await?;
    browser.until("document.querySelectorAll('.card').length === 3").await?;
    browser.until("document.querySelector('#connection').textContent === 'Live'").await?;
    // A snapshot, with boxes at the detections.
    browser.until("document.querySelector('[data-camera=gate] img').naturalWidth === 480").await?;
    browser.until("document.querySelectorAll('[data-camera=gate] .box').length === 2").await?;
    let labels = browser.text("document.querySelector('[data-camera=gate] .boxes').textContent").await?;
    assert_eq!(labels, "person 91car 84");
    let (box_of_car, image) = (
        "document.querySelectorAll('[data-camera=gate] .box rect')[1].getBoundingClientRect()",
        "document.querySelector('[data-camera=gate] img').getBoundingClientRect()",
    );
    let off = format!("Math.abs({box_of_car}.left - {image}.left - {image}.width * 1300 / 1920) < 2");
    browser.until(&off).await?;
    // Cameras with problems come first, with the reason as text; hostile text is shown literally.
    let first = browser.text("document.querySelector('.card').dataset.camera").await?;
    assert_eq!(first, "broken");
    let reason = browser.text("document.querySelector('[data-camera=broken] .reason').textContent").await?;
    assert_eq!(reason, format!("Failed: {HOSTILE}"));
    browser
        .until("document.querySelector('[data-camera=hostile] .boxes').textContent.includes('<img src=x')")
        .await?;
    browser
        .until("document.querySelector('[data-camera=hostile] .counts').textContent.includes('<script>')")
        .await?;
    let causes =
        "[...document.querySelectorAll('[data-camera=gate] .drops li')].map((one) => one.textContent)";
    let causes = browser.text(&format!("{causes}.join('; ')")).await?;
    assert_eq!(causes, "queue_full: 9, the worker was behind; stale: 3, too old to be processed");
    // Figures and snapshots update without a reload.
    let snapshot_url = browser.text("document.querySelector('[data-camera=gate] img').src").await?;
    browser
        .until(&format!("document.querySelector('[data-camera=gate] img').src !== '{snapshot_url}'"))
        .await?;
    stage.check_reading("wall").await?;

    browser.write("input[type=search]", "gate").await?;
    browser.until("document.querySelectorAll('.card').length === 1").await?;
    browser.write("input[type=search]", "nowhere").await?;
    browser
        .until("document.querySelector('.empty').textContent === 'No camera matches the filters.'")
        .await?;
    browser.write("input[type=search]", " ").await?;
    browser.choose(".filters select", "failed").await?;
    browser.until("document.querySelectorAll('.card').length === 1").await?;
    browser.until("location.search.includes('status=failed')").await?;

    // Silent cameras are shown as such, and so is the loss of the connection to the monitor.
    browser.choose(".filters select", "all").await?;
    stage.scene.publishing.abort();
    browser.until("document.querySelectorAll('[data-status=silent]').length >= 2").await?;
    stage.check_quiet().await?;
    let address = stage.monitor.address.trim_start_matches("http://").to_owned();
    let Stage { browser, monitor, scene, _broker: broker, _one } = stage;
    drop(monitor);
    browser.until("document.querySelector('#connection').textContent.startsWith('Connection lost')").await?;
    browser.screenshot("wall-lost").await?;
    // The page reconnects by itself.
    let broker = broker.context("no broker")?;
    let monitor = Monitor::start_at(&address, broker.bootstrap(), "")?;
    browser.until("document.querySelector('#connection').textContent === 'Live'").await?;
    browser.until("document.querySelectorAll('.card').length === 3").await?;
    browser.close().await?;
    drop((monitor, scene, broker));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_camera_page_shows_tracks_and_history() -> Result<()> {
    let _module = lock_module(module_path!());
    let places = "[[zone]]\ncamera = \"gate\"\nname = \"street\"\n\
                  points = [[0.1, 0.2], [0.95, 0.2], [0.95, 0.95], [0.1, 0.95]]\n\
                  [[line]]\ncamera = \"gate\"\nname = \"kerb\"\npoints = [[0.5, 0.2], [0.5, 0.9]]\n";
    let Some(stage) = Stage::set(actors(), places).await? else { return Ok(()) };
    let browser = &stage.browser;
    stage.goto("/").await?;
    browser.click("[data-camera=gate] h2 a").await?;
    browser.until("document.querySelector('h1').textContent === 'gate'").await?;
    assert_eq!(browser.path().await?, "/cameras/gate");
    assert_eq!(browser.text("document.activeElement.tagName").await?, "H1");
    browser.until("document.querySelectorAll('.stage .box').length >= 2").await?;
    browser.until("/car \\d+/.test(document.querySelector('.stage .boxes').textContent)").await?;
    let table = "document.querySelector('section[aria-labelledby=tracks]').textContent";
    browser.until(&format!("{table}.includes('street') && {table}.includes('car')")).await?;
    browser.until(&format!("{table}.includes('kerb')")).await?;
    browser.until("document.querySelectorAll('.shape').length === 2").await?;
    // Zones from the monitor's configuration file cannot be edited.
    browser.until("document.querySelector('.zones').textContent.includes(\"isn't in the registry\")").await?;
    // Each plot has a table with the same numbers.
    browser.until("document.querySelectorAll('.plot .series').length >= 4").await?;
    browser.click(".plot-figure details summary").await?;
    browser.until("document.querySelectorAll('.plot-figure table tbody tr').length > 0").await?;
    browser.click(".plot").await?;
    browser
        .until("document.querySelector('.plot').getAttribute('aria-valuetext').includes('person')")
        .await?;
    browser.choose(".timeline select", "360").await?;
    stage.check_reading("camera").await?;

    stage.goto("/cameras/hostile").await?;
    browser.until("document.querySelector('.stage .boxes').textContent.includes('<img src=x')").await?;
    browser.until("document.querySelector('.legend').textContent.includes('<img src=x')").await?;
    stage.check_quiet().await?;
    // An unknown camera is reported; the browser logs the 404 itself, so the console is cleared.
    stage.goto("/cameras/nobody").await?;
    browser.until("document.querySelector('main').textContent.includes('Unknown camera nobody')").await?;
    let _ = browser.console().await?;

    stage.goto("/fleet").await?;
    browser.until("document.querySelector('[data-worker=edge-1]').textContent.includes('42 %')").await?;
    browser.click(".bad-records summary").await?;
    let bad = browser.text("document.querySelector('.bad-records li').textContent").await?;
    assert_eq!(bad, HOSTILE);
    stage.check_reading("fleet").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_appear_without_a_reload_and_can_be_acknowledged() -> Result<()> {
    let _module = lock_module(module_path!());
    let rule = "[[rule]]\nname = \"camera-down\"\nkind = \"camera_down\"\nfor_s = 1\nlevel = \"critical\"\n";
    let Some(stage) = Stage::set(actors(), rule).await? else { return Ok(()) };
    let browser = &stage.browser;
    stage.goto("/alerts").await?;
    browser
        .until("document.querySelector('.alert[data-level=critical]')?.textContent.includes('broken')")
        .await?;
    let message = format!("closer and closer {HOSTILE}");
    stage.scene.publish_alert(&alert("one", "warning", &message))?;
    browser.until("document.querySelector('[data-alert=one]')").await?;
    let announced = "document.querySelector('#announcer').textContent";
    browser
        .until(&format!("{announced}.includes('closer and closer') || {announced}.includes('new alerts')"))
        .await?;
    let title = browser.text("document.querySelector('[data-alert=one] h2').textContent").await?;
    assert_eq!(title, message);
    browser.click("[data-alert=one] summary").await?;
    let evidence = browser.text("document.querySelector('[data-alert=one] .evidence').textContent").await?;
    assert!(evidence.contains("61.25") && evidence.contains(HOSTILE), "{evidence}");
    stage.check_reading("alerts").await?;

    // The last control of the filters is the name of the person who acknowledges.
    browser.write(".filters .field:last-child input", "<b>Ada</b>").await?;
    browser.write("[data-alert=one] .act input", HOSTILE).await?;
    browser.click("[data-alert=one] .act button").await?;
    browser.until("document.querySelector('[data-alert=one] .acknowledged')").await?;
    let by = browser.text("document.querySelector('[data-alert=one] .acknowledged').textContent").await?;
    assert!(by.starts_with("Acknowledged by <b>Ada</b> at ") && by.ends_with(HOSTILE), "{by}");

    // The acknowledgment persists after a reload, and the filters find it.
    stage.goto("/alerts?state=all&acknowledged=true").await?;
    browser.until("document.querySelector('[data-alert=one] .acknowledged')").await?;
    assert_eq!(browser.text("document.querySelectorAll('.alert').length").await?, "1");
    browser.choose(".filters .field:nth-child(2) select", "false").await?;
    browser.until("!document.querySelector('[data-alert=one]') && document.querySelector('.alert')").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_require_the_token() -> Result<()> {
    let _module = lock_module(module_path!());
    let token = "token = \"correct horse battery staple\"\n";
    let Some(stage) = Stage::set(actors(), token).await? else { return Ok(()) };
    let browser = &stage.browser;
    stage.goto("/fleet").await?;
    assert_eq!(browser.path().await?, "/login");
    browser.write("#token", "wrong").await?;
    browser.press_button("Log in").await?;
    browser.until("document.querySelector('[role=alert]').textContent.includes('Wrong token')").await?;
    stage.check_reading("login").await?;
    browser.write("#token", "correct horse battery staple").await?;
    browser.press_button("Log in").await?;
    browser.until("location.pathname === '/fleet'").await?;
    browser.until("document.querySelector('[data-worker=edge-1]')").await?;
    assert_eq!(browser.text("document.cookie").await?, "", "a script can read the session");
    browser.press_button("Log out").await?;
    browser.until("location.pathname === '/login'").await?;
    stage.goto("/").await?;
    assert_eq!(browser.path().await?, "/login");
    stage.end().await
}

/// Number of cameras on one page.
const MANY: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_cameras_load_within_a_second() -> Result<()> {
    let _module = lock_module(module_path!());
    let ids = (0..MANY).map(|number| format!("camera-{number:03}"));
    let many = ids.map(|id| Actor::new(&id, "running", None, "person")).collect();
    let Some(stage) = Stage::set(many, "").await? else { return Ok(()) };
    let browser = &stage.browser;
    stage.goto("/").await?;
    browser.until("document.querySelectorAll('.card').length === 500").await?;
    browser.until("document.querySelectorAll('.card img:not([hidden])').length > 5").await?;
    let painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime";
    let first = browser.text(painted).await?;
    // Loads the page again, because the monitor now knows all cameras.
    stage.goto("/").await?;
    browser.until("document.querySelectorAll('.card').length === 500").await?;
    let painted = browser.text(painted).await?;
    browser.until("document.querySelectorAll('.card .box').length > 10").await?;
    // Only visible snapshots are fetched.
    let fetched = "new Set(performance.getEntriesByType('resource').map((one) => one.name.split('?')[0])\
                   .filter((one) => one.endsWith('.jpg'))).size";
    let fetched: f64 = browser.text(fetched).await?.parse()?;
    // The longest time between two animation frames within 5 s.
    let busy = browser
        .script_later(
            "const done = arguments[arguments.length - 1]; let longest = 0; let last = performance.now(); \
             const ends = last + 5000; const turn = (now) => { longest = Math.max(longest, now - last); last = now; \
             now < ends ? requestAnimationFrame(turn) : done(longest) }; requestAnimationFrame(turn)",
        )
        .await?;
    println!(
        "500 cameras: first contentful paint after {first} ms, again after {painted} ms; {fetched} images; longest frame {busy} ms"
    );
    browser.screenshot("wall-500").await?;
    assert!(fetched < 60.0, "{fetched}");
    // About a second on an idle machine.
    assert!(painted.parse::<f64>()? < 20_000.0, "{painted}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_can_be_drawn_and_saved_in_the_registry() -> Result<()> {
    let _module = lock_module(module_path!());
    let one = ONE.lock().await;
    let Some(programs) = programs()? else { return Ok(()) };
    let server = spawn_blocking(KafkaServer::start).await??;
    let kafka = server.settings("lookout");
    let registry = Arc::new(Registry::open(&kafka, 3).await?);
    put(&registry, CameraSpec::new("gate".parse()?, "rtsp://camera.example/stream1")).await?;
    let scene = Scene::start(&kafka, actors())?;
    let monitor = Monitor::start(&server.bootstrap(), "")?;
    let browser = Browser::open(&programs).await?;
    let stage = Stage { browser, monitor, scene, _broker: None, _one: one };
    let browser = &stage.browser;
    stage.goto("/cameras/gate").await?;
    browser.until("document.querySelectorAll('.stage .box').length >= 2").await?;

    // With the mouse: four corners, the last one with a double click.
    browser.press_button("Edit zones and lines").await?;
    browser.press_button("New zone").await?;
    browser.click_at(".shapes", &[[0.1, 0.2], [0.4, 0.2], [0.4, 0.7], [0.1, 0.7]]).await?;
    browser.until("document.activeElement.value === 'zone-1'").await?;
    browser.write("[data-shape='0'] input", "door").await?;
    browser.drag(".shapes", [0.4, 0.7], [0.5, 0.8]).await?;
    browser.screenshot("zones-drawn").await?;
    accessible(browser, "zones").await?;
    // With the keyboard: a line from the center, ten steps to the right.
    browser.press_button("New line").await?;
    let (enter, right) = (Browser::key(Key::Enter), Browser::key(Key::Right));
    let mut keys = vec![enter];
    keys.extend([right; 10]);
    keys.push(enter);
    browser.keys(&keys).await?;
    browser.until("document.activeElement.value === 'line-1'").await?;
    browser.press_button("Save").await?;
    browser
        .until("document.querySelector('.zones .message').textContent === 'Saved in the registry.'")
        .await?;

    let saved = view(&registry).await?;
    assert_eq!(saved.version, 2);
    let door = saved.zones.get("door").context("no door")?.corners();
    let wanted = [[0.1, 0.2], [0.4, 0.2], [0.5, 0.8], [0.1, 0.7]];
    let near = |a: &[f32; 2], b: &[f32; 2]| (a[0] - b[0]).abs() < 0.01 && (a[1] - b[1]).abs() < 0.01;
    assert!(door.len() == 4 && door.iter().zip(&wanted).all(|(a, b)| near(a, b)), "{door:?}");
    let [from, to] = *saved.lines.get("line-1").context("no line")?;
    assert!((to[0] - from[0] - 0.1).abs() < 0.001 && (to[1] - from[1]).abs() < 0.001, "{from:?} {to:?}");

    // Another person changes the camera meanwhile: the conflict is reported, and nothing is overwritten
    // without a question.
    browser.press_button("Edit zones and lines").await?;
    browser.write("[data-shape='1'] input", "kerb").await?;
    put(&registry, CameraSpec { version: 3, fps: Some(5.0), ..saved }).await?;
    browser.press_button("Save").await?;
    browser.until("document.querySelector('.zones .message').textContent.includes('someone else')").await?;
    let _ = browser.console().await?;
    browser.press_button("Overwrite with my changes").await?;
    browser
        .until("document.querySelector('.zones .message').textContent === 'Saved in the registry.'")
        .await?;
    let saved = view(&registry).await?;
    assert!(saved.version == 4 && saved.fps == Some(5.0) && saved.lines.contains_key("kerb"), "{saved:?}");
    stage.end().await
}

async fn put(registry: &Arc<Registry>, spec: CameraSpec) -> Result<()> {
    let registry = Arc::clone(registry);
    let edit = move || {
        registry
            .edit(|_| Ok::<_, std::convert::Infallible>(vec![Edit::Put(Box::new(spec.clone()))]))
            .map(|_| ())
    };
    spawn_blocking(edit).await?.map_err(|error| anyhow::anyhow!("{error:?}"))
}

async fn view(registry: &Arc<Registry>) -> Result<CameraSpec> {
    let registry = Arc::clone(registry);
    let view = spawn_blocking(move || registry.view()).await??;
    let gate = view.cameras.into_iter().find(|(id, _)| id.as_str() == "gate");
    Ok(gate.context("no gate in the registry")?.1)
}
