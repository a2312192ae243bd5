//! What a client can be trusted with. Which of them a redirect to a registry that asks for a token
//! leads astray was measured, and is data (`config/clients.toml`).

use memchr::memmem;

use super::{VERSION_NUMBERS_MAX, leading_version};

/// What a client can be trusted with, by what is known of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// It finds its way through a redirect to a registry that asks for a token.
    pub survives_redirect: bool,
    /// It does so only where its `/v2/` was redirected there before: classic docker, which files a
    /// challenge under the host that answered.
    pub asks_base_first: bool,
    /// It gives up where `/v2/` demands nothing.
    pub needs_challenge: bool,
}

/// What a file of clients says of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) survives: Survives,
    pub(super) within: Option<Within>,
    pub(super) needs_challenge: bool,
}

/// Another client in this one that does the pulling, if the user agent has this mark, in lower
/// case, and its version behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) mark: Vec<u8>,
    pub(super) survives: Survives,
}

/// Whether a client survives a redirect to a registry that asks for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survives {
    Never,
    Always,
    /// Where its `/v2/` was redirected too.
    AfterBase,
    /// From this version on.
    From([u32; VERSION_NUMBERS_MAX]),
}

impl Rules {
    /// The trust in the client of this version whose user agent, in lower case, is `text`.
    pub(super) fn trust(&self, text: &[u8], version: &str) -> Trust {
        let within = self.within.as_ref().and_then(|within| {
            let at = memmem::find(text, &within.mark)? + within.mark.len();
            Some((within.survives, leading_version(text.get(at..)?)))
        });
        let (survives, version) = within.unwrap_or((self.survives, version));
        Trust {
            survives_redirect: survives.holds(version),
            asks_base_first: survives == Survives::AfterBase,
            needs_challenge: self.needs_challenge,
        }
    }
}

impl Survives {
    /// As it is written; `None` for what is not.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            "always" => Some(Self::Always),
            "after /v2/" => Some(Self::AfterBase),
            version => {
                let is_whole = leading_version(version.as_bytes()) == version;
                (is_whole && !version.is_empty()).then(|| Self::From(numbers(version)))
            }
        }
    }

    fn holds(self, version: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Always | Self::AfterBase => true,
            Self::From(first) => !version.is_empty() && numbers(version) >= first,
        }
    }
}

/// A version's numbers; those that are missing are 0.
fn numbers(version: &str) -> [u32; VERSION_NUMBERS_MAX] {
    let mut numbers = [0; VERSION_NUMBERS_MAX];
    for (number, text) in numbers.iter_mut().zip(version.split('.')) {
        // `leading_version` lets no more digits through than fit.
        *number = text.parse().unwrap_or(0);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use crate::pure::client::ClientTable;

    /// The trust in a client, in a few words.
    fn trust(table: &ClientTable, user_agent: &str) -> String {
        let trust = table.trust(user_agent.as_bytes());
        let mut words = Vec::new();
        if trust.survives_redirect {
            words.push(if trust.asks_base_first { "survives after /v2/" } else { "survives" });
        }
        if trust.needs_challenge {
            words.push("needs a challenge");
        }
        words.join(", ")
    }

    #[test]
    fn who_survives_a_redirect_to_a_registry_that_asks_for_a_token() {
        let table = ClientTable::built_in();
        for (user_agent, expected) in [
            ("docker/20.10.24+dfsg1 go/go1.19.8 os/linux arch/amd64", "survives after /v2/"),
            ("docker/28.5.2 os/linux containerd-client/2.1.9+unknown storage-driver", "survives"),
            ("docker/24.0.0 os/linux containerd-client/1.5.4 storage-driver", ""),
            ("docker/29.0.0 os/linux containerd-client/devel", ""),
            ("Docker/20.10", "survives after /v2/"),
            ("containerd/1.5.5", "survives"),
            ("containerd/1.5.10", "survives"),
            ("containerd/v2.1.4", "survives"),
            ("containerd/2", "survives"),
            ("containerd/1.5.4", ""),
            ("containerd/1.4.13", ""),
            ("containerd/1.5", ""),
            ("containerd/unknown", ""),
            ("containers/5.34.2 (github.com/containers/image)", ""),
            ("skopeo/1.9.3", ""),
            ("Buildah/1.28.2", ""),
            ("cri-o/1.30.0 go/go1.22.0 os/linux arch/amd64", ""),
            ("go-containerregistry/v0.20.2", ""),
            ("oras/1.2.0", ""),
            ("Docker-Client/20.10.24 (linux)", ""),
            ("Watchtower (Docker)", "needs a challenge"),
            ("Watchtower/1.7.1", "needs a challenge"),
            ("curl/8.5.0", ""),
            ("", ""),
        ] {
            assert_eq!(trust(&table, user_agent), expected, "{user_agent}");
        }
    }

    #[test]
    fn a_file_says_it_in_its_own_way() {
        let text = r#"
[[clients]]
family = "a"
begins = "a/"
survives_redirect = "always"
needs_challenge = true
acts_as = { family = "b", mark = "B/" }

[[clients]]
family = "b"
begins = "b/"
survives_redirect = "2"
"#;
        let table = ClientTable::parse(text).unwrap();
        for (user_agent, expected) in [
            ("a/1", "survives, needs a challenge"),
            ("a/1 b/1.9.9.9", "needs a challenge"),
            ("A/1 B/2", "survives, needs a challenge"),
            ("b/1", ""),
            ("b/2.0", "survives"),
        ] {
            assert_eq!(trust(&table, user_agent), expected, "{user_agent}");
        }
    }
}
