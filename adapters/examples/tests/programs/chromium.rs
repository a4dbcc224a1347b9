//! A real browser: chromedriver and Chromium, gone with their profile when this is dropped.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use thirtyfour::prelude::{By, ElementQueryable as _, ElementWaitable as _};
use thirtyfour::{ChromeCapabilities, ChromiumLikeCapabilities as _, WebDriver, WebElement};

/// How long a page is waited for before a test fails, and between two looks.
const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(20);

pub(crate) struct Chromium {
    driver: Option<WebDriver>,
    chromedriver: Child,
    _profile: TempDir,
}

impl Chromium {
    pub(crate) async fn open() -> Self {
        let profile = TempDir::new().expect("a directory");
        let mut chromedriver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", profile.path())
            // A group of their own, which Chromium and its helpers join.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a chromedriver (on Debian: apt-get install chromium-driver)");
        let mut said = BufReader::new(chromedriver.stdout.take().expect("piped")).lines();
        let port = said.by_ref().map_while(Result::ok).find_map(|line| {
            let port = line.rsplit_once("started successfully on port ")?.1.to_owned();
            Some(port.trim_end_matches('.').to_owned())
        });
        std::thread::spawn(move || said.for_each(drop));
        let mut capabilities = ChromeCapabilities::new();
        let directory = format!("--user-data-dir={}", profile.path().join("profile").display());
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
            "--disable-dev-shm-usage",
            // The client is not there; its address is all that is looked at.
            "--host-resolver-rules=MAP client.example ~NOTFOUND",
            &directory,
        ] {
            capabilities.add_arg(argument).expect("an argument");
        }
        let port = port.expect("chromedriver listens");
        let mut opened = Self { driver: None, chromedriver, _profile: profile };
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await;
        opened.driver = Some(driver.expect("Chromium starts"));
        opened
    }

    fn driver(&self) -> &WebDriver {
        self.driver.as_ref().expect("it is open")
    }

    /// Goes there, and perhaps on to the client, where nobody is.
    pub(crate) async fn go(&self, url: &str) {
        if let Err(error) = self.driver().goto(url).await {
            assert!(error.to_string().contains("ERR_NAME_NOT_RESOLVED"), "{url}: {error}");
        }
    }

    /// The element, as soon as there is one.
    pub(crate) async fn element(&self, css: &str) -> WebElement {
        let found = self.driver().query(By::Css(css)).wait(PATIENCE, INTERVAL).first().await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("{css}: {error}\n{}", self.source().await),
        }
    }

    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.element(css).await.send_keys(text).await.expect("it can be written to");
    }

    pub(crate) async fn click(&self, css: &str) {
        self.element(css).await.click().await.expect("it can be clicked");
    }

    /// Waits until the heading says this.
    pub(crate) async fn until_headed(&self, heading: &str) {
        let element = self.element("h1").await;
        let says = element.wait_until().wait(PATIENCE, INTERVAL).has_text(heading.to_owned()).await;
        if let Err(error) = says {
            panic!("{heading}: {error}\n{}", self.source().await);
        }
    }

    /// Where it is, as soon as that begins so.
    pub(crate) async fn until_at(&self, beginning: &str) -> String {
        let looking = async {
            loop {
                let url = self.driver().current_url().await.expect("it is somewhere").to_string();
                if url.starts_with(beginning) {
                    return url;
                }
                tokio::time::sleep(INTERVAL).await;
            }
        };
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(url) => url,
            Err(_) => panic!("never at {beginning}\n{}", self.source().await),
        }
    }

    async fn source(&self) -> String {
        self.driver().source().await.unwrap_or_default()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It is killed; a polite end would need the runtime, which may be going down as well.
        if let Some(driver) = self.driver.take() {
            let _ = driver.leak();
        }
        let group = rustix::process::Pid::from_child(&self.chromedriver);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.chromedriver.wait();
    }
}
