//! What registries have said about manifests, kept for whoever asks next: what is fresh, what may
//! still be served while a registry fails, who waits, and how long one that fails is left alone.
//!
//! Nothing is fetched here. Whoever is told to begin a round fetches and says how it went; time is
//! an argument, in microseconds of a clock that does not go back.

use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sha2::{Digest as _, Sha256};

use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::pass;
use crate::pure::http1::relayed::DIGEST_FIELD;
use crate::pure::http1::response::{field, fields_named};
use crate::pure::limits::RETRY_AFTER_S_MAX;
use crate::pure::tokens::Identity;

#[cfg(test)]
mod properties;
mod recent;
mod record;
mod refused;
mod serving;
mod shelf;

pub use recent::{Recent, Words};
pub use record::{PLACE_BYTES, Place, RECORD_BYTES_MAX, Record, Seals};
pub use refused::Refused;
pub use serving::Serving;
pub use shelf::{Rules, Shelf, Want};

/// What something is kept under. Whatever could make another answer right is in it, so that nobody
/// is given what was fetched as somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    text: Box<str>,
    names_content: bool,
    scope: Scope,
}

/// A repository at a registry, as one identity sees it: what is refused there is refused for all that
/// is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope([u8; 8]);

/// What a registry is asked for, as far as the answer can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The registry's base, as `https://ghcr.io/v2/`.
    pub base: Box<str>,
    /// The repository's name there.
    pub repository: Box<str>,
    /// A tag, or the digest (`sha256:`) that the body is held to.
    pub reference: Box<str>,
    /// As whom.
    pub identity: Identity,
    /// What is accepted for a tag, as [`accepted`] has it: nothing else of who asks first passes, for
    /// the answer is everybody's. Of no account for a digest, which names one manifest.
    pub accept: Box<str>,
    /// Whether no more than the head is wanted of what a digest names: a HEAD costs nothing of a
    /// registry's limit of pulls.
    pub is_head: bool,
    /// Whether others have the same, so that one that fails is not asked each time.
    pub has_others: bool,
}

/// An answer that is kept. It is never written again.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// 200, or why there is nothing.
    pub status: u16,
    /// The fields of the registry's head that may be said again, as a head.
    pub fields: Box<[u8]>,
    /// The manifest's digest: of its bytes where they are here, else as the registry said; empty
    /// where it is not known.
    pub digest: Box<str>,
    /// The bytes; `None` where only a HEAD was answered.
    pub body: Option<Body>,
    /// [`crate::pure::pull::kin::Kin::bytes`] of them.
    pub kin: Box<[u8]>,
}

/// Bytes that several workers share, in the form that a ring writes from.
pub type Body = Arc<Box<[u8]>>;

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good<V> {
    /// What was answered.
    pub value: V,
    /// When it was asked for; before the clock began, where a process before this one did.
    pub since_us: i64,
    /// What it costs to keep.
    pub bytes: usize,
    /// Whether it is still worth something once the registry cannot be asked.
    pub lasts: bool,
}

/// What whoever asks is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<V> {
    /// So it is.
    Fresh(Good<V>),
    /// So it was when the registry last said something.
    Stale(Good<V>, Failure),
    /// Those who wait are answered so; nobody else is.
    Said(V),
    /// There is nothing to serve.
    Failed(Failure),
}

/// Why a registry gave no answer that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong.
    pub fault: Fault,
    /// Whose fault it is, where that is not the registry itself.
    pub at: Option<Box<str>>,
    /// Until when it is not asked this again.
    pub until_us: u64,
}

impl Key {
    /// Of what is sought. For a tag, what the client accepts decides which manifest it is; a digest
    /// names one.
    pub fn of(sought: &Sought) -> Self {
        let Sought { base, repository, reference, identity, .. } = sought;
        let form = match (sought.is_digest(), sought.is_head) {
            (false, _) => &*sought.accept,
            // No media type is spelled so.
            (true, true) => "HEAD",
            (true, false) => "",
        };
        // None of these has a line break: nothing reads in two ways.
        let mut text = format!("{base}{repository}\n{reference}\n{form}\n");
        let (kind, digest) = identity.bytes();
        text.push(kind.into());
        for byte in digest {
            let _ = write!(text, "{byte:02x}");
        }
        let scope = Scope::of(base, repository, *identity);
        Self { text: text.into(), names_content: sought.is_digest(), scope }
    }

    /// Where it is kept for, and as whom.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether it is of content that cannot change.
    pub fn names_content(&self) -> bool {
        self.names_content
    }

    /// Which of `workers` asks for it: all of them name the same one.
    pub fn owner(&self, workers: usize) -> usize {
        let hash = FixedState::with_seed(OWNER_SEED).hash_one(&self.text);
        // The remainder is less than a number of workers.
        usize::try_from(hash % workers.max(1) as u64).unwrap_or(0)
    }

    /// How long it is, in bytes.
    fn len(&self) -> usize {
        self.text.len()
    }
}

impl Scope {
    /// That of a `repository` at the registry with this `base`, as `identity` sees it.
    pub fn of(base: &str, repository: &str, identity: Identity) -> Self {
        let (kind, who) = identity.bytes();
        let digest = Sha256::new().chain_update(base).chain_update(repository);
        let digest = digest.chain_update([b'\n', kind]).chain_update(who).finalize();
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl Sought {
    /// Whether it is content that cannot change.
    pub fn is_digest(&self) -> bool {
        self.reference.contains(':')
    }
}

impl Held {
    /// An answer of this `status` and `head`, with its `body` if one was sent. Of the head is kept
    /// what is true for the next client too: not how often one may still ask.
    pub fn new(status: u16, head: &[u8], digest: &str, body: Option<Body>, kin: &[u8]) -> Self {
        let mut fields = [FIRST_LINE, b"\r\n"].concat();
        let mut put = |name: &str, value: &[u8]| {
            fields.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        };
        for (name, value) in pass::response_fields(head) {
            let is_of_one_answer = name.eq_ignore_ascii_case(DIGEST_FIELD)
                || PASSING.iter().any(|passing| {
                    name.get(..passing.len()).is_some_and(|it| it.eq_ignore_ascii_case(passing))
                });
            if !is_of_one_answer {
                put(name, value);
            }
        }
        if let (None, Some(length)) = (&body, field(head, "Content-Length")) {
            put("Content-Length", length);
        }
        fields.extend(b"\r\n");
        Self { status, fields: fields.into(), digest: digest.into(), body, kin: kin.into() }
    }

    /// Its fields, each behind a line break: what is said again word for word.
    pub fn lines(&self) -> &[u8] {
        let lines = self.fields.strip_prefix(FIRST_LINE).unwrap_or_default();
        lines.strip_suffix(b"\r\n\r\n").unwrap_or_default()
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        let body = self.body.as_ref().map_or(0, |body| body.len());
        size_of::<Self>() + self.fields.len() + self.digest.len() + body + self.kin.len()
    }

    /// Whether a client that has what these `If-None-Match` lines name has this (RFC 9110, 13.1.2).
    pub fn is_known_by<'l>(&self, lines: impl Iterator<Item = &'l [u8]>) -> bool {
        let Some(tag) = field(&self.fields, "ETag").filter(|_| self.status == 200) else {
            return false;
        };
        let weak = |tag: &'l [u8]| tag.strip_prefix(b"W/").unwrap_or(tag);
        let ours = tag.strip_prefix(b"W/").unwrap_or(tag);
        lines
            .flat_map(|line| line.split(|byte| *byte == b','))
            .map(|one| weak(one.trim_ascii()))
            .any(|one| one == b"*" || one == ours)
    }
}

impl<V> Told<V> {
    /// The same, said otherwise.
    pub fn map<U>(self, to: impl FnOnce(V) -> U) -> Told<U> {
        match self {
            Self::Fresh(good) => Told::Fresh(good.map(to)),
            Self::Stale(good, failure) => Told::Stale(good.map(to), failure),
            Self::Said(value) => Told::Said(to(value)),
            Self::Failed(failure) => Told::Failed(failure),
        }
    }
}

impl<V> Good<V> {
    /// Whether it was asked for less than `age_us` before `now_us`.
    fn is_younger(&self, age_us: u64, now_us: u64) -> bool {
        i128::from(now_us) - i128::from(self.since_us) < i128::from(age_us)
    }

    fn map<U>(self, to: impl FnOnce(V) -> U) -> Good<U> {
        let Self { value, since_us, bytes, lasts } = self;
        Good { value: to(value), since_us, bytes, lasts }
    }
}

/// A failure that holds nobody off.
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::new(fault, 0, 0)
    }
}

impl Failure {
    /// That of `fault`, after which the registry wants to be left alone for `retry_after_s`.
    pub fn new(fault: Fault, retry_after_s: u64, now_us: u64) -> Self {
        let hold_us = retry_after_s.min(RETRY_AFTER_S_MAX) * 1_000_000;
        Self { fault, at: None, until_us: now_us.saturating_add(hold_us) }
    }

    /// Whether it says nothing of what was asked for, only that nobody can be asked at the moment.
    pub fn is_outage(&self) -> bool {
        matches!(
            self.fault.kind,
            Kind::UpstreamBusy
                | Kind::UpstreamFailing
                | Kind::UpstreamUnreachable
                | Kind::UpstreamTimeout
                | Kind::UpstreamMalformed
                | Kind::UpstreamTooLarge
                | Kind::UpstreamTls
                | Kind::UpstreamName
                | Kind::UpstreamForbidden
                | Kind::TokenService
        )
    }

    /// Whether it says that who asked may not pull there.
    pub fn is_refusal(&self) -> bool {
        matches!(self.fault.kind, Kind::UpstreamUnauthorized | Kind::UpstreamDenied)
    }

    /// After how many seconds it is worth trying again.
    pub fn retry_after_s(&self, now_us: u64) -> u64 {
        self.until_us.saturating_sub(now_us).div_ceil(1_000_000).max(1)
    }
}

/// The media types that a head accepts, so that two heads that accept the same say the same; one that
/// is none, or whose parameters are quoted, is left out. This, and not what the client wrote, is what
/// the registry is asked with: else two that are one here could be answered differently there.
pub fn accepted(head: &[u8]) -> String {
    let mut types: Vec<String> = fields_named(head, "Accept")
        .flat_map(|line| line.split(|byte| *byte == b','))
        .filter_map(|one| {
            let parts: Vec<&str> =
                std::str::from_utf8(one).ok()?.split(';').map(str::trim).collect();
            Some(parts.join(";").to_ascii_lowercase())
        })
        .filter(|one| !one.is_empty())
        .filter(|one| one.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'))
        .collect();
    types.sort_unstable();
    types.dedup();
    types.join(",")
}

/// Fields are kept as a head, which begins with such a line.
const FIRST_LINE: &[u8] = b"HTTP/1.1 200 OK";

/// What a registry's answer says of this one answer only.
const PASSING: [&str; 3] = ["RateLimit-", "Retry-After", "Link"];

/// Any number, but the same for all workers.
const OWNER_SEED: u64 = 0x70_75_6c_6d;

#[cfg(test)]
mod tests {
    use super::*;

    fn sought(reference: &str, head: &str) -> Sought {
        Sought {
            base: "https://ghcr.io/v2/".into(),
            repository: "acme/rocket".into(),
            reference: reference.into(),
            identity: Identity::Anonymous,
            accept: match reference.contains(':') {
                true => "".into(),
                false => accepted(format!("GET / HTTP/1.1\r\n{head}\r\n").as_bytes()).into(),
            },
            is_head: false,
            has_others: false,
        }
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_accepted_tells_tags_apart_and_not_digests() {
        let key = |reference: &str, head: &str| Key::of(&sought(reference, head));
        let one = key("latest", "Accept: a/b\r\naccept: c/d; q=0.5\r\n");
        assert_eq!(one, key("latest", "Accept: C/D;q=0.5 , a/b,,a/b\r\n"));
        assert_ne!(one, key("latest", "Accept: a/b\r\n"));
        // What is no type is not taken for one.
        assert_eq!(
            one,
            key("latest", "Accept: a/b, c/d;q=0.5, e/ f, g/h\u{e9}, i/j;k=\"l,m\"\r\n")
        );
        assert_ne!(one, key("edge", "Accept: a/b, c/d;q=0.5\r\n"));
        assert_eq!(key(DIGEST, "Accept: a/b\r\n"), key(DIGEST, ""));
    }

    #[test]
    fn nobody_is_given_what_another_identity_fetched() {
        let anybody = sought(DIGEST, "");
        let of = |change: &dyn Fn(&mut Sought)| {
            let mut other = anybody.clone();
            change(&mut other);
            Key::of(&other)
        };
        let all = [
            of(&|_| ()),
            of(&|one| one.identity = Identity::account("robot", "new")),
            of(&|one| one.identity = Identity::account("robot", "old")),
            of(&|one| one.identity = Identity::account("robotnew", "")),
            of(&|one| one.is_head = true),
            of(&|one| one.repository = "acme/lander".into()),
            of(&|one| one.base = "https://quay.io/v2/".into()),
        ];
        for (at, key) in all.iter().enumerate() {
            assert!(!all[..at].contains(key), "{key:?}");
        }
    }

    #[test]
    fn one_worker_owns_a_key_and_each_owns_some() {
        let mut keys = [0; 4];
        for number in 0..100 {
            keys[Key::of(&sought(&format!("1.{number}"), "")).owner(4)] += 1;
        }
        assert!(keys.iter().all(|&owned| owned > 10), "{keys:?}");
    }

    #[test]
    fn what_is_true_of_one_answer_only_is_not_kept() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 7\r\nETag: \"x\"\r\n\
            RateLimit-Remaining: 5\r\nRetry-After: 3\r\nLink: <?n=1>; rel=next\r\nSet-Cookie: c\r\n\
            Docker-Content-Digest: sha256:0\r\nWarning: 299 - \"moved\"\r\n\r\n";
        let seen = Held::new(200, head, DIGEST, None, b"");
        assert_eq!(
            String::from_utf8_lossy(&seen.fields),
            "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nETag: \"x\"\r\nWarning: 299 - \"moved\"\r\n\
             Content-Length: 7\r\n\r\n"
        );
        let lines = String::from_utf8_lossy(seen.lines());
        assert!(lines.starts_with("\r\nContent-Type") && lines.ends_with("Length: 7"), "{lines}");
        assert_eq!(Held::new(200, b"", "", None, b"").lines(), b"");
        let body: Body = Arc::new(b"{}".as_slice().into());
        let whole = Held::new(200, head, DIGEST, Some(body), b"");
        assert_eq!(field(&whole.fields, "Content-Length"), None, "that is the body's to say");
    }

    #[test]
    fn who_has_it_already_is_known_by_its_entity_tag() {
        let head = b"HTTP/1.1 200 OK\r\nETag: W/\"x\"\r\n\r\n";
        let held = Held::new(200, head, "", None, b"");
        for (line, expected) in [
            ("\"x\"", true),
            ("\"a\", W/\"x\"", true),
            ("*", true),
            ("\"y\"", false),
            ("x", false),
            ("", false),
        ] {
            assert_eq!(held.is_known_by([line.as_bytes()].into_iter()), expected, "{line}");
        }
        let without = Held::new(200, b"HTTP/1.1 200 OK\r\n\r\n", "", None, b"");
        assert!(!without.is_known_by([b"*".as_slice()].into_iter()));
    }

    #[test]
    fn a_registry_is_left_alone_as_long_as_it_says_and_an_hour_at_the_most() {
        let fault = Fault::new(Kind::UpstreamBusy, "");
        assert_eq!(Failure::new(fault, 30, 5).retry_after_s(1_000_005), 29);
        assert_eq!(Failure::new(fault, 0, 5).retry_after_s(7), 1);
        let for_ever = Failure::new(fault, u64::MAX, 0);
        assert_eq!(for_ever.retry_after_s(0), RETRY_AFTER_S_MAX);
    }
}
