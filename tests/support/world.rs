//! The other side of the gateway: a registry of each kind, with what belongs to it, over one storage.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pullgate::cli::demo::image::Image;
use tempfile::TempDir;

use super::cdn;
use super::hosts::{CDN, CDN_IP, REGISTRY, REGISTRY_IP, TOKENS, TOKENS_IP};
use super::images::image;
use super::origin::Origin;
use super::registry::{Access, Options, Registry};
use super::tokens::{Life, Tokens};

/// How a registry behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It serves anybody.
    Open,
    /// It wants a password with each request.
    Htpasswd,
    /// It wants a token.
    Token,
    /// It wants a token, and redirects blobs to storage that refuses credentials.
    Redirecting,
}

/// A registry and what stands around it. Each server keeps what it was asked.
pub struct World {
    /// Whom clients and the gateway know as the registry.
    pub registry: Origin,
    /// The token server, of those that want tokens.
    pub tokens: Option<Tokens>,
    /// The storage that blobs are redirected to.
    pub cdn: Option<Origin>,
    _registry: Registry,
    directory: TempDir,
}

/// Content that registries share.
pub struct Storage(TempDir);

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Htpasswd, Self::Token, Self::Redirecting];

    /// As tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Htpasswd => "htpasswd",
            Self::Token => "token",
            Self::Redirecting => "token and CDN",
        }
    }

    /// Whether it wants tokens.
    pub fn wants_tokens(self) -> bool {
        matches!(self, Self::Token | Self::Redirecting)
    }
}

impl Storage {
    /// With an image as `latest` in each of the repositories; a repository's name is its image's
    /// seed.
    pub fn with(repositories: impl IntoIterator<Item = String>) -> Self {
        let storage = Self(tempfile::tempdir().expect("a temporary directory"));
        let registry = storage.registry(Access::Open, None);
        for repository in repositories {
            registry.push(&repository, "latest", &image(&repository));
        }
        storage
    }

    /// Puts another image there, as `latest`.
    pub fn push(&self, repository: &str, image: &Image) {
        self.registry(Access::Open, None).push(repository, "latest", image);
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn registry(&self, access: Access<'_>, blobs_at: Option<String>) -> Registry {
        let (storage, ip) = (self.path(), REGISTRY_IP.into());
        Registry::start_with(&Options { storage, access, blobs_at, certificate: None, ip })
    }
}

impl World {
    /// Starts everything of a `kind`.
    pub fn start(kind: Kind, storage: &Storage) -> Self {
        let tokens = kind.wants_tokens().then(|| Tokens::start(TOKENS_IP, TOKENS));
        Self::start_with(kind, storage, tokens, &Arc::default())
    }

    /// Starts everything of a kind that wants tokens, with tokens that live as long as `life` says,
    /// and a registry that is slow while `is_slow`.
    pub fn start_slow(
        kind: Kind,
        storage: &Storage,
        life: Life,
        is_slow: &Arc<AtomicBool>,
    ) -> Self {
        let tokens = Tokens::start_with(TOKENS_IP, TOKENS, life);
        Self::start_with(kind, storage, Some(tokens), is_slow)
    }

    fn start_with(
        kind: Kind,
        storage: &Storage,
        tokens: Option<Tokens>,
        is_slow: &Arc<AtomicBool>,
    ) -> Self {
        let redirects = kind == Kind::Redirecting;
        let cdn = redirects.then(|| cdn::start(CDN_IP, storage.path()));
        let blobs_at = cdn.as_ref().map(|cdn| format!("http://{CDN}:{}", cdn.address().port()));
        let access = match (kind, &tokens) {
            (Kind::Htpasswd, _) => Access::Htpasswd,
            (_, Some(tokens)) => Access::Token(tokens),
            (_, None) => Access::Open,
        };
        let registry = storage.registry(access, blobs_at);
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { registry: registry.front_slow(is_slow), tokens, cdn, _registry: registry, directory }
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        self.registry.requests();
        self.tokens.iter().for_each(|tokens| drop(tokens.requests()));
        self.cdn.iter().for_each(|cdn| drop(cdn.requests()));
    }

    /// Files that belong to it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The registry's `host:port`.
    pub fn authority(&self) -> String {
        format!("{REGISTRY}:{}", self.registry.address().port())
    }
}
