//! Host names for the programs of a test, without touching the machine's `/etc/hosts`.
//!
//! Whether a client's `Authorization` survives a redirect depends on the two host names, ports
//! aside: with gateway and registry both on 127.0.0.1 a test would pass for the wrong reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::installed;

/// The gateway's public name; 127.0.0.1.
pub const GATEWAY: &str = "gw.pg.test";
/// The registry's name; 127.0.0.2. Neither is a part of the other.
pub const REGISTRY: &str = "reg.other.test";

/// A hosts file, shown to programs as `/etc/hosts` in a mount namespace of their own.
pub struct Hosts(PathBuf);

impl Hosts {
    /// Writes the file into `directory`.
    pub fn write(directory: &Path) -> Self {
        let path = directory.join("hosts");
        let text = format!("127.0.0.1 localhost\n127.0.0.1 {GATEWAY}\n127.0.0.2 {REGISTRY}\n");
        fs::write(&path, text).expect("the hosts file");
        Self(path)
    }

    /// A command that sees these names. It keeps its process id through both `exec`s.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg(r#"mount --bind "$0" /etc/hosts && exec "$@""#).arg(&self.0);
        command.arg(installed(program));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}
