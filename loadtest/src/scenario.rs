//! What clients do.

use crate::plan::{Expect, Plan, Request};
use crate::target::packages::{DOMAIN, name};

/// What is done, by the name that it has on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scenario {
    /// GETs of manifests by tag, all answered with a redirect
    Redirect,
}

impl Scenario {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
        }
    }

    /// The requests, to `packages` packages whose registry is `origin`.
    pub fn plan(self, packages: usize, origin: Option<&str>, keep_alive: bool) -> Plan {
        match self {
            Self::Redirect => redirects(packages, origin, keep_alive),
        }
    }
}

fn redirects(packages: usize, origin: Option<&str>, keep_alive: bool) -> Plan {
    let request = |name: String| {
        let target = format!("/v2/{name}/manifests/latest");
        let location = origin.map(|origin| format!("{origin}{target}").into_bytes().into());
        Request {
            bytes: get(&target, keep_alive),
            is_head: false,
            is_counted: true,
            expect: Expect { status: 307, location, ..Expect::default() },
        }
    };
    Plan::singles((0..packages).map(name).map(request).collect())
}

/// A GET as docker sends it: each kind of manifest that it takes is a field of its own.
fn get(target: &str, keep_alive: bool) -> Box<[u8]> {
    let mut text = format!("GET {target} HTTP/1.1\r\nHost: {DOMAIN}\r\nUser-Agent: {DOCKER}\r\n");
    for kind in MANIFEST_KINDS {
        text += &format!("Accept: {kind}\r\n");
    }
    text += "Accept-Encoding: gzip\r\n";
    if !keep_alive {
        text += "Connection: close\r\n";
    }
    text += "\r\n";
    text.into_bytes().into()
}

const DOCKER: &str = "docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.12.0 os/linux arch/amd64 \
                      UpstreamClient(Docker-Client/28.5.2 \\(linux\\))";
const MANIFEST_KINDS: [&str; 6] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
];
