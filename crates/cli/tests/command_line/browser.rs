//! A headless Chromium, driven over its own debugging pipe: no driver, no port, no library.
//!
//! The libraries for this generate the whole protocol (a hundred thousand lines that every `cargo test` would compile);
//! the tests need a dozen commands of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// One browser for all tests of this program, which take turns.
static BROWSER: Mutex<Option<Browser>> = Mutex::new(None);

struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    next: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// A tab of its own, with its own storage.
pub(crate) struct Tab {
    browser: MutexGuard<'static, Option<Browser>>,
    session: String,
    context: String,
    /// What the page may ask for besides itself: the start of its server's addresses.
    allowed: Option<String>,
}

/// Where Chromium is: what `FAITHFUL_CHROMIUM` names, or one of the usual names on the path.
fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("FAITHFUL_CHROMIUM") {
        return Some(named.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places
        .chain([PathBuf::from("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")])
        .find(|path| path.is_file())
}

impl Tab {
    /// A tab; nothing, and a note, where there is no Chromium.
    pub(crate) fn new() -> Option<Self> {
        let mut browser = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
        if browser.is_none() {
            let Some(program) = chromium().filter(|_| cfg!(unix)) else {
                eprintln!("SKIPPED: no Chromium was found; install one or name it in FAITHFUL_CHROMIUM");
                return None;
            };
            *browser = Some(Browser::start(&program));
        }
        let context =
            text(&browser.as_mut()?.call("Target.createBrowserContext", &json!({}), None), "browserContextId");
        let asked = json!({ "url": "about:blank", "browserContextId": context });
        let target = text(&browser.as_mut()?.call("Target.createTarget", &asked, None), "targetId");
        let asked = json!({ "targetId": target, "flatten": true });
        let session = text(&browser.as_mut()?.call("Target.attachToTarget", &asked, None), "sessionId");
        browser.as_mut()?.events.clear();
        let mut tab = Self { browser, session, context, allowed: None };
        for domain in ["Page", "Runtime", "Log", "Network", "DOM", "Accessibility"] {
            tab.call(&format!("{domain}.enable"), &json!({}));
        }
        tab.size(1280, 900);
        Some(tab)
    }

    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let session = self.session.clone();
        self.browser.as_mut().expect("a tab has its browser").call(method, parameters, Some(&session))
    }

    /// Opens a page and waits until its script has built it.
    pub(crate) fn open(&mut self, address: &str) {
        let answer = self.call("Page.navigate", &json!({ "url": address }));
        assert!(answer.get("errorText").is_none(), "{address}: {answer}");
        self.until("document.documentElement?.dataset.ready === 'true'");
    }

    /// Opens a file.
    pub(crate) fn open_file(&mut self, path: &Path) {
        self.open(&format!("file://{}", path.display()));
    }

    /// Lets the page ask its own server.
    pub(crate) fn allow(&mut self, address: &str) {
        self.allowed = Some(address.to_owned());
    }

    /// The value of an expression; promises are waited for.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"].get("value").cloned().unwrap_or(Value::Null)
    }

    pub(crate) fn number(&mut self, expression: &str) -> f64 {
        let value = self.eval(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let begin = Instant::now();
        while self.eval(&format!("Boolean({expression})")) != Value::Bool(true) {
            assert!(begin.elapsed() < PATIENCE, "never true: {expression}; {:?}", self.problems());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The middle of an element, scrolled into view.
    pub(crate) fn place(&mut self, selector: &str) -> [f64; 2] {
        self.place_in(selector, 0.5, 0.5)
    }

    /// A place within an element, in shares of its width and height.
    pub(crate) fn place_in(&mut self, selector: &str, across: f64, down: f64) -> [f64; 2] {
        let selector = json!(selector);
        let found = self.eval(&format!(
            "(() => {{ const e = document.querySelector({selector}); e.scrollIntoView({{ block: 'center' }}); \
             const b = e.getBoundingClientRect(); return [b.left + b.width * {across}, b.top + b.height * {down}]; }})()"
        ));
        [0, 1].map(|axis| found[axis].as_f64().unwrap_or_else(|| panic!("no {selector}")))
    }

    pub(crate) fn move_to(&mut self, [x, y]: [f64; 2]) {
        self.call("Input.dispatchMouseEvent", &json!({ "type": "mouseMoved", "x": x, "y": y }));
    }

    pub(crate) fn click(&mut self, selector: &str) {
        let [x, y] = self.place(selector);
        self.move_to([x, y]);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Presses a key by its DOM name, such as `ArrowLeft`, `Tab`, `Escape`, `+`.
    pub(crate) fn key(&mut self, name: &str) {
        let code = match name {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let letter = match name {
            "Enter" => Some("\r"),
            _ => Some(name).filter(|name| name.chars().count() == 1),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": name, "windowsVirtualKeyCode": code });
            if let Some(letter) = letter.filter(|_| kind == "keyDown") {
                event["text"] = letter.into();
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Sets a slider or a list as a person does: the element hears `input` and `change`.
    pub(crate) fn set(&mut self, selector: &str, value: &str) {
        let (selector, value) = (json!(selector), json!(value));
        self.eval(&format!(
            "(() => {{ const e = document.querySelector({selector}); e.value = {value}; \
             e.dispatchEvent(new Event('input', {{ bubbles: true }})); e.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
        ));
        self.settle();
    }

    /// Waits until the page has painted what it was told.
    pub(crate) fn settle(&mut self) {
        self.eval(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))))",
        );
    }

    /// The size of the view in pixels of the page.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let asked = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &asked);
    }

    /// Lays the page out as for `screen` or for `print`.
    pub(crate) fn medium(&mut self, medium: &str) {
        self.call("Emulation.setEmulatedMedia", &json!({ "media": medium }));
    }

    /// Sets a media feature, such as `prefers-color-scheme` to `dark`.
    pub(crate) fn media(&mut self, feature: &str, value: &str) {
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [{ "name": feature, "value": value }] }));
    }

    /// Writes what is in view as a PNG into the folder that `FAITHFUL_SCREENSHOTS` names, if it names one.
    pub(crate) fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("FAITHFUL_SCREENSHOTS") else { return };
        self.settle();
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).expect("the folder can be written to");
    }

    /// The page on paper, as the bytes of a PDF; also written where [screenshots](Self::screenshot) go.
    pub(crate) fn paper(&mut self, name: &str) -> Vec<u8> {
        let answer = self.call("Page.printToPDF", &json!({ "preferCSSPageSize": true }));
        let bytes = STANDARD.decode(answer["data"].as_str().expect("a document")).expect("base64");
        if let Some(folder) = std::env::var_os("FAITHFUL_SCREENSHOTS") {
            std::fs::write(Path::new(&folder).join(format!("{name}.pdf")), &bytes)
                .expect("the folder can be written to");
        }
        bytes
    }

    /// Puts a file into a file input.
    pub(crate) fn choose_file(&mut self, selector: &str, path: &Path) {
        let root = self.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
        let node = self.call("DOM.querySelector", &json!({ "nodeId": root, "selector": selector }))["nodeId"].clone();
        self.call("DOM.setFileInputFiles", &json!({ "nodeId": node, "files": [path] }));
    }

    /// The bytes of a canvas at a place in shares of its size: red, green, blue, alpha.
    pub(crate) fn pixel(&mut self, selector: &str, across: f64, down: f64) -> [i32; 4] {
        let selector = json!(selector);
        let found = self.eval(&format!(
            "(() => {{ const c = document.querySelector({selector}); \
             return [...c.getContext('2d').getImageData(Math.min(Math.floor(c.width * {across}), c.width - 1), \
             Math.min(Math.floor(c.height * {down}), c.height - 1), 1, 1).data]; }})()"
        ));
        [0, 1, 2, 3].map(|channel| found[channel].as_i64().expect("a channel") as i32)
    }

    /// Errors and warnings that the page gave, and everything it asked for beyond itself.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        let session = self.session.clone();
        let allowed = self.allowed.clone();
        let events = &self.browser.as_ref().expect("a tab has its browser").events;
        let mine = events.iter().filter(|event| event["sessionId"] == session.as_str());
        let problem = |event: &Value| {
            let parameters = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" if parameters["type"] != "log" => Some(parameters["args"].to_string()),
                // The tests themselves read pixels back.
                "Log.entryAdded" if parameters["entry"]["text"].to_string().contains("willReadFrequently") => None,
                "Log.entryAdded" => Some(parameters["entry"].to_string()),
                "Network.requestWillBeSent" => {
                    let address = parameters["request"]["url"].as_str()?;
                    let own = ["file:", "data:", "blob:"].iter().any(|scheme| address.starts_with(scheme));
                    let served = allowed.as_ref().is_some_and(|start| address.starts_with(start));
                    (!own && !served).then(|| format!("a request to {address}"))
                }
                _ => None,
            }
        };
        mine.filter_map(problem).collect()
    }

    /// Asserts that nothing on the page would stop someone who uses it by keyboard or by ear, or who needs contrast.
    pub(crate) fn accessible(&mut self) {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let controls = [
            "button",
            "combobox",
            "slider",
            "radio",
            "link",
            "img",
            "image",
            "searchbox",
            "textbox",
            "checkbox",
            "dialog",
            "region",
            "radiogroup",
            "table",
            "spinbutton",
            "progressbar",
        ];
        for node in tree["nodes"].as_array().expect("nodes") {
            let role = node["role"]["value"].as_str().unwrap_or_default();
            let hidden = node["ignored"] == true;
            // A table is named by its caption or by the region around it.
            if hidden || !controls.contains(&role) || role == "table" {
                continue;
            }
            let name = node["name"]["value"].as_str().unwrap_or_default();
            assert!(!name.trim().is_empty(), "a {role} has no name: {node}");
        }
        let faults = self.eval(include_str!("accessibility.js"));
        assert_eq!(faults, json!([]), "accessibility");
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let asked = json!({ "browserContextId": self.context });
        if let Some(browser) = self.browser.as_mut() {
            browser.send("Target.disposeBrowserContext", &asked, None);
        }
    }
}

impl Browser {
    fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        // Descriptors 3 and 4 of Chromium are our ends of its input and output.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args([
                "--remote-debugging-pipe",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--mute-audio",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-extensions",
            ])
            .args([
                "--no-default-browser-check",
                "--disable-dev-shm-usage",
                "--force-color-profile=srgb",
                "--hide-scrollbars",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let commands = child.stdin.take().expect("its input is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Self { child, commands, answers, next: 0, events: Vec::new(), _profile: profile }
    }

    fn send(&mut self, method: &str, parameters: &Value, session: Option<&str>) -> u64 {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        // A browser that has died is noticed where its answer is awaited.
        let _ = self.commands.write_all(&bytes).and_then(|()| self.commands.flush());
        self.next
    }

    fn call(&mut self, method: &str, parameters: &Value, session: Option<&str>) -> Value {
        let id = self.send(method, parameters, session);
        loop {
            let mut bytes = Vec::new();
            let read = self.answers.read_until(0, &mut bytes);
            assert!(read.is_ok_and(|count| count > 0), "Chromium has ended: {:?}", self.child.try_wait());
            bytes.pop();
            let message: Value = serde_json::from_slice(&bytes).expect("JSON");
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            if message.get("method").is_some() {
                self.events.push(message);
            }
        }
    }
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}")).to_owned()
}
