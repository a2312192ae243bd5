//! Real clients, each with its state in a directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pullgate::cli::demo::image::{Image, Platform};
use serde_json::json;
use tempfile::TempDir;

use super::hosts::Hosts;
use super::process::{Process, attempt, installed};
use super::tokens::{Login, basic};

/// A program that pulls images, with an empty store when it is made.
pub trait Client: Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Pulls `reference` (`host:port/name:tag`), with a login if there is one, or returns the client's
    /// words: over plain HTTP, or over https from who is trusted.
    fn try_pull_as(&self, login: Option<Login>, reference: &str) -> Result<(), String>;

    /// Whether what it holds as `reference` is `image`'s platform for this machine, whole; else
    /// what it holds.
    fn holds(&self, reference: &str, image: &Image) -> Result<(), String>;

    /// Pulls without a login.
    fn try_pull(&self, reference: &str) -> Result<(), String> {
        self.try_pull_as(None, reference)
    }

    /// Asserts what [`Self::holds`] says.
    fn assert_holds(&self, reference: &str, image: &Image) {
        self.holds(reference, image).unwrap_or_else(|words| panic!("{words}"));
    }
}

/// The clients that Debian brings, each with a new and empty store.
pub fn all() -> Vec<Box<dyn Client>> {
    vec![
        Box::new(Docker::start()),
        Box::new(Containerd::start()),
        Box::new(Podman::new()),
        Box::new(Skopeo::new()),
        Box::new(Buildah::new()),
    ]
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

    /// The same, which trusts the authority whose certificate is in the file.
    pub fn trusting(root: &Path) -> Self {
        Self(Home::new().trusting(root))
    }

    fn layout(&self) -> String {
        format!("oci:{}:pulled", self.0.path("layout").display())
    }

    /// `skopeo login`, which asks the registry.
    pub fn try_login(&self, login: Login, authority: &str) -> Result<(), String> {
        log_in(self.0.command("skopeo"), &self.0, login, authority)
    }
}

impl Client for Skopeo {
    fn name(&self) -> &'static str {
        "skopeo"
    }

    fn try_pull_as(&self, login: Option<Login>, reference: &str) -> Result<(), String> {
        let mut skopeo = self.0.command("skopeo");
        skopeo.arg("copy").arg(format!("--src-tls-verify={}", self.0.trusts));
        skopeo.args(login.map(|login| format!("--src-creds={}", pair(login))));
        attempt(skopeo.arg(format!("docker://{reference}")).arg(self.layout())).map(drop)
    }

    fn holds(&self, _reference: &str, image: &Image) -> Result<(), String> {
        let manifest = attempt(self.0.command("skopeo").args(["inspect", "--raw", &self.layout()]));
        same(manifest?.as_bytes(), &native(image).manifest.bytes)?;
        let layout = self.0.path("layout/blobs/sha256");
        native(image).layers.iter().try_for_each(|layer| {
            let file = layout.join(layer.digest.trim_start_matches("sha256:"));
            same(&fs::read(file).map_err(|problem| problem.to_string())?, &layer.bytes)
        })
    }
}

/// Pulls into a store of its own.
pub struct Podman(Home);

impl Podman {
    /// With an empty store.
    pub fn new() -> Self {
        installed("crun");
        Self(Home::with_storage())
    }

    /// The same, which trusts the authority whose certificate is in the file.
    pub fn trusting(root: &Path) -> Self {
        installed("crun");
        Self(Home::with_storage().trusting(root))
    }

    /// `podman login`, which asks the registry.
    pub fn try_login(&self, login: Login, authority: &str) -> Result<(), String> {
        log_in(self.0.command("podman"), &self.0, login, authority)
    }
}

impl Client for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn try_pull_as(&self, login: Option<Login>, reference: &str) -> Result<(), String> {
        let mut podman = self.0.command("podman");
        podman.args(["pull", "--quiet", &format!("--tls-verify={}", self.0.trusts)]);
        podman.args(login.map(|login| format!("--creds={}", pair(login))));
        attempt(podman.arg(reference)).map(drop)
    }

    fn holds(&self, reference: &str, image: &Image) -> Result<(), String> {
        let mut podman = self.0.command("podman");
        let id = attempt(podman.args(["image", "inspect", "--format={{.Id}}", reference]))?;
        same(format!("sha256:{}", id.trim()).as_bytes(), native(image).config.digest.as_bytes())
    }
}

/// Pulls into a store of its own.
pub struct Buildah(Home);

impl Buildah {
    /// With an empty store.
    pub fn new() -> Self {
        Self(Home::with_storage())
    }
}

impl Client for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn try_pull_as(&self, login: Option<Login>, reference: &str) -> Result<(), String> {
        let mut buildah = self.0.command("buildah");
        buildah.args(["pull", "--quiet", "--tls-verify=false"]);
        buildah.args(login.map(|login| format!("--creds={}", pair(login))));
        attempt(buildah.arg(reference)).map(drop)
    }

    fn holds(&self, reference: &str, image: &Image) -> Result<(), String> {
        let mut buildah = self.0.command("buildah");
        let id = attempt(buildah.args(["images", "--no-trunc", "--quiet", reference]))?;
        same(id.trim().as_bytes(), native(image).config.digest.as_bytes())
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
        Self::in_home(Home::new())
    }

    /// The same, which trusts the authority whose certificate is in the file. It looks at nobody's
    /// certificate on loopback, but speaks TLS there.
    pub fn trusting(root: &Path) -> Self {
        Self::in_home(Home::new().trusting(root))
    }

    fn in_home(home: Home) -> Self {
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

    /// `docker login`, which asks the registry.
    pub fn try_login(&self, login: Login, authority: &str) -> Result<(), String> {
        let user = ["--username", login.user, "--password", login.password];
        let arguments = [["login"].as_slice(), &user, &[authority]].concat();
        attempt(&mut Self::docker(&self.home, &arguments)).map(drop)
    }

    /// Leaves what `docker login` leaves behind, without asking.
    fn log_in(&self, login: Option<Login>, reference: &str) {
        let authority = reference.split('/').next().unwrap_or_default();
        let auths = login.map_or_else(
            || json!({}),
            |login| json!({authority: {"auth": basic(login).trim_start_matches("Basic ")}}),
        );
        let folder = self.home.path(".docker");
        fs::create_dir_all(&folder).expect("docker's own folder");
        let text = json!({ "auths": auths }).to_string();
        fs::write(folder.join("config.json"), text).expect("docker's own file");
    }
}

impl Client for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn try_pull_as(&self, login: Option<Login>, reference: &str) -> Result<(), String> {
        self.log_in(login, reference);
        attempt(&mut Self::docker(&self.home, &["pull", "--quiet", reference])).map(drop)
    }

    fn holds(&self, reference: &str, image: &Image) -> Result<(), String> {
        let inspect = ["image", "inspect", "--format={{.Id}}", reference];
        let id = attempt(&mut Self::docker(&self.home, &inspect))?;
        same(id.trim().as_bytes(), native(image).config.digest.as_bytes())
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
        Self::in_home(Home::new())
    }

    /// The same, which trusts the authority whose certificate is in the file.
    pub fn trusting(root: &Path) -> Self {
        Self::in_home(Home::new().trusting(root))
    }

    fn in_home(home: Home) -> Self {
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
    fn name(&self) -> &'static str {
        "containerd"
    }

    fn try_pull_as(&self, login: Option<Login>, reference: &str) -> Result<(), String> {
        let mut ctr = Self::ctr(&self.home, &["images", "pull"]);
        if !self.home.trusts {
            ctr.args(["--plain-http", "--skip-verify"]);
        }
        ctr.args(login.map(|login| format!("--user={}", pair(login))));
        attempt(ctr.arg(reference)).map(drop)
    }

    fn holds(&self, reference: &str, image: &Image) -> Result<(), String> {
        let name = format!("name=={reference}");
        let listed = attempt(&mut Self::ctr(&self.home, &["images", "list", &name]))?;
        let held = attempt(&mut Self::ctr(&self.home, &["content", "list", "--quiet"]))?;
        let Platform { manifest, config, layers, .. } = native(image);
        let lacks =
            [manifest, config].into_iter().chain(layers).find(|it| !held.contains(&it.digest));
        match lacks {
            None if listed.contains(&image.index.digest) => Ok(()),
            lacks => Err(format!("{:?} is not in {held}, or {listed}", lacks.map(|it| &it.digest))),
        }
    }
}

/// A client's directory, and the names it sees.
struct Home {
    directory: TempDir,
    hosts: Hosts,
    /// Whether it has an authority to trust, and talks to nobody else.
    trusts: bool,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let hosts = Hosts::write(directory.path());
        Self { directory, hosts, trusts: false }
    }

    fn trusting(self, root: &Path) -> Self {
        fs::copy(root, self.path("root.pem")).expect("the authority's certificate");
        Self { trusts: true, ..self }
    }

    /// For what keeps images as podman does.
    fn with_storage() -> Self {
        let home = Self::new();
        let text = format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = \"{}\"\ngraphroot = \"{}\"\n",
            home.path("run").display(),
            home.path("graph").display(),
        );
        fs::write(home.path("storage.conf"), text).expect("the storage's configuration");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.hosts.command(program);
        command.env("HOME", self.directory.path()).env("TMPDIR", self.directory.path());
        command.env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"));
        if self.trusts {
            command.env("SSL_CERT_FILE", self.path("root.pem"));
        }
        command
    }
}

/// As those do that keep logins in a file of their own.
fn log_in(mut program: Command, home: &Home, login: Login, authority: &str) -> Result<(), String> {
    program.args(["login", "--tls-verify=false", "--authfile"]).arg(home.path("auth.json"));
    program.args(["--username", login.user, "--password", login.password, authority]);
    attempt(&mut program).map(drop)
}

fn pair(login: Login) -> String {
    format!("{}:{}", login.user, login.password)
}

fn same(held: &[u8], expected: &[u8]) -> Result<(), String> {
    let [held, expected] = [held, expected].map(String::from_utf8_lossy);
    if held == expected { Ok(()) } else { Err(format!("{held:.200} instead of {expected:.200}")) }
}

fn answers(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|problem| problem.to_string())?;
    let words = || String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(words()) }
}
