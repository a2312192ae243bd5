//! By which fact a delivery was chosen, and how an answer says so.

use crate::pure::config::values::Delivery;
use crate::pure::oci::name::Name;
use crate::pure::route::table::Match;

/// By which fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The package's `delivery` says it.
    Configured,
    /// Clients log in for the package.
    ClientsLogIn,
    /// The operator's account pulls it.
    OurAccount,
    /// Several registries have it.
    SeveralHomes,
    /// Everybody can pull it, without a token.
    Open,
    /// Everybody can pull it with a token, and this client gets one there.
    Survives,
    /// Not everybody can, or not there.
    Refused,
    /// Nothing is known yet.
    Unknown,
    /// It needs a token, and clients of the domain know no single registry to get it from.
    SeveralRegistries,
    /// It needs a token, and clients would ask for one by a name that the registry does not know.
    Renamed,
    /// It needs a token, and the client shows something to us that is not for others.
    LoginSent,
    /// It needs a token, and this client loses its own on a redirect.
    ClientLosesToken,
    /// It needs a token, and this client might have seen another answer at `/v2/`.
    Unsettled,
    /// `/v2/`: this client has to see the registry's own challenge.
    ShowsChallenge,
}

/// What an answer says of its way.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'r> {
    /// The rule that matched.
    pub matched: Match<'r>,
    /// The name that it matched.
    pub name: Name<'r>,
    /// The delivery that was chosen, as the configuration calls it.
    pub delivery: &'static str,
    /// By which fact.
    pub why: Why,
}

impl Why {
    /// In words, without a quote in them.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Configured => "the package's delivery says so",
            Self::ClientsLogIn => "clients log in for it",
            Self::OurAccount => "the gateway's own account pulls it",
            Self::SeveralHomes => "several registries have it, and stand in for each other",
            Self::Open => "everybody can pull it there without a token",
            Self::Survives => "everybody can pull it there with a token, which this client gets",
            Self::Refused => "not everybody can pull it there by https, at a public address",
            Self::Unknown => "it is not known yet who can pull it there",
            Self::SeveralRegistries => {
                "it needs a token, and the domain's packages live on several registries"
            }
            Self::Renamed => "it needs a token, and has another name at the registry",
            Self::LoginSent => "it needs a token, and the client has sent an Authorization",
            Self::ClientLosesToken => {
                "it needs a token, and this client loses its own on a redirect"
            }
            Self::Unsettled => {
                "it needs a token, and /v2/ has not been a redirect for a minute for this client"
            }
            Self::ShowsChallenge => "this client has to see the registry's own challenge",
        }
    }
}

impl<'r> Explained<'r> {
    /// The header field, begun by its line break, piece by piece.
    pub fn pieces(&self) -> [&'r str; 9] {
        let Match { domain, collection, .. } = self.matched;
        let pattern = if collection.is_empty() { self.name.as_str() } else { collection };
        [
            "\r\nPullgate-Explain: rule=\"",
            domain,
            "/",
            pattern,
            "\"; delivery=",
            self.delivery,
            "; why=\"",
            self.why.words(),
            "\"",
        ]
    }
}

/// As the configuration writes it.
pub const fn word_of(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Auto => "auto",
        Delivery::Redirect => "redirect",
        Delivery::Broker => "broker",
        Delivery::Stream => "stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_a_quoted_string() {
        for why in [
            Why::Configured,
            Why::ClientsLogIn,
            Why::OurAccount,
            Why::Open,
            Why::Survives,
            Why::Refused,
            Why::Unknown,
            Why::SeveralRegistries,
            Why::Renamed,
            Why::LoginSent,
            Why::ClientLosesToken,
            Why::Unsettled,
            Why::ShowsChallenge,
        ] {
            assert!(why.words().bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"'));
        }
    }
}
