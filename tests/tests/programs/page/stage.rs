//! A monitor, the cameras that it shows, and a browser that shows its pages.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use lookout_broker::Embedded;
use lookout_config::{Brokers, KafkaSettings};
use lookout_tests::{
    browser::{Browser, Programs},
    program,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::scene::{Actor, Scene};

/// A browser takes what cores there are; two at once would only wait for each other.
pub(super) static ONE: Mutex<()> = Mutex::const_new(());

/// `lookout monitor`, killed with this guard.
pub(super) struct Monitor {
    child: Child,
    pub(super) address: String,
    _folder: TempDir,
}

impl Monitor {
    pub(super) fn start(brokers: &str, lines: &str) -> Result<Self> {
        Self::start_at("127.0.0.1:0", brokers, lines)
    }

    pub(super) fn start_at(http: &str, brokers: &str, lines: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = folder.path().join("monitor.toml");
        let data = folder.path().join("data");
        let head = format!("[monitor]\nhttp = \"{http}\"\ndata = {data:?}\nstart_from = \"earliest\"\n");
        fs::write(&file, format!("{head}{lines}\n[kafka]\nbrokers = \"{brokers}\"\n"))?;
        let mut child = Command::new(program::lookout()?)
            .arg("monitor")
            .arg(&file)
            .env_remove("LOOKOUT_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("log"))?)
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("its standard output")?;
        // From here on the drop kills it.
        let mut monitor = Self { child, address: String::new(), _folder: folder };
        BufReader::new(out).read_line(&mut line)?;
        let log = || fs::read_to_string(monitor._folder.path().join("log")).unwrap_or_default();
        ensure!(line.starts_with("http://"), "it printed {line:?} and\n{}", log());
        monitor.address = line.trim_end().to_owned();
        Ok(monitor)
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A monitor of a scene, and a browser before it.
pub(super) struct Stage {
    // Dropped in this order: who shows before who is shown.
    pub(super) browser: Browser,
    pub(super) monitor: Monitor,
    pub(super) scene: Scene,
    pub(super) _broker: Option<Embedded>,
    pub(super) _one: MutexGuard<'static, ()>,
}

impl Stage {
    /// Sets it up on an embedded broker; none where this machine has no browser.
    pub(super) async fn set(actors: Vec<Actor>, lines: &str) -> Result<Option<Self>> {
        let one = ONE.lock().await;
        let Some(programs) = programs()? else { return Ok(None) };
        let settings = KafkaSettings { brokers: Brokers::Embedded, ..program::embedded("127.0.0.1:1") };
        let broker = Embedded::start(&settings)?;
        let scene = Scene::start(broker.settings(), actors)?;
        let monitor = Monitor::start(broker.bootstrap(), lines)?;
        let browser = Browser::open(&programs).await?;
        Ok(Some(Self { browser, monitor, scene, _broker: Some(broker), _one: one }))
    }

    pub(super) async fn goto(&self, path: &str) -> Result<()> {
        self.browser.goto(&self.monitor.at(path)).await
    }

    /// Nothing of what records say has run, and the browser has nothing to complain of.
    pub(super) async fn end(self) -> Result<()> {
        self.check_quiet().await?;
        self.browser.close().await
    }

    pub(super) async fn check_quiet(&self) -> Result<()> {
        assert_eq!(self.browser.text("window.ran").await?, "undefined", "a record's text was run");
        let console = self.browser.console().await?;
        assert!(console.is_empty(), "{console:#?}");
        Ok(())
    }

    /// Names of controls, contrast and the like, by axe-core, in light and in dark, and whether it fits a phone.
    pub(super) async fn check_reading(&self, name: &str) -> Result<()> {
        let browser = &self.browser;
        for scheme in ["light", "dark"] {
            browser.scheme(scheme).await?;
            browser.screenshot(&format!("{name}-{scheme}")).await?;
            accessible(browser, name).await?;
        }
        browser.size(360, 740).await?;
        browser.until("innerWidth === 360").await?;
        browser.screenshot(&format!("{name}-phone")).await?;
        let wide = browser.text("document.documentElement.scrollWidth").await?;
        assert_eq!(wide, "360", "{name} does not fit a phone");
        browser.size(1280, 900).await
    }
}

pub(super) fn programs() -> Result<Option<Programs>> {
    let found = Programs::find()?;
    if found.is_none() {
        #[expect(
            clippy::print_stdout,
            reason = "who reads the test's output is to know that nothing was tested"
        )]
        {
            println!("SKIPPED: no Chromium with a chromedriver is installed here, such as Debian's");
        }
    }
    Ok(found)
}

pub(super) async fn accessible(browser: &Browser, name: &str) -> Result<()> {
    browser.script(&axe()?).await?;
    let found = browser
        .script_later(
            "const done = arguments[arguments.length - 1]; \
             axe.run(document, {resultTypes: ['violations']}).then((found) => done(found.violations.map((one) => \
             `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html).join(' ')}`)))",
        )
        .await?;
    assert_eq!(found, json!([]), "{name}");
    Ok(())
}

/// axe-core, which judges pages by the rules of WCAG.
fn axe() -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
    let output = Command::new(root.join("scripts/axe.sh")).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "scripts/axe.sh");
    let script = fs::read_to_string(String::from_utf8(output.stdout)?.trim_end())?;
    Ok(format!("{script};window.axe = axe;"))
}
