//! An authority that speaks ACME: pebble, which asks the name server beside it where domains lead.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::eventually::eventually;
use super::free_address;
use super::http::get;
use super::process::{Process, attempt, installed, run};
use super::tls::Authority;

/// Where it will be, running or not.
pub struct Pebble {
    address: SocketAddr,
    management: SocketAddr,
    names: SocketAddr,
    names_management: SocketAddr,
    directory: TempDir,
    running: Vec<Process>,
}

impl Pebble {
    /// One that does not run yet.
    pub fn new() -> Self {
        let [address, management, names, names_management] =
            [(); 4].map(|()| free_address(Ipv4Addr::LOCALHOST.into()));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::new();
        authority.write(&directory.path().join("ca.pem"));
        authority.identify("127.0.0.1").write(directory.path(), "pebble");
        Self { address, management, names, names_management, directory, running: Vec::new() }
    }

    /// `[acme]`, for who is to ask it; more keys may follow.
    pub fn section(&self) -> String {
        let ca = self.path("ca.pem");
        format!(
            "[acme]\ndirectory = \"https://{}/dir\"\nca_file = \"{}\"\n",
            self.address,
            ca.display()
        )
    }

    /// Starts it. It looks for proof at these ports of whatever host, with more keys of its
    /// configuration, and refuses so many of a hundred nonces.
    pub fn start(&mut self, plain: SocketAddr, tls: SocketAddr, more: &Value, bad_nonces: u32) {
        let mut pebble = json!({
            "listenAddress": self.address.to_string(),
            "managementListenAddress": self.management.to_string(),
            "certificate": self.path("pebble.crt"),
            "privateKey": self.path("pebble.key"),
            "httpPort": plain.port(),
            "tlsPort": tls.port(),
            "ocspResponderURL": "",
        });
        let keys = pebble.as_object_mut().expect("an object");
        keys.extend(more.as_object().cloned().unwrap_or_else(Map::new));
        let config = self.path("pebble.json");
        fs::write(&config, json!({ "pebble": pebble }).to_string()).expect("its configuration");
        let mut names = Command::new(installed("pebble-challtestsrv"));
        names.args([
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
        ]);
        names.args(["-tlsalpn01", "", "-dns01", &self.names.to_string()]);
        names.args(["-management", &self.names_management.to_string()]);
        let mut names = Process::start(names, &self.path("names.log"));
        // It answers whatever is asked, if only with a refusal.
        names.wait_ready(|| {
            get(self.names_management, "/").map(drop).map_err(|why| why.to_string())
        });
        let mut pebble = Command::new(installed("pebble"));
        pebble.arg("-config").arg(config).args(["-dnsserver", &self.names.to_string()]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        pebble.env("PEBBLE_WFE_NONCEREJECT", bad_nonces.to_string());
        let mut pebble = Process::start(pebble, &self.path("pebble.log"));
        pebble.wait_ready(|| self.root().map(drop));
        self.running = vec![pebble, names];
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.running.clear();
    }

    /// Lets a host be found somewhere else.
    pub fn lead(&self, host: &str, address: &str) {
        let body = json!({ "host": format!("{host}."), "addresses": [address] }).to_string();
        let url = format!("http://{}/add-a", self.names_management);
        run(Command::new(installed("curl")).args(["-sSf", "-d", &body, &url]));
    }

    /// Lets a host be another name of one.
    pub fn alias(&self, host: &str, of: &str) {
        let body = json!({ "host": format!("{host}."), "target": format!("{of}.") }).to_string();
        let url = format!("http://{}/set-cname", self.names_management);
        run(Command::new(installed("curl")).args(["-sSf", "-d", &body, &url]));
    }

    /// How often its log names a host: whenever it is asked for a certificate of it, and looks for proof.
    pub fn mentions(&self, host: &str) -> usize {
        let log = fs::read_to_string(self.path("pebble.log")).expect("its log");
        log.matches(&format!("\"{host}\"")).count()
    }

    /// Where it asks for names.
    pub fn names(&self) -> SocketAddr {
        self.names
    }

    /// A file of the certificate that its own are to be believed by; another one after each start.
    pub fn root_file(&self) -> PathBuf {
        let pem = eventually(|| self.root());
        let path = self.path("root.pem");
        fs::write(&path, pem).expect("its root");
        path
    }

    /// A file of a certificate by which none of its own are believed.
    pub fn other_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    fn root(&self) -> Result<String, String> {
        let url = format!("https://{}/roots/0", self.management);
        let mut curl = Command::new(installed("curl"));
        attempt(curl.arg("-sSf").arg("--cacert").arg(self.path("ca.pem")).arg(url))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
