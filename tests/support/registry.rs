//! Real registries: Debian's docker-registry over a directory, with each kind of authentication,
//! and what stands before it so that the test sees what arrives.

use std::fs;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pullgate::cli::demo::image::{Content, Image};
use tempfile::TempDir;

use super::eventually::pause;
use super::free_address;
use super::hosts::{Hosts, MIRROR_IP, REGISTRY_IP};
use super::http::{Answer, Connection, get};
use super::origin::{Origin, Talk};
use super::process::Process;
use super::tokens::{HTPASSWD, ISSUER, SERVICE, Tokens};

/// A running registry.
pub struct Registry {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

/// Who may pull.
#[derive(Clone, Copy)]
pub enum Access<'a> {
    /// Anybody.
    Open,
    /// `tokens::RIGHT` (RFC 7617).
    Htpasswd,
    /// Who has a token.
    Token(&'a Tokens),
}

/// What is special about a registry.
pub struct Options<'a> {
    /// Where its content lies; several registries may share it.
    pub storage: &'a Path,
    /// Who may pull.
    pub access: Access<'a>,
    /// Where blobs are redirected to: an origin that serves `storage`.
    pub blobs_at: Option<String>,
    /// The files of a certificate and its key, for TLS.
    pub certificate: Option<[&'a Path; 2]>,
    /// Where it listens.
    pub ip: IpAddr,
}

impl Registry {
    /// Starts one on 127.0.0.2 that is open to anybody and empty.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let storage = directory.path().join("storage");
        let (access, ip) = (Access::Open, REGISTRY_IP.into());
        let options = Options { storage: &storage, access, blobs_at: None, certificate: None, ip };
        Self::start_in(&options, directory)
    }

    /// Starts one with `options`.
    pub fn start_with(options: &Options<'_>) -> Self {
        Self::start_in(options, tempfile::tempdir().expect("a temporary directory"))
    }

    fn start_in(options: &Options<'_>, directory: TempDir) -> Self {
        let text = options.text(directory.path());
        Self::run(text, options.ip, directory)
    }

    fn run(text: String, ip: IpAddr, directory: TempDir) -> Self {
        let address = free_address(ip);
        let config = directory.path().join("config.yml");
        let text = text.replace(ADDRESS, &address.to_string());
        fs::write(&config, text).expect("its configuration");
        let hosts = Hosts::write(directory.path());
        let mut command = hosts.command("docker-registry");
        command.arg("serve").arg(&config);
        let mut process = Process::start(command, &directory.path().join("log"));
        process.wait_ready(|| match get(address, "/v2/") {
            // 400: it listens, and speaks TLS only.
            Ok(answer) if [200, 400, 401].contains(&answer.status) => Ok(()),
            other => Err(format!("/v2/: {other:?}")),
        });
        Self { address, _process: process, _directory: directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts one that keeps what it gets from `remote`, as a pull-through cache does.
    pub fn start_mirror(remote: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let storage = directory.path().join("storage");
        let (access, ip) = (Access::Open, MIRROR_IP.into());
        let options = Options { storage: &storage, access, blobs_at: None, certificate: None, ip };
        Self::run(options.text_of_mirror(remote), ip, directory)
    }

    /// Pushes `image` (OCI distribution specification, "Pushing manifests").
    pub fn push(&self, repository: &str, tag: &str, image: &Image) {
        let connection = Connection::open(self.address).expect("the registry listens");
        let mut push = Push { connection, registry: self, repository };
        image.blobs().for_each(|blob| push.blob(blob));
        image.platforms.iter().for_each(|it| push.manifest(&it.manifest.digest, &it.manifest));
        push.manifest(tag, &image.index);
    }

    /// Stands before it on another port: what comes is kept, and passed on byte for byte.
    pub fn front(&self) -> Origin {
        self.front_slow(&Arc::default())
    }

    /// The same, and what the registry answers trickles, ten kilobytes a second on each connection,
    /// while `is_slow`.
    pub fn front_slow(&self, is_slow: &Arc<AtomicBool>) -> Origin {
        let (registry, is_slow) = (self.address, Arc::clone(is_slow));
        Origin::start(registry.ip(), move |talk| pass_on(talk, registry, &is_slow))
    }
}

fn pass_on(talk: &mut Talk, registry: SocketAddr, is_slow: &Arc<AtomicBool>) -> io::Result<()> {
    let Some(first) = talk.request()? else { return Ok(()) };
    let mut upward = TcpStream::connect(registry)?;
    upward.set_nodelay(true)?;
    let (mut downward, mut client) = (upward.try_clone()?, talk.socket().try_clone()?);
    let is_slow = Arc::clone(is_slow);
    thread::spawn(move || {
        let _ = trickle(&mut downward, &mut client, &is_slow);
        let _ = io::copy(&mut downward, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    io::Write::write_all(&mut upward, &first.head)?;
    while let Ok(Some(request)) = talk.request() {
        io::Write::write_all(&mut upward, &request.head)?;
    }
    upward.shutdown(Shutdown::Both)
}

/// Copies slowly while `is_slow`.
fn trickle(from: &mut TcpStream, to: &mut TcpStream, is_slow: &AtomicBool) -> io::Result<()> {
    let mut some = [0; 256];
    while is_slow.load(Ordering::SeqCst) {
        let count = io::Read::read(from, &mut some)?;
        if count == 0 {
            break;
        }
        io::Write::write_all(to, &some[..count])?;
        pause();
    }
    Ok(())
}

impl Options<'_> {
    fn text_of_mirror(&self, remote: &str) -> String {
        format!("{}proxy: {{remoteurl: '{remote}'}}\n", self.text(self.storage))
    }

    fn text(&self, directory: &Path) -> String {
        let mut text = format!(
            "version: 0.1\n\
             log: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: '{ADDRESS}'\n",
            self.storage.display(),
        );
        if let Some([certificate, key]) = self.certificate {
            text += &format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                certificate.display(),
                key.display()
            );
        }
        if let Some(base) = &self.blobs_at {
            text += &format!(
                "middleware: {{storage: [{{name: redirect, options: {{baseurl: '{base}'}}}}]}}\n"
            );
        }
        match self.access {
            Access::Open => {}
            Access::Htpasswd => {
                let file = directory.join("htpasswd");
                fs::write(&file, HTPASSWD).expect("the password file");
                text += &format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display());
            }
            Access::Token(tokens) => {
                let file = directory.join("tokens.crt");
                tokens.write_certificate(&file);
                text += &format!(
                    "auth: {{token: {{realm: '{}', service: {SERVICE}, issuer: {ISSUER}, \
                     rootcertbundle: {}}}}}\n",
                    tokens.realm(),
                    file.display(),
                );
            }
        }
        text
    }
}

struct Push<'a> {
    connection: Connection,
    registry: &'a Registry,
    repository: &'a str,
}

impl Push<'_> {
    fn blob(&mut self, blob: &Content) {
        let opened = format!("/v2/{}/blobs/uploads/", self.repository);
        let opened = self.ask("POST", &opened, "application/octet-stream", b"", 202);
        let location = opened.header("location").expect("where to upload to");
        let target = location.trim_start_matches(&format!("http://{}", self.registry.address));
        let target = format!("{target}&digest={}", blob.digest);
        self.ask("PUT", &target, "application/octet-stream", &blob.bytes, 201);
    }

    fn manifest(&mut self, reference: &str, manifest: &Content) {
        let target = format!("/v2/{}/manifests/{reference}", self.repository);
        let stored = self.ask("PUT", &target, manifest.media_type, &manifest.bytes, 201);
        assert_eq!(stored.header("docker-content-digest"), Some(manifest.digest.as_str()));
    }

    fn ask(&mut self, method: &str, target: &str, kind: &str, body: &[u8], status: u16) -> Answer {
        let headers = [format!("Host: {}", self.registry.address), format!("Content-Type: {kind}")];
        let answer = self.connection.ask(method, target, &headers, body);
        let answer = answer.unwrap_or_else(|problem| panic!("{method} {target}: {problem}"));
        let words = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{method} {target}: {words}");
        answer
    }
}

/// Where a configuration's address goes.
const ADDRESS: &str = "ADDRESS";
