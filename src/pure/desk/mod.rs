//! The gateway's own token service, at `/token` on every domain that has a name: what a request for a
//! token asks for, and who can answer it (distribution, "Token Authentication Specification").
//!
//! For what anybody may pull the gateway gives a token itself. For what clients log in for, the scope
//! names the package, so it is known which registry's token is wanted, and to whom the login belongs.

mod own;

use crate::pure::config::values::Credentials;
use crate::pure::oci::name::Name;
use crate::pure::query::{decoded, values};
use crate::pure::route::table::Site;

pub use own::{LIFE_S, Own, OwnKeys, Secret, Signed, is_own};

/// Where a client is sent for a token (RFC 9110, 11.6.1). Some clients put all of it into lower case
/// and split it at commas, so it has none in its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'r> {
    /// `https://registry.acme.com/token`
    pub realm: &'r str,
    /// What the domain is called there: its host name.
    pub service: &'r str,
    /// What the token is to be good for, where that is known.
    pub name: Option<Name<'r>>,
}

/// Registry business that a request for a token leads to.
#[derive(Clone, Copy)]
pub struct Errand<'r> {
    /// The domain that it came to.
    pub site: Site<'r>,
    /// Which of the snapshot's registries is asked.
    pub registry: usize,
    /// The request's query, where scopes stand.
    query: &'r [u8],
    /// The client's login, as `Authorization` has it; it goes to that registry's realm alone.
    pub login: Option<&'r [u8]>,
    /// What comes of it.
    pub purpose: Purpose,
}

/// What a login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A token is wanted.
    Token,
    /// `/v2/` was asked with a name and a password: are they right?
    Base,
}

/// What a client shows in `Authorization`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown<'r> {
    /// Nothing that is known here.
    Nothing,
    /// A name and a password; the whole value, with its scheme.
    Login(&'r [u8]),
    /// A token.
    Token(&'r [u8]),
}

impl<'r> Challenge<'r> {
    /// Of the domain, if it has a realm.
    pub fn of(site: Site<'r>, name: Option<Name<'r>>) -> Option<Self> {
        let realm = site.realm()?;
        Some(Self { realm, service: site.domain(), name })
    }

    /// The value of `WWW-Authenticate`, piece by piece.
    pub fn pieces(&self) -> [&'r str; 7] {
        let [scope, name, end] = match self.name {
            Some(name) => ["\",scope=\"repository:", name.as_str(), ":pull\""],
            None => ["\"", "", ""],
        };
        ["Bearer realm=\"", self.realm, "\",service=\"", self.service, scope, name, end]
    }
}

impl<'r> Shown<'r> {
    /// What stands in the field.
    pub fn of(authorization: Option<&'r [u8]>) -> Self {
        let value = authorization.unwrap_or_default();
        let Some((scheme, rest)) =
            memchr::memchr(b' ', value).and_then(|at| value.split_at_checked(at))
        else {
            return Self::Nothing;
        };
        let rest = rest.trim_ascii();
        match () {
            () if scheme.eq_ignore_ascii_case(b"Basic") && !rest.is_empty() => Self::Login(value),
            () if scheme.eq_ignore_ascii_case(b"Bearer") && !rest.is_empty() => Self::Token(rest),
            () => Self::Nothing,
        }
    }
}

impl<'r> Errand<'r> {
    /// What a request for a token at `site` leads to; `None` where the gateway answers by itself.
    ///
    /// The first name whose package clients log in for says whom to ask: a token is one registry's.
    /// A login that names nothing is checked where the domain says.
    pub fn token(site: Site<'r>, query: Option<&'r [u8]>, shown: Shown<'r>) -> Option<Self> {
        let query = query.unwrap_or_default();
        let (mut names_something, mut registry) = (false, None);
        names(query, |name| {
            names_something = true;
            let matched = site.find(name).filter(|it| it.credentials == Credentials::Client);
            registry = registry.or_else(|| matched.map(|matched| matched.registry));
        });
        let login = match shown {
            Shown::Login(login) => Some(login),
            Shown::Token(_) | Shown::Nothing => None,
        };
        if !names_something && login.is_some() {
            registry = site.login();
        }
        Some(Self { site, registry: registry?, query, login, purpose: Purpose::Token })
    }

    /// The check of a `login` that came to `/v2/`; `None` where nobody can.
    pub fn base(site: Site<'r>, login: &'r [u8]) -> Option<Self> {
        let registry = site.login()?;
        Some(Self { site, registry, query: b"", login: Some(login), purpose: Purpose::Base })
    }

    /// The repositories that a token is wanted for, as the registry names them, each once: those that
    /// live there and that clients log in for.
    pub fn repositories(&self) -> Vec<String> {
        let mut all = Vec::new();
        names(self.query, |name| {
            let matched = self.site.find(name).filter(|matched| {
                matched.credentials == Credentials::Client && matched.registry == self.registry
            });
            let Some(matched) = matched else { return };
            let there = matched.location.get(matched.base_length..).unwrap_or_default();
            let tail = name.as_str().get(matched.tail_from..).unwrap_or_default();
            let repository = [there, tail].concat();
            if !all.contains(&repository) {
                all.push(repository);
            }
        });
        all
    }
}

/// The repositories' names in the scopes of a query; what is none is passed over. Allocates nothing.
fn names(query: &[u8], mut each: impl FnMut(Name<'_>)) {
    for value in values(query, "scope") {
        let mut room = [0; SCOPE_BYTES_MAX];
        let Some(scopes) = decoded(value, &mut room) else { continue };
        for scope in scopes.split(|byte| *byte == b' ') {
            if let Some(name) = repository(scope) {
                each(name);
            }
        }
    }
}

/// `acme/rocket` of `repository:acme/rocket:pull`.
fn repository(scope: &[u8]) -> Option<Name<'_>> {
    let rest = scope.strip_prefix(b"repository")?;
    // Docker's plugins are of the class `repository(plugin)`.
    let rest = match rest.strip_prefix(b"(") {
        Some(class) => class.get(memchr::memchr(b')', class)? + 1..)?,
        None => rest,
    };
    let rest = rest.strip_prefix(b":")?;
    Name::parse(rest.get(..memchr::memrchr(b':', rest)?)?).ok()
}

/// What a registry's own token begins with where it is sealed into one of ours: so it is told from a
/// login.
pub const BEARER: &[u8] = b"Bearer ";

/// Scopes of one value, decoded: docker asks for two at most, and a name has 255 bytes.
const SCOPE_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pure::config::check;
    use crate::pure::route::table::{Ports, Table};

    /// A domain that leads to three registries, of which two take logins.
    fn table(login: &str) -> Table {
        let text = format!(
            "[[domains]]\nhost = 'a.b'\npublic_url = 'https://a.b'\n{login}\n\
             [[packages]]\ndomain = 'a.b'\nname = 'open'\nbackend = 'quay.io/acme/open'\n\
             [[packages]]\ndomain = 'a.b'\nname = 'rocket'\nbackend = 'ghcr.io/acme/rocket'\n\
             credentials = 'client'\n\
             [[packages]]\ndomain = 'a.b'\nname = 'moon/**'\nbackend = 'ghcr.io/acme/moon/**'\n\
             credentials = 'client'\n\
             [[packages]]\ndomain = 'a.b'\nname = 'tools/*'\nbackend = 'r.example.net/*'\n\
             credentials = 'client'\n"
        );
        let (config, _) = check("f", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
        let mut table = Table::build(&config.packages, &config.domains);
        table.add_realms(&config.domains, Ports { plain: 8080, tls: None });
        table
    }

    const LOGIN: &[u8] = b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";

    /// Whom a request leads to, and for what.
    fn told(table: &Table, query: &str, shown: Shown<'_>) -> String {
        let registries: Vec<&str> = table.registries().collect();
        let errand = Errand::token(table.site(b"a.b"), Some(query.as_bytes()), shown);
        errand.map_or_else(
            || "ours".to_owned(),
            |errand| {
                let login = if errand.login.is_some() { " with a login" } else { "" };
                let registry = registries[errand.registry];
                format!("{registry} {}{login}", errand.repositories().join(" ")).replace("  ", " ")
            },
        )
    }

    #[test]
    fn the_scope_says_which_registry_is_asked_and_for_what() {
        let table = table("");
        for (query, expected) in [
            ("", "ours"),
            ("service=a.b&scope=repository:open:pull", "ours"),
            ("scope=repository:nothing:pull", "ours"),
            ("scope=repository:rocket:pull", "https://ghcr.io/v2/ acme/rocket"),
            ("scope=repository%3Amoon%2Fbase%2Fx%3Apull", "https://ghcr.io/v2/ acme/moon/base/x"),
            ("account=a&scope=repository:tools/saw:pull,push", "https://r.example.net/v2/ saw"),
            ("scope=repository(plugin):rocket:pull", "https://ghcr.io/v2/ acme/rocket"),
            // Several: those of the first one's registry.
            (
                "scope=repository:open:pull&scope=repository:rocket:pull&scope=repository:moon/a:pull",
                "https://ghcr.io/v2/ acme/rocket acme/moon/a",
            ),
            (
                "scope=repository:rocket:pull+repository%3Atools%2Fsaw%3Apull",
                "https://ghcr.io/v2/ acme/rocket",
            ),
            (
                "scope=repository:rocket:pull%20repository:rocket:push",
                "https://ghcr.io/v2/ acme/rocket",
            ),
            // What is none.
            ("scope=registry:catalog:*", "ours"),
            ("scope=repository:rocket", "ours"),
            ("scope=repository:Rocket:pull", "ours"),
            ("scope=repository:rocket%:pull", "ours"),
            ("scope=repository:rocket%zz:pull", "ours"),
            ("xscope=repository:rocket:pull", "ours"),
        ] {
            assert_eq!(told(&table, query, Shown::Nothing), expected, "{query}");
        }
        let query = "scope=repository:rocket:pull";
        assert_eq!(
            told(&table, query, Shown::Login(LOGIN)),
            "https://ghcr.io/v2/ acme/rocket with a login"
        );
        assert_eq!(told(&table, "scope=repository:open:pull", Shown::Login(LOGIN)), "ours");
    }

    #[test]
    fn a_login_that_names_nothing_is_checked_where_the_domain_says() {
        let (named, unnamed) = (table("login = 'r.example.net'"), table(""));
        let query = "account=ada&client_id=docker&offline_token=true&service=a.b";
        let expected = "https://r.example.net/v2/ with a login";
        assert_eq!(told(&named, query, Shown::Login(LOGIN)), expected);
        assert_eq!(told(&named, query, Shown::Nothing), "ours");
        // Two registries could: the login is told to neither.
        assert_eq!(told(&unnamed, query, Shown::Login(LOGIN)), "ours");
        assert!(Errand::base(unnamed.site(b"a.b"), LOGIN).is_none());
        assert!(Errand::base(named.site(b"a.b"), LOGIN).is_some());
    }

    #[test]
    fn what_is_shown_is_told_apart() {
        let told = |value: &str| match Shown::of(Some(value.as_bytes())) {
            Shown::Nothing => "nothing".to_owned(),
            Shown::Login(login) => format!("login {}", String::from_utf8_lossy(login)),
            Shown::Token(token) => format!("token {}", String::from_utf8_lossy(token)),
        };
        assert_eq!(told("Basic eA=="), "login Basic eA==");
        assert_eq!(told("basic eA=="), "login basic eA==");
        assert_eq!(told("Bearer abc"), "token abc");
        assert_eq!(told("bearer  abc "), "token abc");
        for nothing in ["", "Basic", "Basic ", "Bearer", "Digest x", "abc"] {
            assert_eq!(told(nothing), "nothing", "{nothing}");
        }
        assert!(Shown::of(None) == Shown::Nothing);
    }

    #[test]
    fn a_challenge_survives_clients_that_lower_it_and_split_it_at_commas() {
        let table = table("");
        let name = Name::parse(b"moon/x").unwrap();
        let challenge = Challenge::of(table.site(b"A.B:443"), Some(name)).unwrap();
        let text = challenge.pieces().concat();
        assert_eq!(
            text,
            "Bearer realm=\"https://a.b/token\",service=\"a.b\",scope=\"repository:moon/x:pull\""
        );
        assert_eq!(text.split(',').count(), 3);
        assert_eq!(text["Bearer".len()..].to_lowercase(), text["Bearer".len()..]);
        let bare = Challenge { name: None, ..challenge }.pieces().concat();
        assert_eq!(bare, "Bearer realm=\"https://a.b/token\",service=\"a.b\"");
    }

    proptest! {
        #[test]
        fn no_query_leads_anywhere_but_to_registries_that_clients_log_in_at(
            query in "(scope=|service=|&|repository:|rocket|tools/saw|open|moon/|:pull|%3A|%2F|[+%a-z,]){0,12}",
        ) {
            let table = table("login = 'ghcr.io'");
            for shown in [Shown::Nothing, Shown::Login(LOGIN)] {
                let told = told(&table, &query, shown);
                prop_assert!(!told.contains("quay.io"), "{}", told);
                prop_assert!(told == "ours" || told.contains(" with a login") == (shown == Shown::Login(LOGIN)));
            }
        }
    }
}
