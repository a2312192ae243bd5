//! The rule that turns the requests of one client, for one package, in one window, into pulls and
//! checks. Its twin in prose is `docs/counting.md`; [`fold`](crate::pure::pull::fold) keeps the
//! table of windows.
//!
//! Answers are not known here: under a redirect nobody sees them. So a GET by digest *joins* the
//! oldest tag of the window that none has joined yet, else the tag named last.

use crate::pure::limits::WINDOW_REFERENCES_MAX;
use crate::pure::pull::event::Outcome;

/// Which row of the tag dimension something is counted under: one of the constants, or a number
/// that the caller gave a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// A hash of the reference's text.
    pub hash: u64,
    /// The tag's row; ignored for a digest.
    pub row: TagRow,
    /// Whether it is a digest.
    pub is_digest: bool,
}

/// What one GET of a manifest comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    /// The row that the request is counted under.
    pub row: TagRow,
    /// Whether it makes a pull.
    pub is_pull: bool,
}

/// What was asked for in one window.
#[derive(Debug, Default)]
pub struct Window {
    references: Vec<Reference>,
    /// Where the tag that was named last stands.
    latest_tag: Option<usize>,
    pulled_by_digest: bool,
    /// GETs by digest answered 304 while no tag was named.
    digests_unchanged: u32,
}

/// A tag or digest and what became of it.
#[derive(Clone, Copy, Debug)]
struct Reference {
    hash: u64,
    row: TagRow,
    /// GETs answered 304.
    unchanged: u16,
    is_digest: bool,
    /// Asked for by a HEAD of docker's whose outcome is unseen.
    headed_unseen: bool,
    /// A tag that was asked for again by GET after such a HEAD, and nothing followed yet.
    is_doubtful: bool,
    /// A tag that a GET by digest joined; a digest that was asked for by GET, or whose child was.
    is_joined: bool,
    is_pulled: bool,
}

impl Window {
    /// How many references it remembers.
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether nothing was asked for yet.
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// Whether it must be settled before it may remember more.
    pub fn is_full(&self) -> bool {
        self.references.len() >= WINDOW_REFERENCES_MAX
    }

    /// A HEAD of a manifest. `is_dockers`: docker asks for the same tag by GET only where its HEAD
    /// failed; other clients do so as a rule.
    pub fn head(&mut self, named: Named, outcome: Outcome, is_dockers: bool) {
        let at = self.remember(named);
        self.references[at].headed_unseen |= is_dockers && outcome == Outcome::Redirected;
    }

    /// A GET of a manifest.
    pub fn get(&mut self, named: Named, outcome: Outcome) -> Got {
        let known = self.references.len();
        let at = self.remember(named);
        if named.is_digest {
            self.references[at].is_joined = true;
            return self.get_digest(outcome, at == known);
        }
        let tag = &mut self.references[at];
        match outcome {
            Outcome::NotModified => {
                tag.unchanged = tag.unchanged.saturating_add(1);
                return Got { row: tag.row, is_pull: false };
            }
            // docker asks for a tag by GET only after its HEAD failed; what it gets is unseen too.
            Outcome::Redirected if tag.headed_unseen => {
                tag.is_doubtful = true;
                return Got { row: tag.row, is_pull: false };
            }
            Outcome::Redirected | Outcome::Succeeded => {}
        }
        Got { row: tag.row, is_pull: tag.pull() }
    }

    /// A request for a blob: proof that the oldest doubtful tag was there. The row of the pull
    /// that this makes, if it does.
    pub fn blob(&mut self) -> Option<TagRow> {
        let tag = self.references.iter_mut().find(|tag| tag.is_doubtful && !tag.is_pulled)?;
        tag.pull();
        Some(tag.row)
    }

    /// The checks, once no request can come any more: their row and number.
    pub fn checks(&self) -> impl Iterator<Item = (TagRow, u64)> + '_ {
        let of_references = self.references.iter().filter_map(|reference| {
            let only_headed =
                if reference.is_digest { !reference.is_joined } else { !reference.is_pulled };
            only_headed.then(|| (reference.row, u64::from(reference.unchanged.max(1))))
        });
        let unchanged = if self.pulled_by_digest { 0 } else { self.digests_unchanged };
        let by_digest = (unchanged > 0).then_some((TagRow::BY_DIGEST, u64::from(unchanged)));
        of_references.chain(by_digest)
    }

    /// Forgets all, keeping a little memory for the next window.
    pub fn clear(&mut self) {
        self.references.clear();
        self.references.shrink_to(REFERENCES_KEPT);
        self.latest_tag = None;
        self.pulled_by_digest = false;
        self.digests_unchanged = 0;
    }

    fn get_digest(&mut self, outcome: Outcome, is_new: bool) -> Got {
        // 304: the client has it already. That joins nothing and pulls nothing.
        let brings_it = outcome != Outcome::NotModified;
        let is_open = |tag: &Reference| !tag.is_digest && !tag.is_joined;
        let joined = self.references.iter().position(is_open).or(self.latest_tag);
        let Some(tag) = joined.and_then(|at| self.references.get_mut(at)) else {
            let is_pull = brings_it && !self.pulled_by_digest;
            self.pulled_by_digest |= brings_it;
            // A digest that nobody named yet is a child of the one that was looked at before.
            let only_headed = |it: &&mut Reference| it.is_digest && !it.is_joined;
            if is_new
                && brings_it
                && let Some(parent) = self.references.iter_mut().find(only_headed)
            {
                parent.is_joined = true;
            }
            self.digests_unchanged = self.digests_unchanged.saturating_add(u32::from(!brings_it));
            return Got { row: TagRow::BY_DIGEST, is_pull };
        };
        tag.is_joined |= brings_it;
        Got { row: tag.row, is_pull: brings_it && tag.pull() }
    }

    /// Where the reference stands, from now on at the latest.
    fn remember(&mut self, named: Named) -> usize {
        let is_it =
            |known: &Reference| known.hash == named.hash && known.is_digest == named.is_digest;
        let at = self.references.iter().position(is_it).unwrap_or_else(|| {
            self.references.push(Reference {
                hash: named.hash,
                row: if named.is_digest { TagRow::BY_DIGEST } else { named.row },
                unchanged: 0,
                is_digest: named.is_digest,
                headed_unseen: false,
                is_doubtful: false,
                is_joined: false,
                is_pulled: false,
            });
            self.references.len() - 1
        });
        if !named.is_digest {
            self.latest_tag = Some(at);
        }
        at
    }
}

impl Reference {
    /// Whether this is the pull, of which a window has one per tag.
    fn pull(&mut self) -> bool {
        !std::mem::replace(&mut self.is_pulled, true)
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
