//! A browser: one chromedriver, one Chromium, one profile.

use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::command::ExtensionCommand;
use thirtyfour::prelude::{By, WebDriverResult};
use thirtyfour::{
    Capabilities, ChromeCapabilities, ChromiumLikeCapabilities as _, Key, WebDriver, WebElement,
    WindowHandle,
};

use crate::words::Words;

const CHROMIUM: &str = "/usr/bin/chromium";
const CHROMEDRIVER: &str = "/usr/bin/chromedriver";
/// How long a condition is waited for before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(50);

/// What the page looks like at the moment.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sight {
    pub(crate) url: String,
    pub(crate) title: String,
    pub(crate) lang: String,
    pub(crate) heading: String,
    pub(crate) text: String,
    pub(crate) ids: Vec<String>,
    ready: String,
}

impl Sight {
    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.iter().any(|known| known == id)
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// Whether it is the page of an error with this title and advice.
    pub(crate) fn explains(&self, [title, advice]: [&str; 2]) -> bool {
        self.has("error") && self.heading == title && self.says(advice)
    }
}

const SIGHT: &str = "return {
    url: location.href,
    title: document.title,
    lang: document.documentElement.lang,
    heading: document.querySelector('h1')?.innerText ?? '',
    text: document.body?.innerText ?? '',
    ids: Array.from(document.querySelectorAll('[id]'), (element) => element.id),
    ready: document.readyState,
};";

/// A browser that is gone with everything that belongs to it when it is dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Option<WebDriver>,
    _chromedriver: Chromedriver,
    words: &'static Words,
    _profile: TempDir,
}

#[derive(Debug)]
struct Chromedriver {
    child: Child,
    url: String,
}

impl Chromedriver {
    /// Starts it; it and Chromium put their temporary files into this directory.
    fn start(scratch: &Path) -> Self {
        let mut said = Vec::new();
        // It looks for a port, and then finds it taken where many look at once.
        for _ in 0..5 {
            match Self::try_start(scratch) {
                Ok(started) => return started,
                Err(lines) if lines.iter().any(|line| line.contains("port not available")) => {
                    said = lines;
                }
                Err(lines) => panic!("chromedriver ended: {lines:?}"),
            }
        }
        panic!("chromedriver finds no port: {said:?}")
    }

    /// What it said instead of starting, otherwise.
    fn try_start(scratch: &Path) -> Result<Self, Vec<String>> {
        for (program, package) in [(CHROMIUM, "chromium"), (CHROMEDRIVER, "chromium-driver")] {
            assert!(Path::new(program).exists(), "{program} is missing: install {package}");
        }
        let mut child = Command::new(CHROMEDRIVER)
            .arg("--port=0")
            .env("TMPDIR", scratch)
            // A group of their own, which Chromium and its helpers join.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut chromedriver = Self { child, url: String::new() };
        let mut said = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            let port = line
                .rsplit_once("started successfully on port ")
                .map(|(_, port)| port.trim_end_matches('.').to_owned());
            said.push(line);
            if let Some(port) = port {
                std::thread::spawn(move || lines.for_each(drop));
                chromedriver.url = format!("http://127.0.0.1:{port}");
                return Ok(chromedriver);
            }
        }
        Err(said)
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It is killed; a polite end would need the runtime, which may be going down as well.
        if let Some(driver) = self.driver.take() {
            let _ = driver.leak();
        }
    }
}

/// `GET /session/ID/element/ID/computedlabel`
#[derive(Debug)]
struct ComputedLabel(String);

impl ExtensionCommand for ComputedLabel {
    fn parameters_json(&self) -> Option<Value> {
        None
    }

    fn method(&self) -> http::Method {
        http::Method::GET
    }

    fn endpoint(&self) -> std::sync::Arc<str> {
        format!("/element/{}/computedlabel", self.0).into()
    }
}

impl Browser {
    pub(crate) async fn open(words: &'static Words) -> Self {
        let profile = TempDir::new().expect("a directory");
        let chromedriver = Chromedriver::start(profile.path());
        let capabilities = capabilities(profile.path(), words).expect("they are JSON");
        let driver = WebDriver::new(&chromedriver.url, capabilities)
            .await
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}"));
        Self { driver: Some(driver), _chromedriver: chromedriver, words, _profile: profile }
    }

    fn driver(&self) -> &WebDriver {
        self.driver.as_ref().expect("it is open")
    }

    // ---- Going about ----------------------------------------------------------------------

    pub(crate) async fn go(&self, url: &str) {
        self.driver().goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub(crate) async fn back(&self) {
        self.driver().back().await.expect("there is a way back");
    }

    pub(crate) async fn reload(&self) {
        self.driver().refresh().await.expect("it can be reloaded");
    }

    /// Opens a tab and goes there.
    pub(crate) async fn tab(&self) -> WindowHandle {
        let tab = self.driver().new_tab().await.expect("a new tab");
        self.switch(&tab).await;
        tab
    }

    pub(crate) async fn this_tab(&self) -> WindowHandle {
        self.driver().window().await.expect("a tab is open")
    }

    pub(crate) async fn switch(&self, tab: &WindowHandle) {
        let switched = self.driver().switch_to_window(tab.clone()).await;
        switched.expect("the tab is open");
    }

    // ---- Looking --------------------------------------------------------------------------

    async fn sight(&self) -> WebDriverResult<Sight> {
        let found = self.driver().execute(SIGHT, Vec::new()).await?;
        found.convert()
    }

    /// Polls until there is something, and fails with the page in hand if it never is.
    async fn poll<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if Instant::now() > end {
                panic!("never came: {what}; the page is {:#?}", self.sight().await);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until the page is as it should be.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Sight) -> bool) -> Sight {
        self.poll(what, async || {
            // In the middle of a navigation there is nothing to look at.
            let sight = self.sight().await.ok()?;
            (sight.ready == "complete" && wanted(&sight)).then_some(sight)
        })
        .await
    }

    /// Reloads the page until it is as it should be.
    pub(crate) async fn reload_until(&self, what: &str, wanted: impl Fn(&Sight) -> bool) -> Sight {
        self.poll(what, async || {
            self.reload().await;
            self.sight().await.ok().filter(&wanted)
        })
        .await
    }

    /// Waits for a page that has this element.
    pub(crate) async fn until_there_is(&self, id: &str) -> Sight {
        self.until(id, |sight| sight.has(id)).await
    }

    /// Waits for a page with this heading.
    pub(crate) async fn until_headed(&self, heading: &str) -> Sight {
        self.until(heading, |sight| sight.heading == heading).await
    }

    // ---- Elements -------------------------------------------------------------------------

    pub(crate) async fn element(&self, id: &str) -> WebElement {
        self.until_there_is(id).await;
        let found = self.driver().find(By::Id(id)).await;
        found.unwrap_or_else(|error| panic!("#{id}: {error}"))
    }

    pub(crate) async fn click(&self, id: &str) {
        let clicked = self.element(id).await.click().await;
        clicked.unwrap_or_else(|error| panic!("#{id}: {error}"));
    }

    pub(crate) async fn click_link(&self, text: &str) {
        let link = self.driver().find(By::LinkText(text)).await;
        let link = link.unwrap_or_else(|error| panic!("{text}: {error}"));
        link.click().await.expect("it can be clicked");
    }

    pub(crate) async fn fill(&self, id: &str, text: &str) {
        let field = self.element(id).await;
        field.clear().await.expect("it can be emptied");
        field.send_keys(text).await.expect("it can be filled in");
    }

    pub(crate) async fn value(&self, id: &str) -> String {
        let value = self.element(id).await.prop("value").await;
        value.expect("it has a value").unwrap_or_default()
    }

    pub(crate) async fn is_ticked(&self, id: &str) -> bool {
        let ticked = self.element(id).await.is_selected().await;
        ticked.expect("it is a checkbox")
    }

    /// What the element is called by those who cannot see it.
    pub(crate) async fn label(&self, id: &str) -> String {
        let element = self.element(id).await;
        let command = ComputedLabel(element.element_id().to_string());
        let command = thirtyfour::common::command::Command::ExtensionCommand(Box::new(command));
        let label = self.driver().cmd(command).await.expect("a label");
        label.value().expect("it is a text")
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        let result = self.driver().execute(script, Vec::new()).await;
        result.expect("the script runs").json().clone()
    }

    // ---- The keyboard ---------------------------------------------------------------------

    pub(crate) async fn press(&self, key: Key) {
        let typed = self.driver().action_chain().send_keys(key).perform().await;
        typed.expect("the key can be pressed");
    }

    /// The tabulator key the other way round.
    pub(crate) async fn press_back_tab(&self) {
        let keys = self.driver().action_chain().key_down(Key::Shift);
        let keys = keys.send_keys(Key::Tab).key_up(Key::Shift);
        keys.perform().await.expect("the keys can be pressed");
    }

    pub(crate) async fn type_text(&self, text: &str) {
        let typed = self.driver().action_chain().send_keys(text).perform().await;
        typed.expect("it can be typed");
    }

    /// The id of the element that the keyboard talks to.
    pub(crate) async fn focus(&self) -> String {
        let focus = self.run("return document.activeElement?.id ?? ''").await;
        focus.as_str().unwrap_or_default().to_owned()
    }

    // ---- What holds on every page ---------------------------------------------------------

    /// Checks what holds on every page of the server, and takes pictures of it: in the language of the
    /// browser, named for its host, and no wider than a small telephone.
    pub(crate) async fn look(&self, name: &str) {
        let sight = self.sight().await.expect("a page");
        assert_eq!(sight.lang, self.words.lang, "{name}");
        assert!(sight.title.contains(&sight.heading) || sight.title.contains('–'), "{name}");
        self.look_at_any(name).await;
    }

    /// The same for a page that has one language only.
    pub(crate) async fn look_at_any(&self, name: &str) {
        self.emulate(320, 568, "light").await;
        let overflow = self
            .run(
                "const page = document.documentElement;
                return page.scrollWidth > page.clientWidth
                    ? [page.scrollWidth, page.clientWidth] : null;",
            )
            .await;
        assert!(overflow.is_null(), "{name} scrolls sideways: {overflow}");
        for (width, height) in [(1200, 900), (375, 812)] {
            for scheme in ["light", "dark"] {
                self.emulate(width, height, scheme).await;
                let file = format!("{name}-{}-{width}-{scheme}.png", self.words.lang);
                self.picture(&file).await;
            }
        }
        let cdp = self.driver().cdp();
        let reset = cdp.send_raw("Emulation.clearDeviceMetricsOverride", json!({}));
        reset.await.expect("the metrics can be reset");
        let reset = cdp.send_raw("Emulation.setEmulatedMedia", json!({ "features": [] }));
        reset.await.expect("the media can be reset");
    }

    async fn emulate(&self, width: u32, height: u32, scheme: &str) {
        let cdp = self.driver().cdp();
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        let set = cdp.send_raw("Emulation.setDeviceMetricsOverride", metrics);
        set.await.expect("the metrics can be set");
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        let set = cdp.send_raw("Emulation.setEmulatedMedia", media);
        set.await.expect("the media can be set");
    }

    async fn picture(&self, file: &str) {
        let directory: PathBuf = crate::party::screenshots();
        std::fs::create_dir_all(&directory).expect("a directory for the pictures");
        let options = json!({ "format": "png", "captureBeyondViewport": false });
        let cdp = self.driver().cdp();
        let picture = cdp.send_raw("Page.captureScreenshot", options).await;
        let picture = picture.expect("a picture");
        let bytes = STANDARD.decode(picture["data"].as_str().expect("base64"));
        std::fs::write(directory.join(file), bytes.expect("base64")).expect("written");
    }

    /// Checks what the browser noticed all along, and closes it: no request to anybody else, no server
    /// error, and nothing on the console but that an answer was a refusal, or cleared what was kept.
    pub(crate) async fn close(mut self) {
        let driver = self.driver();
        for entry in driver.get_log("performance").await.expect("a log") {
            let entry: Value = serde_json::from_str(&entry.message).expect("JSON");
            let (method, params) = (&entry["message"]["method"], &entry["message"]["params"]);
            match method.as_str() {
                Some("Network.requestWillBeSent") => {
                    let url = params["request"]["url"].as_str().expect("a URL");
                    let ours = url.starts_with("http://127.0.0.1:")
                        || ["data:", "about:", "chrome:"]
                            .iter()
                            .any(|known| url.starts_with(known));
                    assert!(ours, "a request to somebody else: {url}");
                }
                Some("Network.responseReceived") => {
                    let response = &params["response"];
                    let status = response["status"].as_u64().unwrap_or_default();
                    assert!(status < 500, "{status}: {}", response["url"]);
                }
                _ => {}
            }
        }
        for entry in driver.get_log("browser").await.expect("a log") {
            let refusal = entry.message.contains("the server responded with a status of 4");
            let signed_out = entry.message.contains("Clear-Site-Data header on");
            assert!(refusal || signed_out, "on the console: {}", entry.message);
        }
        if let Some(driver) = self.driver.take() {
            driver.quit().await.expect("it closes");
        }
    }
}

fn capabilities(profile: &Path, words: &Words) -> WebDriverResult<Capabilities> {
    let mut capabilities = ChromeCapabilities::new();
    capabilities.set_binary(CHROMIUM)?;
    let profile = format!("--user-data-dir={}", profile.join("profile").display());
    let language = format!("--lang={}", words.lang);
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
        &profile,
        &language,
    ] {
        capabilities.add_arg(argument)?;
    }
    capabilities
        .add_experimental_option("prefs", json!({ "intl.accept_languages": words.accept }))?;
    let mut capabilities: Capabilities = capabilities.into();
    let logging = json!({ "browser": "ALL", "performance": "ALL" });
    capabilities.set("goog:loggingPrefs", logging)?;
    Ok(capabilities)
}
