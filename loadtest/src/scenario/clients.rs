//! How requests of real clients read.

use crate::target::packages::DOMAIN;

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Docker,
    Podman,
}

impl Client {
    /// A request, with `fields` as lines.
    pub(super) fn request(
        self,
        method: &str,
        target: &str,
        fields: &[&str],
        keep_alive: bool,
    ) -> Box<[u8]> {
        let agent = match self {
            Self::Docker => DOCKER,
            Self::Podman => PODMAN,
        };
        let mut text =
            format!("{method} {target} HTTP/1.1\r\nHost: {DOMAIN}\r\nUser-Agent: {agent}\r\n");
        for field in fields {
            text += &format!("{field}\r\n");
        }
        text += "Accept-Encoding: gzip\r\n";
        if !keep_alive {
            text += "Connection: close\r\n";
        }
        text += "\r\n";
        text.into_bytes().into()
    }
}

const DOCKER: &str = "docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.12.0 os/linux arch/amd64 \
                      UpstreamClient(Docker-Client/28.5.2 \\(linux\\))";
const PODMAN: &str = "containers/5.34.2 (github.com/containers/image)";
/// What both take as a manifest, each kind a field of its own.
pub(super) const MANIFEST_FIELDS: &[&str] = &[
    "Accept: application/vnd.docker.distribution.manifest.v2+json",
    "Accept: application/vnd.docker.distribution.manifest.list.v2+json",
    "Accept: application/vnd.oci.image.index.v1+json",
    "Accept: application/vnd.oci.image.manifest.v1+json",
    "Accept: application/vnd.docker.distribution.manifest.v1+prettyjws",
    "Accept: application/json",
];
