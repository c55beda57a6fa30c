// SPDX-License-Identifier: GPL-3.0-or-later
//! A small client of the WebDriver protocol (W3C): JSON over HTTP, to chromedriver.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};

/// Keys as WebDriver writes them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const ARROW_LEFT: &str = "\u{e012}";

/// The key of an element in answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A headless browser; it ends when this value is dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> io::Result<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .envs([("TZ", "UTC"), ("LANG", "C.UTF-8")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = BufReader::new(driver.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(output.read_line(&mut line)? > 0, "chromedriver ended");
            let words = line.trim_end().trim_end_matches('.').rsplit(' ');
            if line.contains("successfully on port")
                && let Some(port) = words.into_iter().next().and_then(|word| word.parse().ok())
            {
                break port;
            }
        };
        // Further output is not used, but must be read.
        std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        let profile = tempfile::tempdir()?;
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        let arguments = [
            "--headless=new",
            // The tests may run as root, and in containers with a small /dev/shm.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--force-prefers-color-scheme=light",
            &profile,
        ];
        let answer = browser.ask(
            "POST",
            "/session",
            json!({"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": {"args": arguments},
                "goog:loggingPrefs": {"browser": "ALL"},
            }}}),
        );
        browser.session = answer["sessionId"].as_str().unwrap().to_owned();
        Ok(browser)
    }

    /// One request over one connection.
    fn ask(&mut self, method: &str, path: &str, body: Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{method} {path}: {value}");
        value
    }

    fn post(&mut self, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.ask("POST", &path, body)
    }

    pub fn open(&mut self, url: &str) {
        self.post("/url", json!({"url": url}));
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        // The window may have borders: measure the inner size, and correct it.
        self.post("/window/rect", json!({"width": width, "height": height}));
        let inside = self.run("return [innerWidth, innerHeight]");
        let more = |wanted: u32, at: usize| u64::from(wanted) * 2 - inside[at].as_u64().unwrap();
        let (width, height) = (more(width, 0), more(height, 1));
        self.post("/window/rect", json!({"width": width, "height": height}));
    }

    /// Runs a function's body in the page.
    pub fn run(&mut self, script: &str) -> Value {
        self.run_with(script, json!([]))
    }

    pub fn run_with(&mut self, script: &str, arguments: Value) -> Value {
        self.post(
            "/execute/sync",
            json!({"script": script, "args": arguments}),
        )
    }

    pub fn find(&mut self, selector: &str) -> String {
        let found = self.post(
            "/element",
            json!({"using": "css selector", "value": selector}),
        );
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub fn type_into(&mut self, element: &str, text: &str) {
        self.post(&format!("/element/{element}/value"), json!({"text": text}));
    }

    /// Presses a key in the focused element.
    pub fn press(&mut self, key: &str) {
        self.post(
            "/actions",
            json!({"actions": [{"type": "key", "id": "keyboard", "actions": [
                {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}
            ]}]}),
        );
    }

    /// Scrolls the first match of `selector` into view; returns the place of its middle in the window, in pixels.
    pub fn middle(&mut self, selector: &str) -> (i64, i64) {
        let script = "const thing = document.querySelector(arguments[0]);\
            thing.scrollIntoView({block: 'center', behavior: 'instant'});\
            const box = thing.getBoundingClientRect();\
            return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)]";
        let place = self.run_with(script, json!([selector]));
        (place[0].as_i64().unwrap(), place[1].as_i64().unwrap())
    }

    /// Clicks there.
    pub fn click_at(&mut self, (x, y): (i64, i64)) {
        self.post(
            "/actions",
            json!({"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
                {"type": "pointerMove", "x": x, "y": y}, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
            ]}]}),
        );
    }

    /// Drags from one place to another.
    pub fn drag(&mut self, (x, y): (i64, i64), (right, down): (i64, i64)) {
        self.post(
            "/actions",
            json!({"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
                {"type": "pointerMove", "x": x, "y": y}, {"type": "pointerDown", "button": 0},
                {"type": "pointerMove", "x": x + right, "y": y + down}, {"type": "pointerUp", "button": 0}
            ]}]}),
        );
    }

    /// Turns the mouse wheel there, by this many pixels down.
    pub fn turn_wheel_at(&mut self, (x, y): (i64, i64), down: i64) {
        self.post(
            "/actions",
            json!({"actions": [{"type": "wheel", "id": "wheel", "actions": [
                {"type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": down}
            ]}]}),
        );
    }

    pub fn prefer_dark(&mut self) {
        let feature = json!({"name": "prefers-color-scheme", "value": "dark"});
        self.post(
            "/goog/cdp/execute",
            json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": [feature]}}),
        );
    }

    /// The window as a PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let path = format!("/session/{}/screenshot", self.session);
        let text = self.ask("GET", &path, Value::Null);
        let text = text.as_str().unwrap();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
    }

    /// The messages of the browser's console.
    pub fn log(&mut self) -> Vec<Value> {
        let entries = self.post("/se/log", json!({"type": "browser"}));
        entries.as_array().unwrap().clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also after a failed test, or the browser would stay. Errors are ignored here.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}",
                self.session, self.port
            );
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.write_all(request.as_bytes());
            // The answer comes after the browser has ended; the connection may stay open.
            let _ = stream.read(&mut [0; 512]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
