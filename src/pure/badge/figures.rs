//! What badges say of a package, and by which address they are found.

use std::fmt;

use ring::hmac;

use super::colour::Colour;
use super::{Badge, Look};
use crate::pure::access::OrganisationId;
use crate::pure::chart::short;

/// What is known of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Pulls since the beginning.
    pub pulls: u64,
    /// Pulls of the last thirty days.
    pub pulls_of_month: u64,
    /// Companies that were told apart in the month before this one.
    pub companies: Companies,
    /// Of the last thirty days' tags that are versions the one with the most pulls.
    pub version: Option<String>,
}

/// How many companies there were, as everybody may know it: that there were a few is told of no number
/// below `insight.k_public`, for whoever watches it would see each of them come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Companies {
    /// So many.
    Many(u64),
    /// Fewer than so many.
    Fewer(u64),
}

impl Companies {
    /// `many`, where that is a crowd.
    pub fn shown(many: u64, k_public: u64) -> Self {
        if many < k_public { Self::Fewer(k_public) } else { Self::Many(many) }
    }
}

impl Default for Companies {
    fn default() -> Self {
        Self::Many(0)
    }
}

impl fmt::Display for Companies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Many(many) => f.write_str(&short(*many)),
            Self::Fewer(than) => write!(f, "<{than}"),
        }
    }
}

/// What a badge is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Pulls since the beginning.
    Pulls,
    /// Pulls of the last thirty days.
    LatestMonth,
    /// Companies of the month before.
    Companies,
    /// The version with the most pulls.
    Version,
}

impl About {
    /// All of them, in the order in which they are shown.
    pub const EVERY: [Self; 4] = [Self::Pulls, Self::LatestMonth, Self::Companies, Self::Version];

    /// How its file is called, before `.svg` or `.json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pulls => "pulls",
            Self::LatestMonth => "latest-month",
            Self::Companies => "companies",
            Self::Version => "version",
        }
    }

    /// The badge of that package; of one that there is not `None`.
    pub fn badge(self, figures: Option<&Figures>, mut look: Look) -> Badge {
        let label = match self {
            Self::Pulls | Self::LatestMonth => "pulls",
            Self::Companies => "companies",
            Self::Version => "version",
        };
        let message = figures.and_then(|figures| match self {
            Self::Pulls => Some(short(figures.pulls)),
            Self::LatestMonth => Some(format!("{}/month", short(figures.pulls_of_month))),
            Self::Companies => Some(figures.companies.to_string()),
            Self::Version => figures.version.clone(),
        });
        if message.is_none() {
            look.colour = Some(Colour::LIGHT_GREY);
        }
        let unknown = if figures.is_some() { "unknown" } else { "not found" };
        let message = message.unwrap_or_else(|| unknown.to_owned());
        Badge { label: label.to_owned(), message, look }
    }
}

/// The identifier in the address of one badge of a package of `owner`: whoever does not have `key` cannot tell
/// it from the name, nor from that of another badge of the package. With another owner of its domain it is
/// another: who had the addresses before does not go on watching.
pub fn id(key: &[u8; 32], (owner, package): (OrganisationId, &str), about: About) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, format!("{} {owner} {package}", about.word()).as_bytes());
    tag.as_ref().iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Of tags in the order of their pulls the first that is a version.
pub fn version<'t>(tags: impl IntoIterator<Item = &'t str>) -> Option<&'t str> {
    tags.into_iter().find(|tag| is_version(tag))
}

/// `1.2`, `v2.4.0-rc.1`, but neither `2026` nor `nightly-2`.
fn is_version(tag: &str) -> bool {
    let numbers = tag.strip_prefix('v').unwrap_or(tag);
    let mut parts = numbers.splitn(3, '.');
    let is_number = |part: Option<&str>| {
        part.is_some_and(|it| it.starts_with(|one: char| one.is_ascii_digit()))
    };
    is_number(parts.next()) && is_number(parts.next())
}

const ID_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn badges_say_what_is_known() {
        let figures = Figures {
            pulls: 12_345,
            pulls_of_month: 678,
            companies: Companies::shown(12, 10),
            version: Some("2.4.0".to_owned()),
        };
        let said = |about: About, figures: Option<&Figures>| {
            let badge = about.badge(figures, Look::default());
            format!("{} {}", badge.label, badge.message)
        };
        let all = About::EVERY.map(|about| said(about, Some(&figures)));
        assert_eq!(all, ["pulls 12k", "pulls 678/month", "companies 12", "version 2.4.0"]);
        assert_eq!(said(About::Version, Some(&Figures::default())), "version unknown");
        assert_eq!(said(About::Pulls, None), "pulls not found");
        for few in [0, 9] {
            let companies = Companies::shown(few, 10);
            let few = Figures { companies, ..Figures::default() };
            assert_eq!(said(About::Companies, Some(&few)), "companies <10");
        }
    }

    #[test]
    fn an_identifier_is_one_badges_own_and_another_key_or_owner_gives_another() {
        let one = id(&[1; 32], (7, "a.b/c"), About::Pulls);
        assert_eq!((one.len(), &one), (24, &id(&[1; 32], (7, "a.b/c"), About::Pulls)));
        assert_ne!(one, id(&[1; 32], (7, "a.b/c"), About::Companies));
        assert_ne!(one, id(&[1; 32], (7, "a.b/d"), About::Pulls));
        assert_ne!(one, id(&[1; 32], (8, "a.b/c"), About::Pulls), "it has another owner");
        assert_ne!(one, id(&[2; 32], (7, "a.b/c"), About::Pulls));
    }

    #[test]
    fn the_most_pulled_version_is_no_name_of_a_branch() {
        let tags = ["latest", "(by digest)", "nightly-2026", "v2.4", "3.0.1"];
        assert_eq!(version(tags), Some("v2.4"));
        assert_eq!(version(["latest", "main"]), None);
    }
}
