//! Logging in at a registry, in its own words: challenges (RFC 9110, 11.6.1; RFC 6750), the token
//! request, and its answer (distribution spec, "Token Authentication Specification").

use std::fmt::Write as _;

use serde::Deserialize;

use super::backend::Scheme;
use crate::pure::fault::{Fault, Kind};
use crate::pure::origin::{Origin, Url};

/// What a registry demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from somewhere.
    Bearer {
        /// Where tokens are given.
        realm: Url,
        /// For whom.
        service: Option<String>,
        /// For what; at `/v2/` a placeholder at some registries.
        scope: Option<String>,
    },
    /// A name and a password with each request.
    Basic,
}

/// A token as it was granted.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// What goes behind `Bearer `.
    pub token: String,
    /// How long it is good for, in seconds, from when it was asked for. What the service says of
    /// when it issued it is not believed: clocks differ.
    pub expires_in_s: u64,
}

/// The challenge in all `WWW-Authenticate` lines of a head, Bearer before Basic; `None` where there
/// is none that is known here.
///
/// # Errors
/// [`Kind::UpstreamMalformed`] for a Bearer challenge without a realm that can be asked.
pub fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<Challenge>, Fault> {
    let mut found = None;
    for value in values {
        let Ok(text) = std::str::from_utf8(value) else {
            continue;
        };
        for (scheme, parameters) in challenges(text) {
            if scheme.eq_ignore_ascii_case("Bearer") {
                return bearer(&parameters).map(Some);
            }
            if scheme.eq_ignore_ascii_case("Basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    Ok(found)
}

/// The scope to ask for: to pull from the repository, whatever a placeholder says; but a registry
/// whose scopes are of another kind (`aws`) gets its own back.
pub fn scope(challenge_scope: Option<&str>, repository: &str) -> String {
    match challenge_scope {
        Some(scope) if !scope.starts_with("repository:") => scope.to_owned(),
        Some(_) | None => format!("repository:{repository}:pull"),
    }
}

/// Whether a realm may be asked for the tokens of `registry`: on its own host, at any port, in the
/// clear only if the registry is; the known pairs; and `token_hosts`, which the operator trusts.
/// Whoever names any other realm may be after credentials.
pub fn may_be_realm(realm: &Url, registry: &Origin, token_hosts: &[String]) -> bool {
    let Origin { scheme, host, .. } = &realm.origin;
    if *scheme == Scheme::Http && registry.scheme == Scheme::Https {
        return false;
    }
    let is_known_pair = || {
        let is_it = |(of, at): &(&str, &str)| *of == registry.host && *at == host;
        *scheme == Scheme::Https && KNOWN_PAIRS.iter().any(is_it)
    };
    let is_named = || {
        let authority = realm.origin.authority();
        token_hosts.iter().any(|named| named == host || *named == authority)
    };
    *host == registry.host || is_known_pair() || is_named()
}

/// The origin-form of a token request to `realm`.
pub fn token_target(
    realm: &Url,
    service: Option<&str>,
    scope: Option<&str>,
    account: Option<&str>,
) -> String {
    let mut target = realm.target.clone();
    let mut mark = if target.contains('?') { '&' } else { '?' };
    for (key, value) in [("account", account), ("scope", scope), ("service", service)] {
        if let Some(value) = value {
            target.push(mark);
            target.push_str(key);
            target.push('=');
            percent_encode(&mut target, value);
            mark = '&';
        }
    }
    target
}

/// The token in a token service's answer.
///
/// # Errors
/// [`Kind::TokenService`] for what is none, or could not stand in a header field.
pub fn granted(body: &[u8]) -> Result<Granted, Fault> {
    let wrong = |detail| Fault::new(Kind::TokenService, detail);
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| wrong("its answer is not a token in JSON"))?;
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|it| !it.is_empty());
    let token = token.ok_or_else(|| wrong("its answer has no token"))?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("its token has bytes that no token has"));
    }
    // Absent is 60 s, and less is not given (distribution spec).
    let expires_in_s = answer.expires_in.unwrap_or(EXPIRES_IN_S).max(EXPIRES_IN_S);
    Ok(Granted { token, expires_in_s })
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn bearer(parameters: &[(&str, String)]) -> Result<Challenge, Fault> {
    let find = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let realm = find("realm").and_then(|realm| Url::parse(realm.as_bytes()).ok());
    let detail = "its challenge names no realm that can be asked";
    let realm = realm.ok_or_else(|| Fault::new(Kind::UpstreamMalformed, detail))?;
    Ok(Challenge::Bearer { realm, service: find("service"), scope: find("scope") })
}

/// The challenges of one field: each a scheme and its parameters. What does not parse ends the list.
fn challenges(text: &str) -> Vec<(&str, Vec<(&str, String)>)> {
    let mut found: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        let after = behind.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let Some((value, behind)) = parameter_value(value.trim_start_matches([' ', '\t']))
                else {
                    return found;
                };
                parameters.push((word, value));
                rest = behind;
            }
            (Some(_), None) => return found,
            (None, _) => {
                found.push((word, Vec::new()));
                rest = behind;
            }
        }
    }
}

/// A token or a quoted string (RFC 9110, 5.6.4), and what is behind it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return Some((value.to_owned(), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// RFC 9110, 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// RFC 3986, 2.1: everything but the unreserved, and what scopes are made of.
fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Registries whose tokens come from another host of theirs.
const KNOWN_PAIRS: &[(&str, &str)] = &[
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry-1.docker.io", "auth.ipv6.docker.com"),
    ("registry.gitlab.com", "gitlab.com"),
    ("lscr.io", "ghcr.io"),
    ("cgr.dev", "issuer.enforce.dev"),
    ("registry.redhat.io", "sso.redhat.com"),
    ("nvcr.io", "authn.nvidia.com"),
];

/// How long a token is good for that does not say (distribution spec).
const EXPIRES_IN_S: u64 = 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(lines: &[&str]) -> String {
        match parse(lines.iter().map(|line| line.as_bytes())) {
            Ok(None) => "none".to_owned(),
            Ok(Some(Challenge::Basic)) => "basic".to_owned(),
            Ok(Some(Challenge::Bearer { realm, service, scope })) => {
                format!("{realm} {} {}", service.unwrap_or_default(), scope.unwrap_or_default())
            }
            Err(fault) => fault.detail.to_owned(),
        }
    }

    #[test]
    fn real_challenges() {
        for (lines, expected) in [
            (
                &[r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#][..],
                "https://auth.docker.io/token registry.docker.io ",
            ),
            (
                &[
                    r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull""#,
                ],
                "https://ghcr.io/token ghcr.io repository:user/image:pull",
            ),
            (
                &[
                    r#"bearer  realm = "https://a.b/t?x=1,2" , service=plain, error="a \"quoted\" one""#,
                ],
                "https://a.b/t?x=1,2 plain ",
            ),
            (&[r#"Basic realm="x", charset="UTF-8""#], "basic"),
            (&[r#"Basic realm="x", Bearer realm="https://a.b/t",service="s""#], "https://a.b/t s "),
            (&["Basic realm=x", r#"Bearer realm="https://a.b/t""#], "https://a.b/t  "),
            (&["Negotiate", "Digest realm=x"], "none"),
            (&[], "none"),
            (&["Bearer"], "its challenge names no realm that can be asked"),
            (&[r#"Bearer realm="/token""#], "its challenge names no realm that can be asked"),
            (&[r#"Bearer realm="https://a.b/t"#], "its challenge names no realm that can be asked"),
        ] {
            assert_eq!(told(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_scope_is_the_repositorys_or_the_registrys_own() {
        let pull = "repository:acme/rocket:pull";
        assert_eq!(scope(None, "acme/rocket"), pull);
        assert_eq!(scope(Some("repository:user/image:pull"), "acme/rocket"), pull);
        assert_eq!(scope(Some("aws"), "acme/rocket"), "aws");
    }

    #[test]
    fn tokens_are_asked_for_where_the_registry_lives() {
        let may = |realm: &str, registry: &str, named: &[&str]| {
            let realm = Url::parse(realm.as_bytes()).unwrap();
            let registry = Url::parse(registry.as_bytes()).unwrap().origin;
            let named: Vec<String> = named.iter().map(|&host| host.to_owned()).collect();
            may_be_realm(&realm, &registry, &named)
        };
        assert!(may("https://ghcr.io/token", "https://ghcr.io", &[]));
        assert!(may("https://a.b:8443/t", "https://a.b:5000", &[]));
        assert!(may("http://a.b:8080/t", "http://a.b:5000", &[]));
        assert!(may("https://auth.docker.io/token", "https://registry-1.docker.io", &[]));
        assert!(may("https://sso.acme.com/t", "https://a.b", &["sso.acme.com"]));
        assert!(may("https://sso.acme.com:8443/t", "https://a.b", &["sso.acme.com:8443"]));
        assert!(!may("https://sso.acme.com:1/t", "https://a.b", &["sso.acme.com:8443"]));
        assert!(!may("http://a.b/t", "https://a.b", &[]));
        assert!(!may("http://sso.acme.com/t", "https://a.b", &["sso.acme.com"]));
        assert!(!may("http://auth.docker.io/token", "http://registry-1.docker.io", &[]));
        assert!(!may("https://evil.example/token", "https://ghcr.io", &[]));
        assert!(!may("https://auth.docker.io/token", "https://ghcr.io", &[]));
        assert!(!may("http://169.254.169.254/", "http://a.b", &[]));
    }

    #[test]
    fn a_token_request_says_for_what() {
        let realm = Url::parse(b"https://a.b/token?x=y").unwrap();
        assert_eq!(
            token_target(&realm, Some("my registry"), Some("repository:a/b:pull"), Some("me&you")),
            "/token?x=y&account=me%26you&scope=repository:a/b:pull&service=my%20registry"
        );
        let realm = Url::parse(b"https://a.b").unwrap();
        assert_eq!(token_target(&realm, Some("s"), None, None), "/?service=s");
    }

    #[test]
    fn real_token_answers() {
        let told = |body: &str| match granted(body.as_bytes()) {
            Ok(Granted { token, expires_in_s }) => format!("{token} {expires_in_s}"),
            Err(fault) => fault.detail.to_owned(),
        };
        assert_eq!(told(r#"{"token":"a.b","expires_in":300,"issued_at":"x"}"#), "a.b 300");
        assert_eq!(told(r#"{"access_token":"c"}"#), "c 60");
        assert_eq!(told(r#"{"token":"","access_token":"c","expires_in":5}"#), "c 60");
        assert_eq!(told(r#"{"token":null}"#), "its answer has no token");
        assert_eq!(told("<html>"), "its answer is not a token in JSON");
        assert_eq!(told(r#"{"token":"a\r\nX: y"}"#), "its token has bytes that no token has");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[ -~]{0,80}") {
            let _ = told(&[&text]);
        }

        #[test]
        fn what_is_written_as_a_challenge_reads_the_same(
            service in "[ -~]{1,20}",
            scope in "[a-z:/]{1,20}",
        ) {
            let quoted = service.replace('\\', "\\\\").replace('"', "\\\"");
            let line = format!(r#"Bearer realm="https://a.b/t",service="{quoted}",scope="{scope}""#);
            let realm = Url::parse(b"https://a.b/t").unwrap();
            let expected = Challenge::Bearer { realm, service: Some(service), scope: Some(scope) };
            prop_assert_eq!(parse([line.as_bytes()].into_iter()), Ok(Some(expected)));
        }
    }
}
