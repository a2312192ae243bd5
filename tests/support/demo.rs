//! The demo's ninety days of pulls, and who looks at them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::browser::Browser;
use super::free_address;
use super::gate::pullgate;
use super::http::Connection;
use super::person::{PASSWORD, Person};
use super::process::Process;

/// Fills in the page of a new package, `made.example/demo/new` of a registry as the demo's own packages name it, and
/// waits until it is made.
pub fn send_new(browser: &mut Browser, lives_at: &Value) {
    browser.eval(&format!(
        "document.getElementById('domain').value = 'made.example'; \
         document.getElementById('name').value = 'demo/new'; \
         document.getElementById('backends').value = {lives_at}; 0"
    ));
    browser.eval("document.querySelector('main form button').click()");
    browser.until("location.pathname === '/packages/made.example/demo/new'");
}

/// `pullgate demo --with-history`, and the first person at its dashboard.
pub struct Demo {
    _process: Process,
    /// Where it is pulled from.
    pub gateway: SocketAddr,
    /// Where its dashboard is.
    pub admin: SocketAddr,
    _room: TempDir,
}

impl Demo {
    /// Both, with no account but hers.
    pub fn start() -> (Self, Person) {
        let room = tempfile::tempdir().expect("a temporary directory");
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (gateway, admin) = (free_address(loopback), free_address(loopback));
        let temporary = room.path().join("tmp");
        fs::create_dir(&temporary).expect("a directory");
        let mut command = Command::new(pullgate());
        command.args(["demo", "--with-history", "--port", &gateway.port().to_string()]);
        command.args(["--admin-port", &admin.port().to_string()]).env("TMPDIR", temporary);
        let log = room.path().join("log");
        let mut process = Process::start(command, &log);
        let mut link = String::new();
        process.wait_ready(|| {
            let words = fs::read_to_string(&log).unwrap_or_default();
            let at = words.find("/set-up?key=").filter(|_| words.contains("as they are counted:"));
            let told = at.and_then(|at| words[at..].split_whitespace().next());
            link = told.ok_or("no link yet")?.to_owned();
            Ok(())
        });
        let mut ada = Person::at(admin);
        let fields = [("login", "ada"), ("organisation", "acme"), ("password", PASSWORD)];
        assert_eq!(ada.fill_in(&link, &fields).status, 303);
        (Self { _process: process, gateway, admin, _room: room }, ada)
    }

    /// Pulls the demo's own image as docker does, as somebody at `source`.
    pub fn pull(&self, source: u8) {
        self.pull_of(&self.gateway.to_string(), "demo/hello", source);
    }

    /// The same of a package at some domain.
    pub fn pull_of(&self, domain: &str, name: &str, source: u8) {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, source));
        let mut connection = Connection::open_from(source, self.gateway).expect("a connection");
        let agent = "User-Agent: docker/28.5.2 go/go1.24.9 os/linux arch/amd64";
        let headers = [format!("Host: {domain}"), agent.to_owned()];
        let target = format!("/v2/{name}/manifests/latest");
        let answer = connection.ask("GET", &target, &headers, b"").expect("an answer");
        assert!(answer.status < 400, "{answer:?}");
    }
}
