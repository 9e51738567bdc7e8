//! A headless Chromium, driven by the WebDriver protocol.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use procession_tests::{http, wait};
use serde_json::{Value, json};

/// A browser with one page, which ends when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

/// Says that a test is skipped, if what it needs may be missing.
///
/// # Panics
///
/// If it may not.
pub(crate) fn skip(what: &str) {
    assert!(std::env::var_os("PROCESSION_BROWSER").is_none(), "{what} is missing");
    println!("skipped: {what} is missing");
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

impl Browser {
    /// Starts a browser, if one is installed.
    pub(crate) fn start(dark: bool) -> Option<Browser> {
        if !is_installed("chromedriver") || !is_installed("chromium") {
            skip("chromium or chromedriver");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("the driver tells its port")));
        let mut arguments = vec![
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.path().join("profile").display()),
        ];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let options = json!({ "args": arguments });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let mut browser = Browser { driver, address, session: String::new(), _profile: profile };
        let session = browser.command("", json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("/{}", session["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let path = format!("/session{}{path}", self.session);
        let host = format!("127.0.0.1:{}", self.address.port());
        let headers = [("content-type", "application/json"), ("host", &*host)];
        let answer = http::request(self.address, method, &path, &headers, body);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        let value: Value = serde_json::from_str(&text).expect("the driver answers in JSON");
        value["value"].clone()
    }

    fn command(&self, path: &str, body: Value) -> Value {
        self.ask("POST", path, &body.to_string())
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("/url", json!({ "url": url }));
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        self.command("/window/rect", json!({ "width": width, "height": height }));
    }

    /// Runs a script, which returns a value.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Runs a script, which calls its last argument with a value.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.command("/execute/async", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    ///
    /// If it does not become so.
    pub(crate) fn until(&self, expression: &str) {
        let is_so = || self.run(&format!("return !!({expression})")) == true;
        if !wait::until(Duration::from_secs(30), is_so) {
            panic!("not so: {expression}\n{}", self.run("return document.body.innerText"));
        }
    }

    /// Presses keys, as on the keyboard.
    pub(crate) fn press(&self, keys: &[char]) {
        let actions = keys.iter().flat_map(|key| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        });
        let actions: Vec<Value> = actions.collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("/actions", json!({ "actions": [keyboard] }));
    }

    /// Writes a picture of the page into the folder for screenshots, if there is one.
    pub(crate) fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("PROCESSION_SCREENSHOTS") else { return };
        let picture = self.ask("GET", "/screenshot", "");
        let path = PathBuf::from(folder).join(format!("{name}.png.base64"));
        std::fs::write(path, picture.as_str().expect("a picture")).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.driver.id() as i32);
        if !std::thread::panicking() && !self.session.is_empty() {
            let _ = self.ask("DELETE", "", "");
        }
        // The driver, and the browser with it.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.driver.wait();
    }
}
