//! The dashboard by its host name, through the listeners that clients pull from, and whoever plays the control
//! plane behind them.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::gate::Gate;
use super::http::Connection;
use super::process::installed;
use super::tls::Authority;

/// Its name.
pub const HOST: &str = "pullgate.acme.com";

const PACKAGE: &str = r#"
[counting]
window = "1s"

[[packages]]
domain = "registry.acme.com"
name = "acme/rocket"
backend = "ghcr.io/acme/rocket"
delivery = "redirect"
"#;

/// A gateway whose dashboard has that name; `gateway` are more keys of `[gateway]`, `more` more tables.
pub fn gate(driver: &str, gateway: &str, more: &str) -> Gate {
    let keys = format!("domain = \"{HOST}\"\n");
    Gate::start_with_admin(driver, &keys, &format!("{gateway}{PACKAGE}{more}"))
}

/// A connection to where clients pull from.
pub fn open(gate: &Gate) -> Connection {
    Connection::open(gate.address()).expect("a connection")
}

/// The head's lines of a request for `host`.
pub fn lines(host: &str, more: &[&str]) -> Vec<String> {
    let mut lines = vec![format!("Host: {host}")];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    lines
}

/// What is pulled.
pub const MANIFEST: &str = "/v2/acme/rocket/manifests/latest";

/// A pull, by whichever connection.
pub fn pull(connection: &mut Connection) -> u16 {
    let docker = "User-Agent: docker/28.5.2 go/go1.24 git-commit/0 kernel/6 os/linux arch/amd64";
    let lines = lines("registry.acme.com", &[docker]);
    connection.ask("GET", MANIFEST, &lines, b"").expect("an answer").status
}

/// Somebody who plays the control plane, at the socket that workers hand requests on to.
pub fn in_its_place(gate: &Gate) -> UnixListener {
    let socket = gate.data_dir().join("dashboard.sock");
    fs::remove_file(&socket).expect("the gateway's own");
    UnixListener::bind(socket).expect("a socket")
}

/// The next request that is handed on to it.
pub fn accept(listener: &UnixListener) -> UnixStream {
    let (stream, _) = listener.accept().expect("a request");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    stream
}

/// The head that the worker sends, in lower case.
pub fn heard(stream: &mut UnixStream) -> String {
    let mut came = Vec::new();
    while !came.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        came.push(byte[0]);
    }
    String::from_utf8(came).expect("text").to_lowercase()
}

/// Where that gateway speaks TLS, and what clients need for it.
pub struct Secured {
    files: TempDir,
    at: SocketAddr,
}

impl Secured {
    /// The same as [`gate`], over TLS too.
    pub fn gate(driver: &str, gateway: &str, more: &str) -> (Gate, Self) {
        let (authority, files) = (Authority::new(), tempfile::tempdir().expect("a directory"));
        authority.write(&files.path().join("ca.pem"));
        let [cert, key] = authority.identify(HOST).write(files.path(), "0");
        let at = super::free_address([127, 0, 0, 1].into());
        let certificates = format!(
            "\n[[certificates]]\ncert = \"{}\"\nkey = \"{}\"\n{more}",
            cert.display(),
            key.display()
        );
        let gateway = format!("listen_tls = [\"{at}\"]\n{gateway}");
        (gate(driver, &gateway, &certificates), Self { files, at })
    }

    /// A file beside its own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// curl, about to ask for `path`; `version` is one of its options.
    pub fn curl(&self, version: &str, path: &str) -> Command {
        let port = self.at.port();
        let mut curl = Command::new(installed("curl"));
        curl.args(["-sS", version, "--cacert"]).arg(self.file("ca.pem"));
        curl.args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
        curl.arg(format!("https://{HOST}:{port}{path}"));
        curl
    }
}
