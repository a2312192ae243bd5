//! The rule that turns the requests of one client, for one package, in one window, into pulls and
//! checks. Its twin in prose is `docs/counting.md`; [`fold`](crate::pure::pull::fold) keeps the
//! table of windows.
//!
//! A GET by digest *joins* the tag whose answer had that digest, or whose index lists it. Under a
//! redirect nobody sees answers: then it joins the oldest tag of the window that none has joined
//! yet, else the tag named last.

use serde::{Deserialize, Serialize};

use crate::pure::limits::WINDOW_REFERENCES_MAX;
use crate::pure::pull::event::Outcome;
use crate::pure::pull::families::Families;
use crate::pure::pull::platform::Platform;
use crate::pure::pull::rollup::Measures;

/// Which row of the tag dimension something is counted under: one of the constants, or a number
/// that the caller gave a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TagRow(pub u32);

impl TagRow {
    /// Digests that join no tag.
    pub const BY_DIGEST: Self = Self(0);
    /// Signatures, attestations, SBOMs and referrers.
    pub const SUPPLY_CHAIN: Self = Self(1);
    /// Tags beyond the bound.
    pub const OTHER: Self = Self(2);
    /// Requests whose events could not be kept.
    pub const UNFOLDED: Self = Self(3);
    /// The first number that a caller may give to a tag.
    pub const FIRST: u32 = 4;
}

/// What a manifest's reference is, as far as counting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A tag that people name.
    Tag,
    /// A digest.
    Digest,
    /// A tag that stands for another manifest's signatures, attestations, SBOMs or referrers:
    /// `sha256-<64 hex>` with `.sig`, `.att`, `.sbom` (cosign) or nothing (OCI distribution spec,
    /// "Referrers Tag Schema").
    SupplyChain,
}

impl Subject {
    /// Which it is; `reference` has passed the grammar, in which only digests have a colon.
    pub fn of(reference: &[u8]) -> Self {
        if reference.contains(&b':') {
            return Self::Digest;
        }
        let Some((hex, suffix)) =
            reference.strip_prefix(b"sha256-").and_then(|rest| rest.split_at_checked(64))
        else {
            return Self::Tag;
        };
        let is_hex = hex.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match suffix {
            b"" | b".sig" | b".att" | b".sbom" if is_hex => Self::SupplyChain,
            _ => Self::Tag,
        }
    }
}

/// A tag or digest that a request names. Two are the same when their hashes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The [`reference_hash`](crate::pure::pull::kin::reference_hash) of the reference's text.
    pub hash: u64,
    /// The tag's row; ignored for a digest.
    pub row: TagRow,
    /// Whether it is a digest.
    pub is_digest: bool,
}

/// How a request for a manifest was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// The hash of the manifest's digest: that of the answer, or the one that was asked for.
    pub digest: Option<u64>,
}

/// What one GET of a manifest comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    /// The row that the request is counted under.
    pub row: TagRow,
    /// Whether it makes a pull.
    pub is_pull: bool,
    /// What the image is for that a pull consists of, where that is known by this request: once for
    /// each pull.
    pub platform: Platform,
}

impl Got {
    /// Counted under `row`, and no more than that.
    fn nothing(row: TagRow) -> Self {
        Self { row, is_pull: false, platform: Platform::NONE }
    }
}

/// What was asked for in one window.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Window {
    references: Vec<Reference>,
    /// How often a tag was named.
    named: u32,
    /// Of digests that join no tag.
    by_digest: Pull,
    /// GETs by digest answered 304 that would join no tag.
    digests_unchanged: u32,
    /// Layers whose transfer broke off, and was not resumed yet.
    broken: Vec<Broken>,
}

/// A layer that has not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Broken {
    layer: u64,
    /// Where the tag stands whose pull it belongs to; `None` where that is by digest.
    of: Option<u16>,
}

/// A tag or digest and what became of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Reference {
    hash: u64,
    /// The digest of its manifest, as it was answered last.
    answer: Option<u64>,
    row: TagRow,
    /// When a tag was named last: [`Window::named`] then.
    named: u32,
    /// GETs answered 304.
    unchanged: u16,
    /// The tag that a digest joined.
    tag: Option<u16>,
    is_digest: bool,
    /// Asked for by a HEAD of docker's whose outcome is unseen.
    headed_unseen: bool,
    /// A tag that was asked for again by GET after such a HEAD, and nothing followed yet.
    is_doubtful: bool,
    /// A tag that a GET by digest joined; a digest that was asked for by GET, or whose child was.
    is_joined: bool,
    /// A tag's.
    pull: Pull,
}

/// A pull, and how far it went.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Pull {
    is_made: bool,
    /// Whether a manifest of it was seen, so that its layers are known.
    is_seen: bool,
    /// Whether one of them was asked for.
    is_complete: bool,
    /// Whether it was told what the image is for.
    is_platform_told: bool,
}

impl Window {
    /// How many references it remembers.
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// The rows of what it remembers.
    pub fn rows(&self) -> impl Iterator<Item = TagRow> {
        self.references.iter().map(|reference| reference.row)
    }

    /// Whether nothing was asked for yet.
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// Whether it must be settled before it may remember more.
    pub fn is_full(&self) -> bool {
        self.references.len() >= WINDOW_REFERENCES_MAX
    }

    /// Whether an index that was named here, by tag or digest, lists this manifest.
    pub fn lists(&self, digest: u64, families: &mut Families) -> bool {
        self.references.iter().any(|parent| parent.lists(digest, families))
    }

    /// A HEAD of a manifest. `is_dockers`: docker asks for the same tag by GET only where its HEAD
    /// failed; other clients do so as a rule.
    pub fn head(&mut self, named: Named, answer: Answer, is_dockers: bool) {
        let at = self.remember(named, answer);
        self.references[at].headed_unseen |= is_dockers && answer.outcome == Outcome::Redirected;
    }

    /// A GET of a manifest.
    pub fn get(&mut self, named: Named, answer: Answer, families: &mut Families) -> Got {
        let known = self.references.len();
        let at = self.remember(named, answer);
        if named.is_digest {
            self.references[at].is_joined = true;
            return self.get_digest(at, answer, at == known, families);
        }
        let tag = &mut self.references[at];
        match answer.outcome {
            Outcome::NotModified => {
                tag.unchanged = tag.unchanged.saturating_add(1);
                return Got::nothing(tag.row);
            }
            // docker asks for a tag by GET only after its HEAD failed; what it gets is unseen too.
            Outcome::Redirected if tag.headed_unseen => {
                tag.is_doubtful = true;
                return Got::nothing(tag.row);
            }
            Outcome::Redirected | Outcome::Succeeded | Outcome::Broken => {}
        }
        Got { is_pull: tag.pull.make(answer, families), ..Got::nothing(tag.row) }
    }

    /// A request for a blob: proof that the oldest doubtful tag was there. The row of the pull
    /// that this makes, if it does.
    pub fn prove(&mut self) -> Option<TagRow> {
        let tag = self.references.iter_mut().find(|tag| tag.is_doubtful && !tag.pull.is_made)?;
        tag.pull.is_made = true;
        Some(tag.row)
    }

    /// A request for a blob: where it is a layer of something that was pulled, that is complete
    /// now. The row of the oldest such pull that was not so already.
    pub fn layer(&mut self, blob: u64, families: &mut Families) -> Option<TagRow> {
        for at in 0..self.references.len() {
            let Some(of) = self.pull_with(at, blob, families) else {
                continue;
            };
            let (row, pull) = match of.map(usize::from) {
                Some(at) => (self.references[at].row, &mut self.references[at].pull),
                None => (TagRow::BY_DIGEST, &mut self.by_digest),
            };
            if pull.is_made && pull.is_seen && !pull.is_complete {
                pull.is_complete = true;
                return Some(row);
            }
        }
        None
    }

    /// The row that a blob is counted under: that of the oldest pull that has it as a layer, else of
    /// what was only looked at and has it.
    pub fn row_of_blob(&self, blob: u64, families: &mut Families) -> TagRow {
        self.pull_of(blob, families).map_or(TagRow::BY_DIGEST, |of| self.row(of))
    }

    /// A blob has come, or a part of it that was asked for.
    pub fn has_come(&mut self, blob: u64) {
        self.broken.retain(|broken| broken.layer != blob);
    }

    /// A blob broke off.
    pub fn broke_off(&mut self, blob: u64, families: &mut Families) {
        if let Some(of) = self.pull_of(blob, families) {
            let broken = Broken { layer: blob, of };
            if self.broken.len() < WINDOW_REFERENCES_MAX && !self.broken.contains(&broken) {
                self.broken.push(broken);
            }
        }
    }

    fn pull_of(&self, blob: u64, families: &mut Families) -> Option<Option<u16>> {
        let mut looked_at = None;
        for at in 0..self.references.len() {
            let Some(of) = self.pull_with(at, blob, families) else {
                continue;
            };
            let tag = of.and_then(|at| self.references.get(usize::from(at)));
            if tag.map_or(self.by_digest, |tag| tag.pull).is_made {
                return Some(of);
            }
            looked_at = looked_at.or(Some(of));
        }
        looked_at
    }

    /// Where the tag stands to whose pull the reference at `at` belongs, `None` where that is by
    /// digest; if `blob` is a layer of it.
    fn pull_with(&self, at: usize, blob: u64, families: &mut Families) -> Option<Option<u16>> {
        let image = self.references.get(at)?;
        image.answer.filter(|digest| families.has_layer(*digest, blob))?;
        // A window's references are far below 2^16.
        Some(image.tag.or_else(|| u16::try_from(at).ok().filter(|_| !image.is_digest)))
    }

    fn row(&self, of: Option<u16>) -> TagRow {
        let tag = of.and_then(|at| self.references.get(usize::from(at)));
        tag.map_or(TagRow::BY_DIGEST, |tag| tag.row)
    }

    /// What is counted once no request can come any more: checks, and pulls that were up to date.
    pub fn closing(&self) -> impl Iterator<Item = (TagRow, Measures)> + '_ {
        let of_references = (0..).zip(&self.references).map(|(at, reference)| {
            let only_headed =
                if reference.is_digest { !reference.is_joined } else { !reference.pull.is_made };
            let checks = if only_headed { u64::from(reference.unchanged.max(1)) } else { 0 };
            (reference.row, checks, reference.pull, Some(at))
        });
        let unchanged = if self.by_digest.is_made { 0 } else { self.digests_unchanged };
        let by_digest = (TagRow::BY_DIGEST, u64::from(unchanged), self.by_digest, None);
        let all = of_references.chain([by_digest]).map(|(row, checks, pull, at)| {
            let up_to_date = u64::from(pull.is_seen && !pull.is_complete);
            let lacks_layers = self.broken.iter().any(|broken| broken.of == at);
            let partial = u64::from(pull.is_complete && lacks_layers);
            (row, Measures { checks, up_to_date, partial, ..Measures::ZERO })
        });
        all.filter(|(_, measures)| *measures != Measures::ZERO)
    }

    /// Forgets all, keeping a little memory for the next window.
    pub fn clear(&mut self) {
        let mut references = std::mem::take(&mut self.references);
        references.clear();
        references.shrink_to(REFERENCES_KEPT);
        *self = Self { references, ..Self::default() };
    }

    /// A GET of the digest at `at`; `is_new` where it was not named here before.
    fn get_digest(
        &mut self,
        at: usize,
        answer: Answer,
        is_new: bool,
        families: &mut Families,
    ) -> Got {
        // 304: the client has it already. That joins nothing and pulls nothing.
        let brings_it = answer.outcome != Outcome::NotModified;
        let digest = self.references[at].hash;
        let Some(tag_at) = self.tag_of(digest, families) else {
            // A digest that nobody named yet is a child of one that was looked at before.
            if is_new
                && brings_it
                && let Some(parent) = self.parent_of(digest, families)
            {
                self.references[parent].is_joined = true;
            }
            if !brings_it {
                self.digests_unchanged = self.digests_unchanged.saturating_add(1);
            }
            let is_pull = brings_it && self.by_digest.make(answer, families);
            let platform = self.platform_of(digest, families);
            let platform = self.by_digest.tell(platform, brings_it);
            return Got { row: TagRow::BY_DIGEST, is_pull, platform };
        };
        if brings_it {
            // A window's references are far below 2^16.
            self.references[at].tag = u16::try_from(tag_at).ok();
        }
        let platform = self.platform_of(digest, families);
        let tag = &mut self.references[tag_at];
        tag.is_joined |= brings_it;
        let is_pull = brings_it && tag.pull.make(answer, families);
        Got { row: tag.row, is_pull, platform: tag.pull.tell(platform, brings_it) }
    }

    /// What a manifest is for, by the word of an index that was named here.
    fn platform_of(&self, digest: u64, families: &mut Families) -> Platform {
        let indexes = self.references.iter().filter_map(|index| index.answer);
        let mut said = indexes.map(|index| families.platform(index, digest));
        said.find(|platform| *platform != Platform::NONE).unwrap_or_default()
    }

    /// The tag that a digest joins.
    fn tag_of(&self, digest: u64, families: &mut Families) -> Option<usize> {
        let tags = || self.references.iter().enumerate().filter(|(_, it)| !it.is_digest);
        let answered = tags().filter(|(_, tag)| tag.answer == Some(digest));
        if let Some(at) = self.choose(answered.map(|(at, _)| at)) {
            return Some(at);
        }
        let mut is_listed = false;
        let references = self.references.iter().enumerate();
        let listing = references.filter(|(_, parent)| parent.lists(digest, families));
        let listing = listing.inspect(|_| is_listed = true).filter_map(|(at, parent)| {
            if parent.is_digest { parent.tag.map(usize::from) } else { Some(at) }
        });
        let chosen = self.choose(listing);
        if is_listed {
            return chosen;
        }
        // Any tag may be the one of which it is not known what it lists.
        let unknown = tags().filter(|(_, tag)| !tag.is_known(families));
        self.choose(unknown.map(|(at, _)| at))
    }

    /// Of these tags the oldest that none has joined yet, else the one named last.
    fn choose(&self, tags: impl Iterator<Item = usize>) -> Option<usize> {
        tags.min_by_key(|at| match self.references[*at] {
            Reference { is_joined: false, .. } => (0, *at),
            Reference { named, .. } => (1, (self.named - named) as usize),
        })
    }

    /// The digest, asked for by HEAD alone so far, whose child a digest is, or may be.
    fn parent_of(&self, digest: u64, families: &mut Families) -> Option<usize> {
        let only_headed = |it: &Reference| it.is_digest && !it.is_joined;
        let references = || self.references.iter().enumerate().filter(|(_, it)| only_headed(it));
        let mut listing = references().filter(|(_, parent)| parent.lists(digest, families));
        let listing = listing.next();
        let mut unknown = references().filter(|(_, parent)| !parent.is_known(families));
        listing.or_else(|| unknown.next()).map(|(at, _)| at)
    }

    /// Where the reference stands, from now on at the latest.
    fn remember(&mut self, named: Named, answer: Answer) -> usize {
        let is_it =
            |known: &Reference| known.hash == named.hash && known.is_digest == named.is_digest;
        let at = self.references.iter().position(is_it).unwrap_or_else(|| {
            if self.references.is_empty() {
                // Most clients name one, and there may be a million windows: no room for four.
                self.references.reserve_exact(1);
            }
            self.references.push(Reference {
                hash: named.hash,
                answer: None,
                row: if named.is_digest { TagRow::BY_DIGEST } else { named.row },
                named: 0,
                unchanged: 0,
                tag: None,
                is_digest: named.is_digest,
                headed_unseen: false,
                is_doubtful: false,
                is_joined: false,
                pull: Pull::default(),
            });
            self.references.len() - 1
        });
        let reference = &mut self.references[at];
        reference.answer = answer.digest.or(reference.answer);
        if !named.is_digest {
            self.named = self.named.saturating_add(1);
            reference.named = self.named;
        }
        at
    }
}

impl Reference {
    /// Whether it is, or points at, an index that lists this manifest.
    fn lists(&self, digest: u64, families: &mut Families) -> bool {
        self.answer.is_some_and(|answer| families.lists(answer, digest))
    }

    /// Whether it is known what its manifest lists.
    fn is_known(&self, families: &mut Families) -> bool {
        self.answer.is_some_and(|answer| families.knows(answer))
    }
}

impl Pull {
    /// What the image is for, where this GET `brings_it` and that was not told yet.
    fn tell(&mut self, platform: Platform, brings_it: bool) -> Platform {
        if !brings_it || platform == Platform::NONE || self.is_platform_told {
            return Platform::NONE;
        }
        self.is_platform_told = true;
        platform
    }

    /// Notes what was brought by a GET; whether that makes the pull, of which a window has one per
    /// tag.
    fn make(&mut self, answer: Answer, families: &mut Families) -> bool {
        self.is_seen |= answer.outcome == Outcome::Succeeded
            && answer.digest.is_some_and(|digest| families.knows(digest));
        !std::mem::replace(&mut self.is_made, true)
    }
}

/// The references that a window's memory is kept for: a tag, an index and its children.
const REFERENCES_KEPT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supply_chain_tags_are_told_from_tags() {
        let hex = "0123456789abcdef".repeat(4);
        for suffix in ["", ".sig", ".att", ".sbom"] {
            let reference = format!("sha256-{hex}{suffix}");
            assert_eq!(Subject::of(reference.as_bytes()), Subject::SupplyChain, "{reference}");
        }
        let digest = format!("sha256:{hex}");
        assert_eq!(Subject::of(digest.as_bytes()), Subject::Digest);
        let upper = format!("sha256-{}", hex.to_uppercase());
        let longer = format!("sha256-{hex}0");
        for tag in ["latest", "sha256-0123", &upper, &longer, &format!("sha256-{hex}.txt")] {
            assert_eq!(Subject::of(tag.as_bytes()), Subject::Tag, "{tag}");
        }
    }
}
