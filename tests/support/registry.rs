//! A real registry: Debian's docker-registry, open to anybody, with one image pushed to it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use pullgate::cli::demo::image::{Content, Image};
use tempfile::TempDir;

use super::free_address;
use super::http::{Answer, Connection, get};
use super::process::{Process, installed};

/// A running registry on 127.0.0.2 with a storage directory of its own.
pub struct Registry {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Registry {
    /// Starts an empty one.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = free_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
        let config = directory.path().join("config.yml");
        let storage = directory.path().join("storage");
        let text = format!(
            "version: 0.1\n\
             log: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '{address}'}}\n",
            storage.display(),
        );
        fs::write(&config, text).expect("the registry's configuration");
        let mut command = Command::new(installed("docker-registry"));
        command.arg("serve").arg(&config);
        let mut process = Process::start(command, &directory.path().join("log"));
        process.wait_ready(|| match get(address, "/v2/") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("/v2/: {other:?}")),
        });
        Self { address, _process: process, _directory: directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Pushes `image` (OCI distribution specification, "Pushing manifests").
    pub fn push(&self, repository: &str, tag: &str, image: &Image) {
        let mut push = Push { connection: self.connect(), registry: self, repository };
        image.blobs().for_each(|blob| push.blob(blob));
        image.platforms.iter().for_each(|it| push.manifest(&it.manifest.digest, &it.manifest));
        push.manifest(tag, &image.index);
    }

    fn connect(&self) -> Connection {
        Connection::open(self.address).expect("the registry listens")
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
