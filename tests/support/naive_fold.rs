//! The rule of folding as it is written in `docs/counting.md`, the plainest way: looking at whole
//! windows at once, with everything that came before and after. And what it is compared with, and
//! the small world of manifests that both live in.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use pullgate::pure::pull::event::{Address, Asked, Outcome, Way};
use pullgate::pure::pull::fold::{Booking, Fold, Request};
use pullgate::pure::pull::kin::{self, Kin, Kind};
use pullgate::pure::pull::rollup::Measures;
use pullgate::pure::pull::window::{Subject, TagRow};

pub(crate) const WINDOW_US: u64 = 60_000_000;

/// By package, row and minute.
pub(crate) type Sums = BTreeMap<(u32, u32, u32), Measures>;

#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at_us: u64,
    pub(crate) source: u32,
    pub(crate) package: u32,
    pub(crate) family: &'static str,
    pub(crate) asked: Asked,
    pub(crate) outcome: Outcome,
    pub(crate) reference: String,
    /// The digest that was answered.
    pub(crate) answer: Option<String>,
    /// Whether the manifest was read.
    pub(crate) is_read: bool,
}

impl Sent {
    pub(crate) fn minute(&self) -> u32 {
        u32::try_from(self.at_us / 60_000_000).unwrap()
    }

    pub(crate) fn row(&self) -> TagRow {
        let number =
            self.reference.bytes().fold(0u32, |sum, byte| sum * 31 % 9973 + u32::from(byte));
        TagRow(TagRow::FIRST + number)
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject::of(self.reference.as_bytes())
    }

    pub(crate) fn kin(&self) -> Kin {
        self.answer.as_deref().filter(|_| self.is_read).map_or_else(Kin::default, kin_of)
    }

    /// What its end says that was sent.
    fn bytes(&self) -> u64 {
        if self.asked == Asked::BlobEnd { 1 + self.at_us % 7 } else { 0 }
    }

    /// What a blob comes to, wherever it belongs.
    fn of_blob(&self) -> Measures {
        let is_begun = self.asked == Asked::Blob && self.outcome == Outcome::Succeeded;
        Measures {
            blobs: u64::from(is_begun),
            blob_bytes: self.bytes(),
            blobs_aborted: u64::from(self.is_broken()),
            ..Measures::ZERO
        }
    }

    fn is_broken(&self) -> bool {
        self.asked == Asked::BlobEnd && self.outcome == Outcome::Broken
    }

    fn is_blob(&self) -> bool {
        matches!(self.asked, Asked::Blob | Asked::BlobHead)
    }

    fn is_manifest(&self) -> bool {
        matches!(self.asked, Asked::Manifest | Asked::ManifestHead)
    }

    fn is_get(&self) -> bool {
        self.asked == Asked::Manifest
    }

    fn is_head(&self) -> bool {
        self.asked == Asked::ManifestHead
    }

    fn names_digest(&self) -> bool {
        self.is_manifest() && self.subject() == Subject::Digest
    }

    fn names_tag(&self) -> bool {
        self.is_manifest() && self.subject() == Subject::Tag
    }

    /// The digest of the manifest, as far as anybody can know.
    fn digest(&self) -> Option<&str> {
        self.answer.as_deref().or_else(|| self.names_digest().then_some(&*self.reference))
    }
}

/// Folding as it is, with what it booked.
pub(crate) struct Simulated {
    pub(crate) fold: Fold,
    pub(crate) at_us: u64,
    pub(crate) booked: Vec<Booking>,
}

impl Simulated {
    pub(crate) fn new() -> Self {
        Self { fold: Fold::new(KEY, WINDOW_US), at_us: 0, booked: Vec::new() }
    }

    pub(crate) fn take(&mut self, sent: &Sent) {
        let mut source = [0; 16];
        source[12..].copy_from_slice(&sent.source.to_be_bytes());
        let kin = sent.kin();
        let request = Request {
            at_us: sent.at_us,
            minute: sent.minute(),
            source: Address(source),
            connection: 1,
            asked: sent.asked,
            outcome: sent.outcome,
            way: Way::Redirect,
            package: sent.package,
            package_identity: &sent.package.to_be_bytes(),
            client: 1,
            family: sent.family,
            major: "28",
            reference: sent.reference.as_bytes(),
            row: sent.row(),
            digest: sent.answer.as_deref().unwrap_or_default().as_bytes(),
            kin: kin.bytes(),
            bytes: sent.bytes(),
        };
        let booked = &mut self.booked;
        self.fold.take(&request, &mut || 0, &mut |booking| booked.push(booking));
    }
}

const KEY: [u8; 16] = [7; 16];

// === The world ===

/// `@name` is a digest, `@name.sig` and `@name-` are the tags of its signature and its referrers.
pub(crate) fn reference(word: &str) -> String {
    let Some(name) = word.strip_prefix('@') else {
        return word.to_owned();
    };
    let hex = |name: &str| {
        let number = name.bytes().fold(1u64, |sum, byte| sum * 31 + u64::from(byte));
        format!("{number:064x}")
    };
    match (name.strip_suffix('-'), name.split_once('.')) {
        (Some(name), _) => format!("sha256-{}", hex(name)),
        (None, Some((name, suffix))) => format!("sha256-{}.{suffix}", hex(name)),
        (None, None) => format!("sha256:{}", hex(name)),
    }
}

const WORLD: &[(&str, Kind, &[&str])] = &[
    ("@index", Kind::Index, &["@amd64", "@arm64", "@attestation"]),
    ("@amd64", Kind::Image, &["@layer", "@base"]),
    ("@arm64", Kind::Image, &["@layer2", "@base"]),
    ("@index2", Kind::Index, &["@amd64-2"]),
    ("@amd64-2", Kind::Image, &["@layer3", "@base"]),
    ("@attestation", Kind::SupplyChain, &[]),
    ("@bundle", Kind::SupplyChain, &[]),
    ("@nested", Kind::Index, &["@index", "@index2"]),
];

fn family(digest: &str) -> Option<(Kind, Vec<String>)> {
    let (_, kind, members) = WORLD.iter().find(|(word, ..)| reference(word) == digest)?;
    Some((*kind, members.iter().map(|word| reference(word)).collect()))
}

fn kin_of(digest: &str) -> Kin {
    let Some((kind, members)) = family(digest) else {
        return Kin::default();
    };
    let list: Vec<String> =
        members.iter().map(|member| format!(r#"{{"digest":"{member}"}}"#)).collect();
    let list = list.join(",");
    let body = match kind {
        Kind::Index => format!(r#"{{"manifests":[{list}]}}"#),
        Kind::Image => format!(r#"{{"layers":[{list}]}}"#),
        Kind::SupplyChain => {
            r#"{"artifactType":"application/vnd.in-toto+json","layers":[]}"#.into()
        }
    };
    kin::read(body.as_bytes())
}

// === The rule ===

/// A request, and the manifests that had been read by then.
struct One<'a> {
    sent: &'a Sent,
    known: BTreeSet<&'a str>,
}

impl One<'_> {
    fn is(&self, digest: Option<&str>, is_kind: Kind, member: &str) -> bool {
        let known = digest.filter(|digest| self.known.contains(digest));
        known.and_then(family).is_some_and(|(kind, members)| {
            kind == is_kind && members.iter().any(|listed| listed == member)
        })
    }

    fn knows(&self, digest: Option<&str>) -> bool {
        digest.is_some_and(|digest| self.known.contains(digest))
    }
}

/// The rule as it is written, over whole windows at once.
pub(crate) fn naive(sent: &[Sent]) -> Sums {
    let mut sums = Sums::new();
    let mut windows: Vec<Vec<One<'_>>> = Vec::new();
    let mut known = BTreeSet::new();
    for sent in sent {
        let read = sent.answer.as_deref().filter(|digest| sent.is_read && family(digest).is_some());
        known.extend(read);
        let one = One { sent, known: known.clone() };
        let of_it = |window: &&mut Vec<One<'_>>| {
            window[0].sent.source == sent.source
                && window[0].sent.package == sent.package
                && sent.at_us < window[0].sent.at_us + WINDOW_US
        };
        let window = windows.iter_mut().find(of_it);
        let is_listed = window.as_ref().is_some_and(|window| {
            let named = named_before(window, window.len());
            named
                .iter()
                .any(|parent| one.is(answer_of(window, parent), Kind::Index, &sent.reference))
        });
        let is_known_signature = sent
            .digest()
            .filter(|digest| known.contains(digest))
            .and_then(family)
            .is_some_and(|(kind, _)| kind == Kind::SupplyChain);
        let is_signature =
            sent.subject() == Subject::SupplyChain || is_known_signature && !is_listed;
        if sent.asked == Asked::Referrers || sent.is_manifest() && is_signature {
            let requests = u64::from(sent.is_get());
            let measures = Measures {
                requests,
                unseen: if sent.outcome == Outcome::Redirected { requests } else { 0 },
                supply_chain: u64::from(!sent.is_head()),
                ..Measures::ZERO
            };
            if measures != Measures::ZERO {
                let key = (sent.package, TagRow::SUPPLY_CHAIN.0, sent.minute());
                *sums.entry(key).or_default() += measures;
            }
            continue;
        }
        match window {
            Some(window) => window.push(one),
            None if sent.is_manifest() => windows.push(vec![one]),
            None if sent.of_blob() != Measures::ZERO => {
                let key = (sent.package, TagRow::BY_DIGEST.0, sent.minute());
                *sums.entry(key).or_default() += sent.of_blob();
            }
            None => {}
        }
    }
    for window in windows {
        let first = window[0].sent;
        for (row, measures) in naive_window(&window) {
            let key = (first.package, row.0, first.minute());
            *sums.entry(key).or_default() += measures;
        }
    }
    sums
}

/// The tags and digests that manifests were asked for by, in the order in which they came up.
fn named_before<'a>(window: &[One<'a>], end: usize) -> Vec<&'a str> {
    let mut named: Vec<&str> = Vec::new();
    for one in window[..end].iter().filter(|one| one.sent.is_manifest()) {
        if !named.contains(&one.sent.reference.as_str()) {
            named.push(&one.sent.reference);
        }
    }
    named
}

/// What was answered last to who asked for `reference`.
fn answer_of<'a>(window: &[One<'a>], reference: &str) -> Option<&'a str> {
    let of_it = |one: &&One<'_>| one.sent.is_manifest() && one.sent.reference == reference;
    window.iter().rev().filter(of_it).find_map(|one| one.sent.digest())
}

fn is_tag(reference: &str) -> bool {
    Subject::of(reference.as_bytes()) == Subject::Tag
}

/// What each request of a window does.
#[derive(Default)]
struct Deeds<'a> {
    /// The tag that a GET by digest would join.
    target: Vec<Option<&'a str>>,
    /// The tag that it joins.
    joins: Vec<Option<&'a str>>,
    /// The doubtful tag that a blob proves.
    proves: Vec<Option<&'a str>>,
}

/// The tag that the GET by digest at `at` joins.
fn naive_target<'a>(window: &[One<'a>], at: usize, deeds: &Deeds<'a>) -> Option<&'a str> {
    let (one, before) = (&window[at], &window[..at]);
    let digest = one.sent.reference.as_str();
    let named = named_before(window, at);
    let tags = || named.iter().copied().filter(|reference| is_tag(reference));
    let pick = |among: &[&'a str]| {
        let is_open = |tag: &&&str| !deeds.joins.contains(&Some(**tag));
        let last_named = |tag: &&&str| before.iter().rposition(|one| one.sent.reference == ***tag);
        among.iter().find(is_open).or_else(|| among.iter().max_by_key(last_named)).copied()
    };
    let answered: Vec<&str> = tags().filter(|tag| answer_of(before, tag) == Some(digest)).collect();
    if !answered.is_empty() {
        return pick(&answered);
    }
    let lists = |parent: &&&str| one.is(answer_of(before, parent), Kind::Index, digest);
    let parents: Vec<&str> = named.iter().filter(lists).copied().collect();
    if !parents.is_empty() {
        let tag_of = |parent: &&'a str| {
            if is_tag(parent) { Some(*parent) } else { naive_joined(window, at, deeds, parent) }
        };
        return pick(&parents.iter().filter_map(tag_of).collect::<Vec<_>>());
    }
    let unknown: Vec<&str> = tags().filter(|tag| !one.knows(answer_of(before, tag))).collect();
    pick(&unknown)
}

/// The tag that a digest joined last.
fn naive_joined<'a>(
    window: &[One<'a>],
    end: usize,
    deeds: &Deeds<'a>,
    digest: &str,
) -> Option<&'a str> {
    let of_it = |at: &usize| window[*at].sent.is_manifest() && window[*at].sent.reference == digest;
    (0..end).rev().filter(of_it).find_map(|at| deeds.joins[at])
}

fn naive_window(window: &[One<'_>]) -> Vec<(TagRow, Measures)> {
    let unchanged = |one: &Sent| one.outcome == Outcome::NotModified;
    let redirected = |one: &Sent| one.outcome == Outcome::Redirected;
    let is_digest_get = |one: &Sent| one.is_get() && one.names_digest();
    let mut deeds = Deeds::default();
    for (at, one) in window.iter().enumerate() {
        let target = is_digest_get(one.sent).then(|| naive_target(window, at, &deeds)).flatten();
        let doubtful = |tag: &&&str| {
            let doubted = |get: usize| {
                let asked = |one: &Sent| one.names_tag() && one.reference == ***tag;
                let headed =
                    |one: &One<'_>| asked(one.sent) && one.sent.is_head() && redirected(one.sent);
                let get_sent = window[get].sent;
                get_sent.family == "docker"
                    && asked(get_sent)
                    && get_sent.is_get()
                    && redirected(get_sent)
                    && window[..get].iter().any(headed)
            };
            (0..at).any(doubted) && !naive_pulled(&window[..at], tag, &deeds)
        };
        let named = named_before(window, at);
        let proven = named.iter().filter(|tag| is_tag(tag)).find(doubtful).copied();
        deeds.target.push(target);
        deeds.joins.push(target.filter(|_| !unchanged(one.sent)));
        deeds.proves.push(proven.filter(|_| one.sent.is_blob()));
    }
    let mut out = Vec::new();
    let row_of = |tag: &str| {
        window
            .iter()
            .find(|one| one.sent.names_tag() && one.sent.reference == tag)
            .unwrap()
            .sent
            .row()
    };
    for (at, one) in window.iter().enumerate().filter(|(_, one)| one.sent.is_get()) {
        let row = match one.sent.subject() {
            Subject::Digest => deeds.target[at].map_or(TagRow::BY_DIGEST, row_of),
            Subject::Tag | Subject::SupplyChain => one.sent.row(),
        };
        let unseen = u64::from(redirected(one.sent));
        out.push((row, Measures { requests: 1, unseen, ..Measures::ZERO }));
    }
    for (at, one) in
        window.iter().enumerate().filter(|(_, one)| one.sent.of_blob() != Measures::ZERO)
    {
        let of = naive_pull_of(window, at, &deeds).flatten();
        out.push((of.map_or(TagRow::BY_DIGEST, row_of), one.sent.of_blob()));
    }
    let named = named_before(window, window.len());
    for tag in named.iter().copied().filter(|reference| is_tag(reference)) {
        let not_modified = |one: &&One<'_>| {
            one.sent.names_tag()
                && one.sent.reference == tag
                && one.sent.is_get()
                && unchanged(one.sent)
        };
        let measures = if naive_pulled(window, tag, &deeds) {
            Measures { pulls: 1, ..Measures::ZERO }
        } else {
            let gets = window.iter().filter(not_modified).count() as u64;
            Measures { checks: gets.max(1), ..Measures::ZERO }
        };
        out.push((row_of(tag), measures));
    }
    let alone = |at: &usize| is_digest_get(window[*at].sent) && deeds.target[*at].is_none();
    let (quiet, loud): (Vec<usize>, Vec<usize>) =
        (0..window.len()).filter(alone).partition(|at| unchanged(window[*at].sent));
    let headed = naive_headed_alone(window, &loud);
    let pulls = u64::from(!loud.is_empty());
    let checks = headed as u64 + if pulls > 0 { 0 } else { quiet.len() as u64 };
    if pulls + checks > 0 {
        out.push((TagRow::BY_DIGEST, Measures { pulls, checks, ..Measures::ZERO }));
    }
    out.extend(
        naive_completeness(window, &deeds, &loud)
            .into_iter()
            .map(|(pull, measures)| (pull.map_or(TagRow::BY_DIGEST, row_of), measures)),
    );
    out
}

/// Digests that were only asked for by HEAD. A digest that is new to the window when it is asked
/// for by GET and joins no tag is a child of the first of them that lists it, else of the first of
/// which nothing is known.
fn naive_headed_alone(window: &[One<'_>], loud: &[usize]) -> usize {
    let mut parents: Vec<&str> = Vec::new();
    for at in loud.iter().copied() {
        let one = &window[at];
        let named = named_before(window, at);
        if named.contains(&one.sent.reference.as_str()) {
            continue;
        }
        let is_open = |digest: &&&str| {
            let gotten = |get: &One<'_>| get.sent.is_get() && get.sent.reference == ***digest;
            !is_tag(digest) && !window[..at].iter().any(gotten) && !parents.contains(*digest)
        };
        let answer = |digest: &str| answer_of(&window[..at], digest);
        let lists = |parent: &&&str| one.is(answer(parent), Kind::Index, &one.sent.reference);
        let mut open = named.iter().filter(is_open);
        let parent = open.clone().find(lists).or_else(|| open.find(|it| !one.knows(answer(it))));
        parents.extend(parent);
    }
    let is_alone = |digest: &&&str| {
        let gotten = |get: &One<'_>| get.sent.is_get() && get.sent.reference == ***digest;
        !is_tag(digest) && !window.iter().any(gotten) && !parents.contains(*digest)
    };
    named_before(window, window.len()).iter().filter(is_alone).count()
}

/// For each pull of which a manifest was seen, by its tag, `None` by digest: whether it is complete
/// or up to date.
fn naive_completeness<'a>(
    window: &[One<'a>],
    deeds: &Deeds<'a>,
    loud: &[usize],
) -> Vec<(Option<&'a str>, Measures)> {
    let is_seen = |end: usize, pull: Option<&str>| {
        (0..end).any(|at| {
            let sent = window[at].sent;
            let is_its = match pull {
                Some(tag) => {
                    sent.names_tag() && sent.is_get() && sent.reference == tag
                        || deeds.joins[at] == Some(tag)
                }
                None => loud.contains(&at),
            };
            is_its && sent.outcome == Outcome::Succeeded && window[at].knows(sent.digest())
        })
    };
    let mut complete: BTreeSet<Option<&str>> = BTreeSet::new();
    for at in (0..window.len()).filter(|at| window[*at].sent.is_blob()) {
        let mut pulls = naive_pulls_of(window, at, deeds).into_iter();
        complete.extend(pulls.find(|pull| is_seen(at, *pull) && !complete.contains(pull)));
    }
    let is_partial = |pull: &Option<&str>| {
        (0..window.len()).any(|at| {
            let one = window[at].sent;
            let came = |end: &One<'_>| {
                let end = end.sent;
                let is_end = end.asked == Asked::BlobEnd && !end.is_broken();
                is_end && end.reference == one.reference
            };
            one.is_broken()
                && naive_pull_of(window, at, deeds) == Some(*pull)
                && !window[at..].iter().any(came)
        })
    };
    let named = named_before(window, window.len());
    let tags = named.into_iter().filter(|reference| is_tag(reference)).map(Some);
    let seen = tags.chain([None]).filter(|pull| is_seen(window.len(), *pull));
    seen.map(|pull| match complete.contains(&pull) {
        true => {
            let partial = u64::from(is_partial(&pull));
            (pull, Measures { complete: 1, partial, ..Measures::ZERO })
        }
        false => (pull, Measures { up_to_date: 1, ..Measures::ZERO }),
    })
    .collect()
}

/// The pulls, by their tag, that have the blob at `at` as a layer, the oldest first.
fn naive_pulls_of<'a>(window: &[One<'a>], at: usize, deeds: &Deeds<'a>) -> Vec<Option<&'a str>> {
    let one = &window[at];
    let has_it =
        |image: &&&str| one.is(answer_of(&window[..at], image), Kind::Image, &one.sent.reference);
    let pull_of = |image: &&'a str| match is_tag(image) {
        true => Some(*image),
        false => naive_joined(window, at, deeds, image),
    };
    named_before(window, at).iter().filter(has_it).map(pull_of).collect()
}

/// The oldest of them that is made by then, else the oldest.
fn naive_pull_of<'a>(window: &[One<'a>], at: usize, deeds: &Deeds<'a>) -> Option<Option<&'a str>> {
    let brings_alone = |get: usize| {
        let sent = window[get].sent;
        let is_quiet = sent.outcome == Outcome::NotModified;
        sent.is_get() && sent.names_digest() && !is_quiet && deeds.target[get].is_none()
    };
    let is_made = |pull: &&Option<&str>| match pull {
        Some(tag) => naive_pulled(&window[..at], tag, deeds),
        None => (0..at).any(brings_alone),
    };
    let pulls = naive_pulls_of(window, at, deeds);
    pulls.iter().find(is_made).or_else(|| pulls.first()).copied()
}

fn naive_pulled(window: &[One<'_>], tag: &str, deeds: &Deeds<'_>) -> bool {
    let is_it = |one: &Sent| one.names_tag() && one.reference == tag;
    let unfailing = |at: usize| {
        let headed = |one: &One<'_>| {
            is_it(one.sent) && one.sent.is_head() && one.sent.outcome == Outcome::Redirected
        };
        let sent = window[at].sent;
        is_it(sent)
            && sent.is_get()
            && match sent.outcome {
                Outcome::Succeeded | Outcome::Broken => true,
                Outcome::Redirected => sent.family != "docker" || !window[..at].iter().any(headed),
                Outcome::NotModified => false,
            }
    };
    (0..window.len()).any(|at| {
        unfailing(at)
            || deeds.joins.get(at).is_some_and(|join| *join == Some(tag))
            || deeds.proves.get(at).is_some_and(|proof| *proof == Some(tag))
    })
}
