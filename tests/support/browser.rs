//! A real browser without a window, driven by its own protocol: JSON messages, each with a NUL behind it,
//! over two pipes with names (<https://chromedevtools.github.io/devtools-protocol/>).

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use pullgate::pure::base64;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::eventually::eventually;
use super::process::{Process, installed, run};

/// A browser with one page.
pub struct Browser {
    to: File,
    from: Receiver<Value>,
    next: u64,
    session: String,
    /// What it has told beside answers.
    told: Vec<Value>,
    _process: Process,
    _directory: TempDir,
}

/// What a page is shown on.
#[derive(Clone, Copy)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// The same.
    pub height: u32,
    /// Whether the person prefers the dark.
    pub is_dark: bool,
}

impl Browser {
    /// Starts one, with an empty page.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the browser");
        let [to, from] = ["to", "from"].map(|name| directory.path().join(name));
        run(Command::new(installed("mkfifo")).args([&to, &from]));
        let mut command = Command::new(installed("sh"));
        // The browser reads at 3 and writes at 4.
        command.args(["-c", "exec \"$0\" \"$@\" 3<\"$PG_TO\" 4>\"$PG_FROM\""]);
        command.arg(installed("chromium-headless-shell")).args(FLAGS);
        command.arg(format!("--user-data-dir={}", directory.path().join("profile").display()));
        command.arg("about:blank").env("PG_TO", &to).env("PG_FROM", &from);
        let process = Process::start(command, &directory.path().join("log"));
        let to = File::options().write(true).open(&to).expect("a pipe to the browser");
        let mut pipe = BufReader::new(File::open(&from).expect("a pipe from the browser"));
        let (tell, from) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while pipe.read_until(0, &mut message).is_ok_and(|many| many > 0) {
                let value = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message));
                if tell.send(value.unwrap_or_default()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let session = String::new();
        let (next, told) = (0, Vec::new());
        let (_process, _directory) = (process, directory);
        let mut browser = Self { to, from, next, session, told, _process, _directory };
        let page = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", &attach);
        attached["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser.ask("Page.enable", &json!({}));
        browser.ask("Runtime.enable", &json!({}));
        browser
    }

    /// One command and its answer.
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let answer = self.from.recv_timeout(PATIENCE);
            let answer = answer.unwrap_or_else(|why| panic!("the browser, asked {method}: {why}"));
            if answer["id"] == self.next {
                // The page that was asked is gone, and what it said with it.
                let is_gone = answer["error"]["message"] == GONE;
                assert!(answer["error"].is_null() || is_gone, "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.told.push(answer);
        }
    }

    /// What the browser has told of itself since this was asked last, of the events of this name.
    fn told(&mut self, method: &str) -> Vec<Value> {
        // What happened until now is told before the next answer.
        self.eval("0");
        let told = std::mem::take(&mut self.told);
        told.into_iter().filter(|one| one["method"] == method).collect()
    }

    /// From now on it is known where pages load something from ([`Self::requests`]), and what their policy refuses
    /// while they load or later ([`Self::violations`]).
    pub fn watch(&mut self) {
        self.ask("Network.enable", &json!({}));
        let script = "window.violations = []; addEventListener('securitypolicyviolation', (event) => \
                      window.violations.push(`${event.effectiveDirective} ${event.blockedURI}`));";
        self.before_pages(script);
    }

    /// From now on this runs in each page before its own scripts do.
    pub fn before_pages(&mut self, script: &str) {
        self.ask("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": script }));
    }

    /// Every address that was asked for since this was asked last.
    pub fn requests(&mut self) -> Vec<String> {
        let told = self.told("Network.requestWillBeSent");
        let url = |one: &Value| one["params"]["request"]["url"].as_str().map(str::to_owned);
        told.iter().filter_map(url).collect()
    }

    /// What the policy of this page has refused: of each the directive and the address.
    pub fn violations(&mut self) -> Vec<String> {
        let said = self.eval("window.violations");
        serde_json::from_value(said).expect("it is watched")
    }

    /// Where the first frame of the page is.
    pub fn framed(&mut self) -> String {
        let tree = self.ask("Page.getFrameTree", &json!({}));
        let frame = &tree["frameTree"]["childFrames"][0]["frame"];
        frame["url"].as_str().unwrap_or_else(|| panic!("no frame: {tree}")).to_owned()
    }

    /// Pages are shown as if they had no policy: what they do not hold is nothing that it has refused.
    pub fn ignore_policies(&mut self) {
        self.ask("Page.setBypassCSP", &json!({ "enabled": true }));
    }

    /// Lets pages of `origin` read what was copied, as a person may.
    pub fn let_read_clipboard(&mut self, origin: &str) {
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        let params = json!({ "origin": origin, "permissions": permissions });
        self.ask("Browser.grantPermissions", &params);
        self.ask("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true }));
    }

    /// Moves the pointer onto what a script finds: where that is.
    pub fn point_at(&mut self, script: &str) -> [f64; 2] {
        let at = self.place_of(script);
        self.mouse("mouseMoved", "none", at);
        at
    }

    /// The middle of what a script finds, which is seen then.
    fn place_of(&mut self, script: &str) -> [f64; 2] {
        let at = self.eval(&format!(
            "(() => {{ const it = {script}; it.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const {{ left, top, width, height }} = it.getBoundingClientRect(); \
             return [left + width / 2, top + height / 2]; }})()"
        ));
        [0, 1].map(|axis| at[axis].as_f64().expect("a place"))
    }

    /// Presses what a script finds with the pointer.
    pub fn click(&mut self, script: &str) {
        let at = self.point_at(script);
        self.mouse("mousePressed", "left", at);
        self.mouse("mouseReleased", "left", at);
    }

    /// Draws from what one script finds to what another does, which leads to another page, or to the same anew, and waits
    /// until that is there. What the script `meanwhile` says before the pointer lets go is returned.
    pub fn leave_by_drawing(&mut self, from: &str, to: &str, meanwhile: &str) -> Value {
        let at = self.point_at(from);
        self.mouse("mousePressed", "left", at);
        let at = self.place_of(to);
        self.mouse("mouseMoved", "left", at);
        let said = self.eval(meanwhile);
        self.eval("window.isOfBefore = true");
        self.mouse("mouseReleased", "left", at);
        self.until("!window.isOfBefore && document.readyState === 'complete'");
        said
    }

    /// Draws as [`Self::leave_by_drawing`] does, with a finger, which leaves the keyboard where it is. Before it is lifted,
    /// `meanwhile` happens.
    pub fn leave_by_finger(&mut self, from: &str, to: &str, meanwhile: impl FnOnce(&mut Self)) {
        let at = self.place_of(from);
        self.touch("touchStart", &[at]);
        let at = self.place_of(to);
        self.touch("touchMove", &[at]);
        meanwhile(self);
        self.eval("window.isOfBefore = true");
        self.touch("touchEnd", &[]);
        self.until("!window.isOfBefore && document.readyState === 'complete'");
    }

    fn touch(&mut self, kind: &str, fingers: &[[f64; 2]]) {
        let points: Vec<_> = fingers.iter().map(|[x, y]| json!({ "x": x, "y": y })).collect();
        self.ask("Input.dispatchTouchEvent", &json!({ "type": kind, "touchPoints": points }));
    }

    fn mouse(&mut self, kind: &str, button: &str, [x, y]: [f64; 2]) {
        let held = u8::from(button == "left" && kind != "mouseReleased");
        let params = json!({
            "type": kind, "x": x, "y": y, "button": button, "buttons": held, "clickCount": 1
        });
        self.ask("Input.dispatchMouseEvent", &params);
    }

    /// Goes to `url` and waits until the page is there.
    pub fn open(&mut self, url: &str) {
        self.eval("window.isOfBefore = true");
        let went = self.ask("Page.navigate", &json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{url}: {}", went["errorText"]);
        self.until("!window.isOfBefore && document.readyState === 'complete'");
    }

    /// Does what leads to another page, or to the same anew, and waits until that is there.
    pub fn leave(&mut self, script: &str) {
        self.eval("window.isOfBefore = true");
        self.eval(script);
        self.until("!window.isOfBefore && document.readyState === 'complete'");
    }

    /// Keeps what is downloaded in this folder.
    pub fn keep_downloads(&mut self, folder: &Path) {
        let params = json!({ "behavior": "allow", "downloadPath": folder });
        self.ask("Browser.setDownloadBehavior", &params);
    }

    /// What axe-core finds on the page that is serious or worse, in lines.
    pub fn inaccessible(&mut self) -> String {
        let axe = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/npm/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(&axe).unwrap_or_else(|problem| {
            panic!("{}: {problem}; run `sh tests/setup.sh`", axe.display())
        });
        self.eval(&format!("{axe}; 0"));
        let found = self.eval(
            "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations\
               .filter(({ impact }) => ['serious', 'critical'].includes(impact))\
               .map(({ id, help, nodes }) => `${id} (${help}): ${nodes.map(it => it.target).join(', ')}`)\
               .join('\\n'))",
        );
        found.as_str().unwrap_or("axe-core says nothing").to_owned()
    }

    /// What a script comes to, null where it has led to another page. A promise is waited for.
    pub fn eval(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let outcome = self.ask("Runtime.evaluate", &params);
        assert!(outcome["exceptionDetails"].is_null(), "{script}: {outcome}");
        outcome["result"]["value"].clone()
    }

    /// Waits until a script says true.
    pub fn until(&mut self, script: &str) {
        eventually(|| {
            let said = self.eval(script);
            if said == true { Ok(()) } else { Err(format!("{script} says {said}")) }
        });
    }

    /// Presses a key: `Shift+Tab` is one with another that is held.
    pub fn press(&mut self, key: &str) {
        let (shift, key) = key.strip_prefix("Shift+").map_or((0, key), |key| (SHIFT, key));
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Space" => (32, " "),
            "ArrowLeft" => (37, ""),
            "ArrowRight" => (39, ""),
            "Escape" => (27, ""),
            _ => panic!("{key}: which key is that?"),
        };
        let name = if key == "Space" { " " } else { key };
        let params =
            json!({ "key": name, "code": key, "windowsVirtualKeyCode": code, "modifiers": shift });
        self.strike(params, text);
    }

    /// Types a text, a key for each character of it.
    pub fn type_text(&mut self, text: &str) {
        for one in text.chars() {
            let text = one.to_string();
            self.strike(json!({ "key": text }), &text);
        }
    }

    /// A key goes down and up again, and writes this.
    fn strike(&mut self, mut key: Value, text: &str) {
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            key["type"] = kind.into();
            key["text"] = text.into();
            self.ask("Input.dispatchKeyEvent", &key);
        }
    }

    /// Presses what leads to another page, or to the same anew, and waits until that is there.
    pub fn leave_by(&mut self, key: &str) {
        self.eval("window.isOfBefore = true");
        self.press(key);
        self.until("!window.isOfBefore && document.readyState === 'complete'");
    }

    /// Shows the page on this.
    pub fn set_screen(&mut self, screen: Screen) {
        let Screen { width, height, is_dark } = screen;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", &features);
    }

    /// Writes what is seen to a PNG at `path`.
    pub fn screenshot(&mut self, path: &Path) {
        let shot = self.ask("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = base64::decode(shot["data"].as_str().expect("a picture"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for pictures");
        fs::write(path, bytes.expect("base64")).expect("the picture is written");
    }
}

/// As `/usr/bin/chromium-headless-shell` can be run by root, and says nothing to anybody.
const FLAGS: [&str; 9] = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];
/// What the browser says of a page that it has left meanwhile.
const GONE: &str = "Inspected target navigated or closed";
/// How the protocol says that this key is held.
const SHIFT: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(30);
