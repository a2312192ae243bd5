//! How registries ask for a login and token services answer: `WWW-Authenticate` (RFC 9110, 11.6.1)
//! and docker's token protocol (distribution, "Token Authentication Specification").
//!
//! A challenge is a stranger's word on where to bring credentials; [`may_be_realm`] says where they
//! may go.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::backend::Scheme;
use crate::pure::fault::{Fault, Kind};
use crate::pure::origin::{Origin, Url};

/// What a registry wants before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token of a token service.
    Bearer {
        /// Where tokens are given.
        realm: Url,
        /// What the registry is called there.
        service: Option<String>,
        /// What the token is to be good for; at `/v2/` some registries put an example here.
        scope: Option<String>,
    },
    /// An account's name and password.
    Basic,
}

/// The challenge in the `WWW-Authenticate` lines of a head: Bearer before Basic, of each the first.
/// `None` if neither is there.
///
/// # Errors
/// [`Kind::TokenService`], with what is wrong with it.
pub fn parse<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<Option<Challenge>, Fault> {
    let mut basic = None;
    for value in values {
        let mut rest = Cursor { rest: value };
        while let Some(scheme) = rest.scheme() {
            let said = rest.params()?;
            if scheme.eq_ignore_ascii_case(b"Bearer") {
                return said.bearer().map(Some);
            }
            if scheme.eq_ignore_ascii_case(b"Basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    Ok(basic)
}

/// What a token for pulling from `repository` is asked to be good for. A challenge's word counts
/// only where its registry has scopes of its own (ECR public: `aws`): GHCR's, at `/v2/`, names a
/// repository that is just an example.
pub fn scope(challenge_scope: Option<&str>, repository: &str) -> String {
    match challenge_scope {
        Some(own) if !own.is_empty() && !own.contains(':') => own.to_owned(),
        Some(_) | None => format!("repository:{repository}:pull"),
    }
}

/// Whether what `registry` is asked with may be brought to `realm`: on its own host, whatever the
/// port, on the host that is known to be its token service, or on one that the operator names (a
/// host, or a host with its port); in the clear only if the registry itself is.
pub fn may_be_realm(realm: &Url, registry: &Origin, token_hosts: &[String]) -> bool {
    let Url { origin: realm, .. } = realm;
    let is_private_enough = realm.scheme == Scheme::Https || registry.scheme == Scheme::Http;
    let is_known = || KNOWN_REALMS.contains(&(&registry.host, &realm.host));
    let is_named = || {
        token_hosts.iter().any(|named| {
            named.eq_ignore_ascii_case(&realm.host)
                || Origin::new(realm.scheme, named).is_some_and(|named| named == *realm)
        })
    };
    is_private_enough && (realm.host == registry.host || is_known() || is_named())
}

/// What to ask the token service for, in origin-form: the realm's own query, if it has one, and
/// ours behind it.
pub fn token_target(
    realm: &Url,
    service: Option<&str>,
    scopes: &[String],
    account: Option<&str>,
) -> String {
    let mut target = realm.target.clone();
    let service = service.into_iter().map(|service| ("service", service));
    let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
    let account = account.into_iter().map(|account| ("account", account));
    for (name, value) in service.chain(scopes).chain(account) {
        match target.as_bytes() {
            [.., b'?' | b'&'] => {}
            asked if asked.contains(&b'?') => target.push('&'),
            _ => target.push('?'),
        }
        target.push_str(name);
        target.push('=');
        value.bytes().for_each(|byte| push_encoded(&mut target, byte));
    }
    target
}

/// A token that a token service gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// What goes behind `Bearer `: visible ASCII.
    pub token: String,
    /// How long it is good for from when it was asked for, in seconds: 60 to 86,400.
    pub expires_in_s: u64,
}

/// Reads a token service's answer. `issued_at` is not looked at: the time is ours, and theirs may be
/// wrong. Lifetimes below a minute, and none, are a minute, as docker has it.
///
/// # Errors
/// [`Kind::TokenService`], with what is wrong.
pub fn granted(body: &[u8]) -> Result<Granted, Fault> {
    let answer: TokenAnswer<'_> = serde_json::from_slice(body)
        .map_err(|_| refused("the token service's answer is not the JSON of a token"))?;
    let given = [answer.token, answer.access_token].into_iter().flatten().find(|t| !t.is_empty());
    let token =
        given.ok_or_else(|| refused("the token service's answer has no token"))?.into_owned();
    if token.len() > TOKEN_FIELD_BYTES_MAX {
        return Err(refused("the token service's token is longer than a field may be"));
    }
    // Quotes and backslashes no token has (RFC 6750, 2.1), and clients are given it in JSON.
    if !token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
        return Err(refused("the token service's token has a byte that no field has"));
    }
    let expires_in_s = match answer.expires_in {
        Some(Value::Number(seconds)) => {
            // Some services write a fraction.
            seconds.as_u64().or_else(|| seconds.to_string().split('.').next()?.parse().ok())
        }
        _ => None,
    };
    let expires_in_s = expires_in_s.unwrap_or(0).clamp(EXPIRES_S_MIN, EXPIRES_S_MAX);
    Ok(Granted { token, expires_in_s })
}

/// The parts of the answer that count (ibid., "Token Response Fields"; RFC 6749, 5.1, for
/// `access_token`, which some give alone).
#[derive(Deserialize)]
struct TokenAnswer<'a> {
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    access_token: Option<Cow<'a, str>>,
    expires_in: Option<Value>,
}

/// What a challenge says that is listened to.
#[derive(Default)]
struct Said {
    realm: Option<Vec<u8>>,
    service: Option<Vec<u8>>,
    scope: Option<Vec<u8>>,
}

impl Said {
    fn add(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), Fault> {
        let place = match () {
            () if name.eq_ignore_ascii_case(b"realm") => &mut self.realm,
            () if name.eq_ignore_ascii_case(b"service") => &mut self.service,
            () if name.eq_ignore_ascii_case(b"scope") => &mut self.scope,
            () => return Ok(()),
        };
        match place.replace(value) {
            Some(_) => Err(refused("the registry's challenge says a thing twice")),
            None => Ok(()),
        }
    }

    fn bearer(self) -> Result<Challenge, Fault> {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| refused("the registry's challenge is not text"))
        };
        let realm = self.realm.as_deref().map(Url::parse);
        let Some(Ok(realm)) = realm else {
            return Err(refused("the registry's challenge names no URL to get a token at"));
        };
        let service = self.service.map(text).transpose()?;
        let scope = self.scope.map(text).transpose()?;
        Ok(Challenge::Bearer { realm, service, scope })
    }
}

/// A `WWW-Authenticate` value, read from the left.
struct Cursor<'v> {
    rest: &'v [u8],
}

impl<'v> Cursor<'v> {
    /// The name of the next challenge's scheme; `None` at the end, or where none stands.
    fn scheme(&mut self) -> Option<&'v [u8]> {
        self.take_while(|byte| is_space(byte) || byte == b',');
        let scheme = self.take_while(is_token_byte);
        (!scheme.is_empty()).then_some(scheme)
    }

    /// The parameters behind a scheme. Another scheme ends them: it is a word without `=` behind a
    /// comma.
    fn params(&mut self) -> Result<Said, Fault> {
        let mut said = Said::default();
        if self.skip_token68() {
            return Ok(said);
        }
        loop {
            self.take_while(|byte| is_space(byte) || byte == b',');
            let before = self.rest;
            let name = self.take_while(is_token_byte);
            self.take_while(is_space);
            if name.is_empty() || !self.take(b'=') {
                self.rest = before;
                return Ok(said);
            }
            self.take_while(is_space);
            let value = if self.take(b'"') {
                self.quoted()?
            } else {
                // Not only tokens: an URL stands here too, unquoted, at some.
                self.take_while(|byte| byte != b',' && !is_space(byte)).to_vec()
            };
            said.add(name, value)?;
        }
    }

    /// Passes over what a scheme may have instead of parameters, if it has: one word of base64.
    fn skip_token68(&mut self) -> bool {
        let mut ahead = Self { rest: self.rest };
        ahead.take_while(is_space);
        let is_token68 = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let word = ahead.take_while(is_token68);
        ahead.take_while(|byte| byte == b'=');
        ahead.take_while(is_space);
        let is_alone = matches!(ahead.rest, [] | [b',', ..]);
        if is_alone && !word.is_empty() {
            *self = ahead;
        }
        is_alone
    }

    /// The text up to a closing quote (RFC 9110, 5.6.4).
    fn quoted(&mut self) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(text);
                }
                [b'\\', escaped, rest @ ..] => {
                    text.push(*escaped);
                    self.rest = rest;
                }
                [byte, rest @ ..] => {
                    text.push(*byte);
                    self.rest = rest;
                }
                [] => return Err(refused("the registry's challenge has a quote left open")),
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let behind = self.rest.strip_prefix(&[byte]);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'v [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        taken
    }
}

/// Adds a byte of a query's value: what is not unreserved, percent-encoded (RFC 3986, 2).
fn push_encoded(target: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        target.push(byte.into());
    } else {
        let digit = |half: u8| char::from_digit(half.into(), 16).map(|d| d.to_ascii_uppercase());
        target.extend([Some('%'), digit(byte >> 4), digit(byte & 15)].into_iter().flatten());
    }
}

/// Hosts of the same people that are known to give tokens of `registry`.
pub fn known_token_hosts(registry: &str) -> impl Iterator<Item = &'static str> {
    KNOWN_REALMS.iter().filter(move |(known, _)| *known == registry).map(|(_, host)| *host)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// RFC 9110, 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const fn refused(detail: &'static str) -> Fault {
    Fault::new(Kind::TokenService, detail)
}

/// Registries whose tokens come from another host of the same people.
const KNOWN_REALMS: [(&str, &str); 4] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry-1.docker.io", "auth.ipv6.docker.com"),
    ("registry.ipv6.docker.com", "auth.ipv6.docker.com"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// No server takes a longer field.
const TOKEN_FIELD_BYTES_MAX: usize = 16 * 1024;

/// What docker and its like take a shorter lifetime, and none, for.
const EXPIRES_S_MIN: u64 = 60;

/// No longer than a day is believed: who is wrong about it is asked again.
const EXPIRES_S_MAX: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(lines: &[&str]) -> String {
        match parse(lines.iter().map(|line| line.as_bytes())) {
            Ok(None) => "nothing".into(),
            Ok(Some(Challenge::Basic)) => "Basic".into(),
            Ok(Some(Challenge::Bearer { realm, service, scope })) => {
                format!(
                    "{realm} {} {}",
                    service.as_deref().unwrap_or("-"),
                    scope.as_deref().unwrap_or("-")
                )
            }
            Err(fault) => fault.detail.into(),
        }
    }

    #[test]
    fn challenges_of_registries() {
        for (line, expected) in [
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                 scope=\"repository:library/x:pull\"",
                "https://auth.docker.io/token registry.docker.io repository:library/x:pull",
            ),
            (
                "Bearer realm=\"https://public.ecr.aws/token/\",service=\"public.ecr.aws\",scope=\"aws\"",
                "https://public.ecr.aws/token/ public.ecr.aws aws",
            ),
            ("Bearer realm=\"https://quay.io/v2/auth\"", "https://quay.io/v2/auth - -"),
            (
                "bearer Service=a , REALM = https://a/b?c=d,scope=\"x y\",error=\"invalid_token\"",
                "https://a/b?c=d a x y",
            ),
            (
                "Bearer realm=\"https://a/\",scope=\"repository:x:pull,push\"",
                "https://a/ - repository:x:pull,push",
            ),
            ("Bearer realm=\"https://a/\",service=\"a \\\"b\\\\\"", "https://a/ a \"b\\ -"),
            ("Basic realm=\"https://ecr.example/\",service=\"ecr.amazonaws.com\"", "Basic"),
            ("Basic", "Basic"),
            ("basic realm=registry", "Basic"),
            ("Basic realm=\"x\", Bearer realm=\"https://a/\"", "https://a/ - -"),
            ("Negotiate YWJj==, Bearer realm=\"https://a/\"", "https://a/ - -"),
            ("Negotiate, Basic realm=x", "Basic"),
            ("Negotiate", "nothing"),
            ("Digest nonce=\"Bearer\", qop=\"auth\"", "nothing"),
            ("Digest nonce=\"Basic realm=\\\"x\\\"\"", "nothing"),
            ("", "nothing"),
            (" ,, ", "nothing"),
            ("=", "nothing"),
            ("\"Basic\"", "nothing"),
        ] {
            assert_eq!(told(&[line]), expected, "{line}");
        }
        assert_eq!(told(&["Basic realm=\"x\"", "Bearer realm=\"https://a/\""]), "https://a/ - -");
        assert_eq!(told(&["Negotiate", "Basic"]), "Basic");
        assert_eq!(told(&[]), "nothing");
    }

    #[test]
    fn challenges_that_say_nothing_good_say_why() {
        let no_url = "the registry's challenge names no URL to get a token at";
        for (line, expected) in [
            ("Bearer", no_url),
            ("Bearer realm=\"\"", no_url),
            ("Bearer realm=\"/token\"", no_url),
            ("Bearer realm=\"file:///etc/passwd\"", no_url),
            ("Bearer realm=\"https://user@a/\"", no_url),
            ("Bearer service=\"a\"", no_url),
            (
                "Bearer realm=\"https://a/\", realm=\"https://b/\"",
                "the registry's challenge says a thing twice",
            ),
            ("Bearer realm=\"https://a/", "the registry's challenge has a quote left open"),
            ("Bearer realm=\"https://a/\\", "the registry's challenge has a quote left open"),
        ] {
            assert_eq!(told(&[line]), expected, "{line}");
        }
    }

    #[test]
    fn tokens_are_asked_for_the_package() {
        let own = "repository:acme/rocket:pull";
        for (said, expected) in [
            (None, own),
            (Some(""), own),
            (Some("repository:user/image:pull"), own),
            (Some("repository:acme/rocket:pull,push"), own),
            (Some("repository(plugin):x:pull"), own),
            (Some("aws"), "aws"),
        ] {
            assert_eq!(scope(said, "acme/rocket"), expected);
        }
    }

    #[test]
    fn credentials_go_to_the_registrys_own_token_service() {
        for (realm, registry, named, expected) in [
            ("https://ghcr.io/token", "https://ghcr.io", "", true),
            ("https://ghcr.io:8443/token", "https://ghcr.io", "", true),
            ("http://ghcr.io/token", "https://ghcr.io", "", false),
            ("http://a:5001/token", "http://a:5000", "", true),
            ("https://a:5001/token", "http://a:5000", "", true),
            ("https://auth.docker.io/token", "https://registry-1.docker.io", "", true),
            ("https://auth.ipv6.docker.com/token", "https://registry-1.docker.io", "", true),
            ("https://auth.docker.io/token", "https://ghcr.io", "", false),
            ("http://auth.docker.io/token", "https://registry-1.docker.io", "", false),
            (
                "https://auth.docker.io.evil.example/token",
                "https://registry-1.docker.io",
                "",
                false,
            ),
            ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com", "", true),
            ("https://token.ghcr.io/", "https://ghcr.io", "", false),
            ("https://io/", "https://ghcr.io", "", false),
            ("https://169.254.169.254/", "https://ghcr.io", "", false),
            ("https://auth.acme.com/", "https://ghcr.io", "auth.acme.com", true),
            ("https://auth.acme.com:8443/", "https://ghcr.io", "auth.acme.com", true),
            ("https://auth.acme.com:8443/", "https://ghcr.io", "Auth.acme.com:8443", true),
            ("https://auth.acme.com/", "https://ghcr.io", "auth.acme.com:443", true),
            ("https://auth.acme.com/", "https://ghcr.io", "auth.acme.com:8443", false),
            ("http://auth.acme.com/", "https://ghcr.io", "auth.acme.com", false),
            ("http://auth.acme.com/", "http://ghcr.io", "auth.acme.com", true),
            ("https://b.auth.acme.com/", "https://ghcr.io", "auth.acme.com", false),
        ] {
            let registry = Url::parse(registry.as_bytes()).unwrap().origin;
            let named: Vec<String> = named.split_terminator(' ').map(str::to_owned).collect();
            let realm = Url::parse(realm.as_bytes()).unwrap();
            assert_eq!(may_be_realm(&realm, &registry, &named), expected, "{realm} {registry}");
        }
    }

    #[test]
    fn what_a_token_service_is_asked() {
        let target = |realm: &str, service, scopes: &[&str], account| {
            let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
            token_target(&Url::parse(realm.as_bytes()).unwrap(), service, &scopes, account)
        };
        assert_eq!(
            target("https://a/token", Some("a.b"), &["repository:c/d:pull", "aws"], None),
            "/token?service=a.b&scope=repository%3Ac%2Fd%3Apull&scope=aws"
        );
        assert_eq!(
            target("https://a", None, &["aws"], Some("J\u{e9}")),
            "/?scope=aws&account=J%C3%A9"
        );
        assert_eq!(
            target("https://a/t?x=1", Some("&b=c #"), &[], None),
            "/t?x=1&service=%26b%3Dc%20%23"
        );
        assert_eq!(target("https://a/t?", Some("b"), &[], None), "/t?service=b");
        assert_eq!(target("https://a/t?x&", Some("b"), &[], None), "/t?x&service=b");
        assert_eq!(target("https://a/t", None, &[], None), "/t");
    }

    #[test]
    fn tokens_and_how_long_they_last() {
        for (body, expected) in [
            (
                r#"{"token":"a.b-c_d~e+f/g==","expires_in":300,"issued_at":"x"}"#,
                "a.b-c_d~e+f/g== 300",
            ),
            (r#"{"access_token":"a"}"#, "a 60"),
            (r#"{"token":"a","access_token":"b","expires_in":null}"#, "a 60"),
            (r#"{"token":"","access_token":"b","expires_in":5}"#, "b 60"),
            (r#"{"token":null,"access_token":"b","expires_in":-5}"#, "b 60"),
            (r#"{"token":"a","expires_in":3600.5}"#, "a 3600"),
            (r#"{"token":"a","expires_in":1e300}"#, "a 60"),
            (r#"{"token":"a","expires_in":18446744073709551615}"#, "a 86400"),
            (r#"{"token":"a","expires_in":"300"}"#, "a 60"),
            (r#"{"token":"a\u002eb"}"#, "a.b 60"),
            (r#"{}"#, "the token service's answer has no token"),
            (r#"{"token":""}"#, "the token service's answer has no token"),
            (r#"{"token":"a b"}"#, "the token service's token has a byte that no field has"),
            (r#"{"token":"a\r\nX: y"}"#, "the token service's token has a byte that no field has"),
            (r#"{"token":"\u00e9"}"#, "the token service's token has a byte that no field has"),
            (r#"{"token":"a\"b"}"#, "the token service's token has a byte that no field has"),
            (r#"{"token":5}"#, "the token service's answer is not the JSON of a token"),
            (
                r#"{"token":"a","token":"b"}"#,
                "the token service's answer is not the JSON of a token",
            ),
            (r#"["a"]"#, "the token service's answer is not the JSON of a token"),
            ("", "the token service's answer is not the JSON of a token"),
            ("<html>", "the token service's answer is not the JSON of a token"),
        ] {
            let told = granted(body.as_bytes()).map_or_else(
                |fault| fault.detail.to_owned(),
                |granted| format!("{} {}", granted.token, granted.expires_in_s),
            );
            assert_eq!(told, expected, "{body}");
        }
    }

    fn quote(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            path in "[!-\\[\\]-~]{0,12}",
            service in prop::option::of("[ -~]{0,12}"),
            scope in prop::option::of("[ -~]{0,12}"),
            before in prop::sample::select(vec!["", "Basic realm=x, ", "Negotiate abc=, ", ", "]),
        ) {
            let realm = Url::parse(format!("https://a/{path}").as_bytes()).unwrap();
            let mut line = format!("{before}Bearer realm={}", quote(&realm.to_string()));
            for (name, value) in [("service", &service), ("scope", &scope)] {
                if let Some(value) = value {
                    line += &format!(",{name}={}", quote(value));
                }
            }
            let read = parse([line.as_bytes()].into_iter());
            prop_assert_eq!(read, Ok(Some(Challenge::Bearer { realm, service, scope })));
        }

        #[test]
        fn what_is_asked_is_one_query(value in ".{0,12}") {
            let realm = Url::parse(b"https://a/t").unwrap();
            let target = token_target(&realm, Some(&value), &[], None);
            let encoded = target.strip_prefix("/t?service=").unwrap();
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            let again = Url::parse(format!("https://a{target}").as_bytes()).unwrap();
            prop_assert_eq!(again.target, target);
        }
    }
}
