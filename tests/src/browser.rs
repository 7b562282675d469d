//! A headless Chromium that tests use like a person: Debian's `chromium`, driven over WebDriver.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction},
    elements::Element,
    key::Key,
    wd::WebDriverCompatibleCommand,
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use url::{ParseError, Url};

/// How long the page may take for a step on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The browser and its driver, if they are installed.
#[derive(Debug)]
pub struct Programs {
    browser: PathBuf,
    driver: PathBuf,
}

impl Programs {
    /// Looks for the programs in `PATH`. Returns `None` on systems that cannot have them, such as Ubuntu,
    /// whose Chromium is a snap.
    ///
    /// # Errors
    /// Fails if they are missing on a Debian: `scripts/packages.sh test` installs them.
    pub fn find() -> Result<Option<Self>> {
        let browser = ["chromium", "google-chrome", "google-chrome-stable", "chromium-browser"];
        let browser = browser.iter().find_map(|name| program(name));
        let driver = ["chromedriver", "chromium.chromedriver"].iter().find_map(|name| program(name));
        if let (Some(browser), Some(driver)) = (browser, driver) {
            return Ok(Some(Self { browser, driver }));
        }
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        ensure!(
            !system.lines().any(|line| line == "ID=debian"),
            "chromium and chromium-driver are not installed; scripts/packages.sh test installs them"
        );
        Ok(None)
    }
}

/// Finds a program in `PATH` that starts: Ubuntu's `chromium-browser` exists, but only prints that it is a
/// snap.
fn program(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let found = env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())?;
    let output = Command::new(&found).arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(found)
}

/// A browser window. When it is dropped, its browser and driver end.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    driver: Driver,
    _profile: TempDir,
    screenshots: PathBuf,
}

impl Browser {
    /// Opens a window of 1280 by 900.
    pub async fn open(programs: &Programs) -> Result<Self> {
        let profile = TempDir::new()?;
        let driver = Driver::start(&programs.driver)?;
        let profile_folder = format!("--user-data-dir={}", profile.path().display());
        let options = json!({
            "binary": programs.browser,
            // As root, Chromium has no sandbox; and a container's /dev/shm is small.
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--hide-scrollbars", "--window-size=1280,900", "--lang=en-GB", profile_folder],
        });
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let capabilities = capabilities.as_object().cloned().unwrap_or_default();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&driver.address).await;
        let client = client.context("chromium could not be started")?;
        let screenshots = target()?.join("screenshots");
        fs::create_dir_all(&screenshots)?;
        let browser = Self { client, driver, _profile: profile, screenshots };
        browser.size(1280, 900).await?;
        Ok(browser)
    }

    /// Closes the window.
    pub async fn close(self) -> Result<()> {
        let Self { client, driver, _profile: profile, .. } = self;
        client.close().await?;
        drop(driver);
        Ok(profile.close()?)
    }

    pub async fn goto(&self, address: &str) -> Result<()> {
        Ok(self.client.goto(address).await?)
    }

    /// Returns the path of the current page.
    pub async fn path(&self) -> Result<String> {
        Ok(self.client.current_url().await?.path().to_owned())
    }

    /// Runs a function body in the page and returns its result.
    pub async fn script(&self, body: &str) -> Result<Value> {
        self.client.execute(body, Vec::new()).await.with_context(|| format!("in the page: {body}"))
    }

    /// Runs a function body that passes its result to its last argument, a callback.
    pub async fn script_later(&self, body: &str) -> Result<Value> {
        let found = self.client.execute_async(body, Vec::new()).await;
        found.with_context(|| format!("in the page: {}", body.chars().take(200).collect::<String>()))
    }

    /// Waits until a JavaScript expression is true.
    pub async fn until(&self, expression: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let body = format!("return Boolean({expression})");
        loop {
            // While the page navigates to another, there is no answer.
            if self.client.execute(&body, Vec::new()).await.is_ok_and(|found| found == true) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let text = self.script("return location.href + '\\n' + document.body?.innerText").await;
                let _ = self.screenshot("failed").await;
                bail!("not within {PATIENCE:?}: {expression}; the page shows:\n{text:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the value of a JavaScript expression in the page, as text.
    pub async fn text(&self, expression: &str) -> Result<String> {
        let found = self.script(&format!("return String({expression})")).await?;
        Ok(found.as_str().unwrap_or_default().to_owned())
    }

    /// Returns the first element for a CSS selector, once it exists.
    pub async fn find(&self, selector: &str) -> Result<Element> {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        found.with_context(|| format!("no {selector}"))
    }

    /// Clicks an element with the mouse.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let element = self.find(selector).await?;
        element.click().await.with_context(|| format!("click on {selector}"))
    }

    /// Clicks the button with this text.
    pub async fn press_button(&self, text: &str) -> Result<()> {
        let path = format!("//button[normalize-space()='{text}']");
        let button = self.client.wait().at_most(PATIENCE).for_element(Locator::XPath(&path)).await;
        button.with_context(|| format!("no button {text}"))?.click().await.context(text.to_owned())
    }

    /// Writes into a form control and replaces its value.
    pub async fn write(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.find(selector).await?;
        element.clear().await?;
        Ok(element.send_keys(text).await?)
    }

    /// Selects an option by its value.
    pub async fn choose(&self, selector: &str, value: &str) -> Result<()> {
        Ok(self.find(selector).await?.select_by_value(value).await?)
    }

    /// Types keys into the element that has the focus.
    pub async fn keys(&self, keys: &[char]) -> Result<()> {
        let mut typed = KeyActions::new("keyboard".into());
        for &value in keys {
            typed = typed.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        Ok(self.client.perform_actions(typed).await?)
    }

    /// Returns the character of a special key, for [`Browser::keys`].
    pub fn key(key: Key) -> char {
        key.into()
    }

    /// Clicks with the mouse at these positions of an element, in fractions of its width and height; the last
    /// one twice.
    pub async fn click_at(&self, selector: &str, places: &[[f64; 2]]) -> Result<()> {
        let mut mouse = MouseActions::new("mouse".into());
        for place in self.places(selector, places).await? {
            mouse = mouse.then(place).then(down()).then(up());
        }
        Ok(self.client.perform_actions(mouse.then(down()).then(up())).await?)
    }

    /// Drags with the mouse from one position of an element to another.
    pub async fn drag(&self, selector: &str, from: [f64; 2], to: [f64; 2]) -> Result<()> {
        let mut mouse = MouseActions::new("mouse".into());
        let places = self.places(selector, &[from, to]).await?;
        let [from, to] = <[PointerAction; 2]>::try_from(places).map_err(|_| anyhow::anyhow!("two places"))?;
        mouse = mouse.then(from).then(down()).then(to).then(up());
        Ok(self.client.perform_actions(mouse).await?)
    }

    async fn places(&self, selector: &str, places: &[[f64; 2]]) -> Result<Vec<PointerAction>> {
        let body = "const e = document.querySelector(arguments[0]); \
                    e.scrollIntoView({block: 'center', behavior: 'instant'}); \
                    const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]";
        let found = self.client.execute(body, vec![selector.into()]).await?;
        let [left, top, width, height]: [f64; 4] = serde_json::from_value(found)?;
        let place = |&[x, y]: &[f64; 2]| PointerAction::MoveTo {
            duration: None,
            x: left + x * width,
            y: top + y * height,
        };
        Ok(places.iter().map(place).collect())
    }

    /// Saves a screenshot as `target/screenshots/NAME.png`, for people to inspect.
    pub async fn screenshot(&self, name: &str) -> Result<()> {
        let png = self.client.screenshot().await?;
        Ok(fs::write(self.screenshots.join(format!("{name}.png")), png)?)
    }

    /// Sets the size of the viewport.
    pub async fn size(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await
    }

    /// Sets the preferred color scheme: `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) -> Result<()> {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Result<()> {
        let body = json!({"cmd": command, "params": parameters});
        let sent = self.client.issue_cmd(Extra { path: "goog/cdp/execute", body }).await;
        sent.map(|_| ()).with_context(|| command.to_owned())
    }

    /// Returns the console messages since the last call, except for hints to developers.
    pub async fn console(&self) -> Result<Vec<String>> {
        let log = self.client.issue_cmd(Extra { path: "se/log", body: json!({"type": "browser"}) }).await?;
        let lines = log.as_array().cloned().unwrap_or_default();
        let errors = lines.iter().filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
        Ok(errors.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect())
    }
}

/// A running driver. When it is dropped, the driver and the browser that it started are killed.
#[derive(Debug)]
struct Driver {
    child: Child,
    address: String,
    /// The driver's output is not read, but the pipe must stay open.
    _out: BufReader<ChildStdout>,
}

impl Driver {
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        // The browser does not end with the driver, but both are in one process group.
        command.arg("--port=0").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| program.display().to_string())?;
        match child.stdout.take().context("the driver has no output").map(BufReader::new).and_then(address) {
            Ok((address, out)) => Ok(Self { child, address, _out: out }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(driver: &mut Child) {
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", driver.id())]).status();
    let _ = driver.wait();
}

/// Returns the driver's address, once the driver has printed it.
fn address(mut out: BufReader<ChildStdout>) -> Result<(String, BufReader<ChildStdout>)> {
    let mut line = String::new();
    while out.read_line(&mut line)? > 0 {
        if let Some((_, port)) = line.trim_end().split_once("started successfully on port ") {
            return Ok((format!("http://127.0.0.1:{}", port.trim_end_matches('.')), out));
        }
        line.clear();
    }
    bail!("chromedriver ended before it listened")
}

fn down() -> PointerAction {
    PointerAction::Down { button: MOUSE_BUTTON_LEFT }
}

fn up() -> PointerAction {
    PointerAction::Up { button: MOUSE_BUTTON_LEFT }
}

/// The folder `target`; this test is `target/PROFILE/deps/TEST`.
fn target() -> Result<PathBuf> {
    let test = env::current_exe()?;
    test.ancestors().nth(3).map(Path::to_owned).context("the test has no parent folder")
}

/// A command that only Chromium has.
#[derive(Debug)]
struct Extra {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extra {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
