//! Real clients, each with its state in a directory of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use pullgate::cli::demo::image::{Image, Platform};
use tempfile::TempDir;

use super::hosts::Hosts;
use super::process::{Process, attempt, installed, run};

/// A program that pulls images, with an empty store when it is made.
pub trait Client {
    /// Pulls `reference` (`host:port/name:tag`) over plain HTTP, or returns the client's words.
    fn try_pull(&self, reference: &str) -> Result<(), String>;

    /// Asserts that what it holds as `reference` is `image`'s platform for this machine, whole.
    fn assert_holds(&self, reference: &str, image: &Image);
}

/// The platform of `image` that a client on this machine chooses.
fn native(image: &Image) -> &Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => panic!("the sample image has no {other}"),
    };
    let mut platforms = image.platforms.iter();
    platforms.find(|it| it.architecture == architecture).expect("the sample image has both")
}

/// Copies into an OCI layout.
pub struct Skopeo(Home);

impl Skopeo {
    /// With an empty layout.
    pub fn new() -> Self {
        Self(Home::new())
    }

    fn layout(&self) -> String {
        format!("oci:{}:pulled", self.0.path("layout").display())
    }
}

impl Client for Skopeo {
    fn try_pull(&self, reference: &str) -> Result<(), String> {
        let mut skopeo = self.0.command("skopeo");
        skopeo.args(["copy", "--src-tls-verify=false"]);
        attempt(skopeo.arg(format!("docker://{reference}")).arg(self.layout())).map(drop)
    }

    fn assert_holds(&self, _reference: &str, image: &Image) {
        let manifest = run(self.0.command("skopeo").args(["inspect", "--raw", &self.layout()]));
        assert_eq!(manifest.as_bytes(), native(image).manifest.bytes);
        let layout = self.0.path("layout/blobs/sha256");
        for layer in &native(image).layers {
            let file = layout.join(layer.digest.trim_start_matches("sha256:"));
            assert_eq!(fs::read(file).expect("the layer"), layer.bytes);
        }
    }
}

/// Pulls into a store on the `vfs` driver.
pub struct Podman(Home);

impl Podman {
    /// With an empty store.
    pub fn new() -> Self {
        let home = Home::new();
        installed("crun");
        let text = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"{}\"\ngraphroot = \"{}\"\n",
            home.path("run").display(),
            home.path("graph").display(),
        );
        fs::write(home.path("storage.conf"), text).expect("podman's configuration");
        Self(home)
    }

    fn podman(&self) -> Command {
        let mut podman = self.0.command("podman");
        podman.env("CONTAINERS_STORAGE_CONF", self.0.path("storage.conf"));
        podman
    }
}

impl Client for Podman {
    fn try_pull(&self, reference: &str) -> Result<(), String> {
        attempt(self.podman().args(["pull", "--quiet", "--tls-verify=false", reference])).map(drop)
    }

    fn assert_holds(&self, reference: &str, image: &Image) {
        let id = run(self.podman().args(["image", "inspect", "--format={{.Id}}", reference]));
        assert_eq!(format!("sha256:{}", id.trim()), native(image).config.digest);
    }
}

/// Debian's docker, whose image store is the classic one, with a daemon of its own.
pub struct Docker {
    // Before its directory: fields are dropped in this order.
    _daemon: Process,
    home: Home,
}

impl Docker {
    /// With an empty store.
    pub fn start() -> Self {
        let home = Home::new();
        fs::write(home.path("daemon.json"), "{}").expect("dockerd's configuration");
        let mut dockerd = home.command("dockerd");
        dockerd.arg("--data-root").arg(home.path("data")).arg("--exec-root").arg(home.path("exec"));
        dockerd.arg("--pidfile").arg(home.path("pid")).arg("--host").arg(Self::socket(&home));
        dockerd.arg("--config-file").arg(home.path("daemon.json"));
        dockerd.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        dockerd.arg("--bridge=none");
        let mut daemon = Process::start(dockerd, &home.path("log"));
        daemon.wait_ready(|| answers(&mut Self::docker(&home, &["version"])));
        Self { home, _daemon: daemon }
    }

    fn socket(home: &Home) -> String {
        format!("unix://{}", home.path("socket").display())
    }

    fn docker(home: &Home, arguments: &[&str]) -> Command {
        let mut docker = home.command("docker");
        docker.arg("--host").arg(Self::socket(home)).args(arguments);
        docker
    }
}

impl Client for Docker {
    fn try_pull(&self, reference: &str) -> Result<(), String> {
        attempt(&mut Self::docker(&self.home, &["pull", "--quiet", reference])).map(drop)
    }

    fn assert_holds(&self, reference: &str, image: &Image) {
        let inspect = ["image", "inspect", "--format={{.Id}}", reference];
        let id = run(&mut Self::docker(&self.home, &inspect));
        assert_eq!(id.trim(), native(image).config.digest);
    }
}

/// `ctr`, with a containerd of its own.
pub struct Containerd {
    // Before its directory: fields are dropped in this order.
    _daemon: Process,
    home: Home,
}

impl Containerd {
    /// With an empty store.
    pub fn start() -> Self {
        let home = Home::new();
        let text = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n",
            home.path("root").display(),
            home.path("state").display(),
            home.path("socket").display(),
        );
        fs::write(home.path("config.toml"), text).expect("containerd's configuration");
        let mut containerd = home.command("containerd");
        containerd.arg("--config").arg(home.path("config.toml"));
        let mut daemon = Process::start(containerd, &home.path("log"));
        daemon.wait_ready(|| answers(&mut Self::ctr(&home, &["version"])));
        Self { home, _daemon: daemon }
    }

    fn ctr(home: &Home, arguments: &[&str]) -> Command {
        let mut ctr = home.command("ctr");
        ctr.arg("--address").arg(home.path("socket")).args(arguments);
        ctr
    }
}

impl Client for Containerd {
    fn try_pull(&self, reference: &str) -> Result<(), String> {
        attempt(&mut Self::ctr(&self.home, &["images", "pull", "--plain-http", reference]))
            .map(drop)
    }

    fn assert_holds(&self, reference: &str, image: &Image) {
        let name = format!("name=={reference}");
        let listed = run(&mut Self::ctr(&self.home, &["images", "list", &name]));
        assert!(listed.contains(&image.index.digest), "{listed}");
        let held = run(&mut Self::ctr(&self.home, &["content", "list", "--quiet"]));
        let Platform { manifest, config, layers, .. } = native(image);
        for content in [manifest, config].into_iter().chain(layers) {
            assert!(held.contains(&content.digest), "{held}");
        }
    }
}

/// A client's directory, and the names it sees.
struct Home {
    directory: TempDir,
    hosts: Hosts,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let hosts = Hosts::write(directory.path());
        Self { directory, hosts }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.hosts.command(program);
        command.env("HOME", self.directory.path()).env("TMPDIR", self.directory.path());
        command
    }
}

fn answers(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|problem| problem.to_string())?;
    let words = || String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(words()) }
}
