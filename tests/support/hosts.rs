//! Host names for the programs of a test, without touching the machine's `/etc/hosts`.
//!
//! Whether a client's `Authorization` survives a redirect depends on the two host names, ports
//! aside: with gateway and registry both on 127.0.0.1 a test would pass for the wrong reason. No
//! name here is a part of another.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::installed;

/// The gateway's public name.
pub const GATEWAY: &str = "gw.pg.test";
/// The gateway's name for packages that ask for a login.
pub const MEMBERS: &str = "members.pg.test";
/// The registry's name.
pub const REGISTRY: &str = "reg.other.test";
/// The token server's name.
pub const TOKENS: &str = "auth.third.test";
/// The name of the storage that blobs are redirected to.
pub const CDN: &str = "cdn.fourth.test";

/// A registry at an address that counts as public; only a network of one's own leads there.
pub const PUBLIC_REGISTRY: &str = "reg.public.test";
/// Its token server.
pub const PUBLIC_TOKENS: &str = "auth.everywhere.test";

/// Where the registries listen.
pub const REGISTRY_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where the token server listens.
pub const TOKENS_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Where the storage listens.
pub const CDN_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
/// Where a pull-through cache listens.
pub const MIRROR_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// Where the public registry listens (RFC 5737).
pub const PUBLIC_REGISTRY_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Where its token server does.
pub const PUBLIC_TOKENS_IP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);

/// A hosts file, shown to programs as `/etc/hosts` in a mount namespace of their own.
pub struct Hosts(PathBuf);

impl Hosts {
    /// Writes the file into `directory`.
    pub fn write(directory: &Path) -> Self {
        let path = directory.join("hosts");
        let text = format!(
            "127.0.0.1 localhost\n127.0.0.1 {GATEWAY}\n127.0.0.1 {MEMBERS}\n\
             {REGISTRY_IP} {REGISTRY}\n{TOKENS_IP} {TOKENS}\n{CDN_IP} {CDN}\n\
             {PUBLIC_REGISTRY_IP} {PUBLIC_REGISTRY}\n{PUBLIC_TOKENS_IP} {PUBLIC_TOKENS}\n"
        );
        fs::write(&path, text).expect("the hosts file");
        Self(path)
    }

    /// Lets another name, or another address, be found.
    pub fn add(&self, name: &str, address: &str) {
        let text = fs::read_to_string(&self.0).expect("the hosts file");
        fs::write(&self.0, format!("{address} {name}\n{text}")).expect("the hosts file");
    }

    /// A command that sees these names: a program that `tests/setup.sh` installs.
    pub fn command(&self, program: &str) -> Command {
        self.command_at(&installed(program))
    }

    /// A command that sees these names. It keeps its process id through both `exec`s.
    pub fn command_at(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg(r#"mount --bind "$0" /etc/hosts && exec "$@""#).arg(&self.0);
        command.arg(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}
