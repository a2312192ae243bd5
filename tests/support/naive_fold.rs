//! The rule of folding as it is written in `docs/counting.md`, the plainest way: looking at whole
//! windows at once, with everything that came before and after.

use std::collections::BTreeMap;

use pullgate::pure::pull::event::{Asked, Outcome};
use pullgate::pure::pull::rollup::Measures;
use pullgate::pure::pull::window::{Subject, TagRow};

pub(crate) const WINDOW_US: u64 = 60_000_000;

/// By package, row and minute.
pub(crate) type Sums = BTreeMap<(u32, u32, u32), Measures>;

pub(crate) struct Sent {
    pub(crate) at_us: u64,
    pub(crate) source: u32,
    pub(crate) package: u32,
    pub(crate) family: &'static str,
    pub(crate) asked: Asked,
    pub(crate) outcome: Outcome,
    pub(crate) reference: String,
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
}

/// The rule as it is written, over whole windows at once.
pub(crate) fn naive(sent: &[Sent]) -> Sums {
    let mut sums = Sums::new();
    let mut windows: Vec<Vec<&Sent>> = Vec::new();
    for one in sent {
        let is_manifest = matches!(one.asked, Asked::Manifest | Asked::ManifestHead);
        let is_supply = one.asked == Asked::Referrers || one.subject() == Subject::SupplyChain;
        if is_supply {
            let is_get = one.asked == Asked::Manifest;
            let measures = Measures {
                requests: u64::from(is_get),
                unseen: u64::from(is_get && one.outcome == Outcome::Redirected),
                supply_chain: u64::from(one.asked != Asked::ManifestHead),
                ..Measures::ZERO
            };
            if measures != Measures::ZERO {
                let key = (one.package, TagRow::SUPPLY_CHAIN.0, one.minute());
                *sums.entry(key).or_default() += measures;
            }
            continue;
        }
        let of_it = |window: &&mut Vec<&Sent>| {
            window[0].source == one.source
                && window[0].package == one.package
                && one.at_us < window[0].at_us + WINDOW_US
        };
        match windows.iter_mut().find(of_it) {
            Some(window) => window.push(one),
            None if is_manifest => windows.push(vec![one]),
            None => {}
        }
    }
    for window in windows {
        for (row, measures) in naive_window(&window) {
            let key = (window[0].package, row.0, window[0].minute());
            *sums.entry(key).or_default() += measures;
        }
    }
    sums
}

fn naive_window(window: &[&Sent]) -> Vec<(TagRow, Measures)> {
    let is_tag = |one: &Sent| one.asked != Asked::Blob && one.subject() == Subject::Tag;
    let is_get = |one: &Sent| one.asked == Asked::Manifest;
    let is_head = |one: &Sent| one.asked == Asked::ManifestHead;
    let is_digest_get = |one: &Sent| is_get(one) && one.subject() == Subject::Digest;
    let unchanged = |one: &Sent| one.outcome == Outcome::NotModified;
    let redirected = |one: &Sent| one.outcome == Outcome::Redirected;
    let is_docker = window[0].family == "docker";
    let tags_before = |end: usize| {
        let mut tags: Vec<&str> = Vec::new();
        for one in window[..end].iter().filter(|one| is_tag(one)) {
            if !tags.contains(&one.reference.as_str()) {
                tags.push(&one.reference);
            }
        }
        tags
    };
    // Which tag each request joins (GETs by digest) or proves (blobs), and which it would join.
    let mut joins: Vec<Option<&str>> = Vec::new();
    let mut proves: Vec<Option<&str>> = Vec::new();
    let mut target: Vec<Option<&str>> = Vec::new();
    for (at, one) in window.iter().enumerate() {
        let tags = tags_before(at);
        let unjoined = tags.iter().copied().find(|tag| !joins.contains(&Some(*tag)));
        let latest = || window[..at].iter().rev().find(|one| is_tag(one));
        let it = unjoined.or_else(|| Some(latest()?.reference.as_str()));
        target.push(it.filter(|_| is_digest_get(one)));
        let doubtful = |tag: &&str| {
            let doubted = |get: usize| {
                let asked = |one: &Sent| one.reference == *tag && is_tag(one);
                is_docker
                    && asked(window[get])
                    && is_get(window[get])
                    && redirected(window[get])
                    && window[..get].iter().any(|one| asked(one) && is_head(one) && redirected(one))
            };
            (0..at).any(doubted) && !naive_pulled(&window[..at], tag, &joins, &proves)
        };
        let proven = tags.iter().copied().find(doubtful);
        joins.push(it.filter(|_| is_digest_get(one) && !unchanged(one)));
        proves.push(proven.filter(|_| one.asked == Asked::Blob));
    }
    let mut out = Vec::new();
    let row_of = |tag: &str| window.iter().find(|one| one.reference == tag).unwrap().row();
    for (at, one) in window.iter().enumerate().filter(|(_, one)| is_get(one)) {
        let row = match one.subject() {
            Subject::Digest => target[at].map_or(TagRow::BY_DIGEST, row_of),
            Subject::Tag | Subject::SupplyChain => one.row(),
        };
        let unseen = u64::from(redirected(one));
        out.push((row, Measures { requests: 1, unseen, ..Measures::ZERO }));
    }
    for tag in tags_before(window.len()) {
        let not_modified = |one: &&&Sent| one.reference == tag && is_get(one) && unchanged(one);
        let measures = if naive_pulled(window, tag, &joins, &proves) {
            Measures { pulls: 1, ..Measures::ZERO }
        } else {
            let gets = window.iter().filter(not_modified).count() as u64;
            Measures { checks: gets.max(1), ..Measures::ZERO }
        };
        out.push((row_of(tag), measures));
    }
    let alone = |at: &usize| is_digest_get(window[*at]) && target[*at].is_none();
    let (quiet, loud): (Vec<usize>, Vec<usize>) =
        (0..window.len()).filter(alone).partition(|at| unchanged(window[*at]));
    // Digests that are new to the window when they are asked for are children of the first headed
    // one that nothing was asked of yet.
    let mut parents: Vec<&str> = Vec::new();
    for at in loud.iter().copied() {
        let of_it =
            |one: &&&Sent| (is_get(one) || is_head(one)) && one.reference == window[at].reference;
        if window[..at].iter().any(|one| of_it(&one)) {
            continue;
        }
        let is_open = |one: &&&Sent| {
            let gotten = |get: &&Sent| is_get(get) && get.reference == one.reference;
            is_head(one)
                && one.subject() == Subject::Digest
                && !window[..at].iter().any(gotten)
                && !parents.contains(&one.reference.as_str())
        };
        parents.extend(window[..at].iter().find(is_open).map(|one| one.reference.as_str()));
    }
    let mut headed: Vec<&str> = Vec::new();
    for one in window.iter().filter(|one| is_head(one) && one.subject() == Subject::Digest) {
        let is_gotten = window.iter().any(|get| is_get(get) && get.reference == one.reference);
        let is_parent = parents.contains(&one.reference.as_str());
        if !is_gotten && !is_parent && !headed.contains(&one.reference.as_str()) {
            headed.push(&one.reference);
        }
    }
    let pulls = u64::from(!loud.is_empty());
    let checks = headed.len() as u64 + if pulls > 0 { 0 } else { quiet.len() as u64 };
    if pulls + checks > 0 {
        out.push((TagRow::BY_DIGEST, Measures { pulls, checks, ..Measures::ZERO }));
    }
    out
}

fn naive_pulled(
    window: &[&Sent],
    tag: &str,
    joins: &[Option<&str>],
    proves: &[Option<&str>],
) -> bool {
    let is_it = |one: &Sent| one.asked != Asked::Blob && one.reference == tag;
    let unfailing = |at: usize| {
        let headed = |one: &&Sent| {
            is_it(one) && one.asked == Asked::ManifestHead && one.outcome == Outcome::Redirected
        };
        is_it(window[at])
            && window[at].asked == Asked::Manifest
            && match window[at].outcome {
                Outcome::Succeeded => true,
                Outcome::Redirected => {
                    window[at].family != "docker" || !window[..at].iter().any(headed)
                }
                Outcome::NotModified => false,
            }
    };
    (0..window.len()).any(|at| {
        unfailing(at)
            || joins.get(at).is_some_and(|join| *join == Some(tag))
            || proves.get(at).is_some_and(|proof| *proof == Some(tag))
    })
}
