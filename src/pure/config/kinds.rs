//! Kinds of values: how each is read, and what is allowed, in the words that problems and
//! `docs/config.md` share.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::{Deserialize, DeserializeOwned, IntoDeserializer};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::problem::{Problems, quoted};
use super::values::{Cidr, Private};
use crate::pure::alert;
use crate::pure::limits::PACKAGE_ID_BYTES_MAX;
use crate::pure::oci::backend::{self, Backend, Scheme};
use crate::pure::origin::Url;
use crate::pure::route::pattern::Pattern;

/// A kind of value.
pub trait Kind {
    /// What is made of it.
    type Value;

    /// What is allowed.
    fn allowed(&self) -> String;

    /// Reads a value; what is wrong with it goes to `place`.
    fn read(&self, value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<Self::Value>;
}

/// A kind of value that is written as one TOML value.
pub trait Scalar {
    /// The TOML value's type.
    type Written: DeserializeOwned;
    /// What is made of it.
    type Value;

    /// What is allowed.
    fn allowed(&self) -> String;

    /// Makes the value, or says what is wrong.
    fn make(&self, written: Self::Written) -> Result<Self::Value, String>;
}

/// The key whose value is being read, and where its problems go.
pub struct Place<'p> {
    /// The section's path: `packages[2]`.
    pub path: &'p str,
    /// The key's name.
    pub name: &'p str,
    /// The file's problems so far.
    pub problems: &'p mut Problems,
}

impl Place<'_> {
    /// The key's path: `packages[2].delivery`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.path, self.name)
    }

    /// Adds a problem at a byte of the text.
    pub fn wrong(&mut self, at: usize, what: impl Into<String>) {
        let key = self.key();
        self.problems.add(at, key, what);
    }
}

impl<S: Scalar> Kind for S {
    type Value = S::Value;

    fn allowed(&self) -> String {
        Scalar::allowed(self)
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<S::Value> {
        let written = S::Written::deserialize(value.clone().into_deserializer());
        let made = match written {
            Ok(written) => self.make(written),
            Err(error) => Err(error.message().replace('\n', " ")),
        };
        made.map_err(|wrong| {
            let what = format!("{wrong}; allowed: {}", self.allowed());
            place.wrong(value.span().start, what);
        })
        .ok()
    }
}

/// A list of values, none of them twice.
pub struct List<K> {
    /// What each of them is.
    pub of: K,
    /// Whether there may be none.
    pub may_be_empty: bool,
}

impl<K: Scalar<Value: PartialEq>> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn allowed(&self) -> String {
        let number = if self.may_be_empty { "any number" } else { "one or more" };
        format!("in brackets, {number}: {}", self.of.allowed())
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<Self::Value> {
        let at = value.span().start;
        let DeValue::Array(elements) = value.get_ref() else {
            let what = format!("is not a list; allowed: {}", Kind::allowed(self));
            place.wrong(at, what);
            return None;
        };
        let mut made = Vec::new();
        for element in elements {
            let Some(one) = self.of.read(element, place) else {
                continue;
            };
            if made.contains(&one) {
                let what = "the same value stands here twice; leave one out";
                place.wrong(element.span().start, what);
            }
            made.push(one);
        }
        if elements.is_empty() && !self.may_be_empty {
            let what = format!("is empty; allowed: {}", Kind::allowed(self));
            place.wrong(at, what);
        }
        (made.len() == elements.len()).then_some(made)
    }
}

/// `true` or `false`.
pub struct Flag;

impl Scalar for Flag {
    type Written = bool;
    type Value = bool;

    fn allowed(&self) -> String {
        "`true`, `false`".to_owned()
    }

    fn make(&self, written: bool) -> Result<bool, String> {
        Ok(written)
    }
}

/// One word of several, and what each of them means.
pub struct OneOf<T: 'static> {
    /// The words.
    pub words: &'static [(&'static str, T)],
    /// Words of other versions, and what to say of them.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

impl<T: Copy> Scalar for OneOf<T> {
    type Written = String;
    type Value = T;

    fn allowed(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        words.join(", ")
    }

    fn make(&self, written: String) -> Result<T, String> {
        if let Some((_, value)) = self.words.iter().find(|(word, _)| *word == written) {
            return Ok(*value);
        }
        let elsewhere = self.elsewhere.iter().find(|(word, _)| *word == written);
        Err(elsewhere.map_or_else(
            || format!("{} is not known", quoted(&written)),
            |(_, words)| format!("{} is not in this version: {words}", quoted(&written)),
        ))
    }
}

/// The path of a directory.
pub struct Directory;

impl Scalar for Directory {
    type Written = String;
    type Value = PathBuf;

    fn allowed(&self) -> String {
        "the path of a directory".to_owned()
    }

    fn make(&self, written: String) -> Result<PathBuf, String> {
        OptionalFile.make(written)?.ok_or_else(|| "is empty".to_owned())
    }
}

/// The path of a file; empty for none.
pub struct OptionalFile;

impl Scalar for OptionalFile {
    type Written = String;
    type Value = Option<PathBuf>;

    fn allowed(&self) -> String {
        "the path of a file; \"\" for none".to_owned()
    }

    fn make(&self, written: String) -> Result<Option<PathBuf>, String> {
        if written.contains('\0') {
            return Err("holds a NUL".to_owned());
        }
        Ok((!written.is_empty()).then(|| PathBuf::from(written)))
    }
}

/// A file that has to be named.
pub struct File;

impl Scalar for File {
    type Written = String;
    type Value = PathBuf;

    fn allowed(&self) -> String {
        "the path of a file".to_owned()
    }

    fn make(&self, written: String) -> Result<PathBuf, String> {
        OptionalFile.make(written)?.ok_or_else(|| "is empty".to_owned())
    }
}

/// An address to listen on.
pub struct Address;

impl Scalar for Address {
    type Written = String;
    type Value = SocketAddr;

    fn allowed(&self) -> String {
        "an IP address with a port, as \"127.0.0.1:8080\", \"0.0.0.0:8080\", \"[::]:8080\""
            .to_owned()
    }

    fn make(&self, written: String) -> Result<SocketAddr, String> {
        written.parse().map_err(|_| format!("{} is not an address", quoted(&written)))
    }
}

/// A network, or one address.
pub struct Network;

impl Scalar for Network {
    type Written = String;
    type Value = Cidr;

    fn allowed(&self) -> String {
        "a network or an address, as \"10.0.0.0/8\", \"192.0.2.7\", \"fd00::/8\"".to_owned()
    }

    fn make(&self, written: String) -> Result<Cidr, String> {
        Cidr::parse(&written)
    }
}

/// A public host name, with or without a port; `*` for any.
pub struct HostName;

impl Scalar for HostName {
    type Written = String;
    type Value = String;

    fn allowed(&self) -> String {
        "a host name, as \"registry.acme.com\" (port and case do not matter), or \"*\" for any"
            .to_owned()
    }

    fn make(&self, written: String) -> Result<String, String> {
        if written == "*" {
            return Ok(written);
        }
        let authority = backend::authority(written.strip_suffix('.').unwrap_or(&written));
        authority
            .map(|authority| backend::split_port(&authority).0.to_owned())
            .ok_or_else(|| format!("{} is not a host name", quoted(&written)))
    }
}

/// A public host name; empty for none.
pub struct OptionalHostName;

impl Scalar for OptionalHostName {
    type Written = String;
    type Value = Option<String>;

    fn allowed(&self) -> String {
        "a host name, as \"pkg.acme.com\"; \"\" for none".to_owned()
    }

    fn make(&self, written: String) -> Result<Option<String>, String> {
        if written.is_empty() {
            return Ok(None);
        }
        let host = HostName.make(written.clone()).ok();
        let host = host.filter(|host| host != "*" && !backend::is_address(host));
        host.map(Some).ok_or_else(|| format!("{} is not a host name", quoted(&written)))
    }
}

/// A host name that a certificate is for; `*.` in front of it for all of one more label.
pub struct CertificateName;

impl Scalar for CertificateName {
    type Written = String;
    type Value = String;

    fn allowed(&self) -> String {
        "a host name, as \"registry.acme.com\", or \"*.acme.com\" for all of one more label"
            .to_owned()
    }

    fn make(&self, written: String) -> Result<String, String> {
        let (star, host) = written.strip_prefix("*.").map_or(("", &*written), |host| ("*.", host));
        let host = HostName.make(host.to_owned()).ok().filter(|host| host != "*");
        let host = host.filter(|host| !backend::is_address(host));
        host.map(|host| [star, &host].concat())
            .ok_or_else(|| format!("{} is not a host name", quoted(&written)))
    }
}

/// A registry's host, with its port where that is not its scheme's.
pub struct RegistryHost;

impl Scalar for RegistryHost {
    type Written = String;
    type Value = String;

    fn allowed(&self) -> String {
        "a registry's host, as it stands in `backend`: \"ghcr.io\", \"registry.example.net:5000\""
            .to_owned()
    }

    fn make(&self, written: String) -> Result<String, String> {
        backend::registry_authority(&written)
            .ok_or_else(|| format!("{} is not a host", quoted(&written)))
    }
}

/// A registry's host; empty for none.
pub struct OptionalRegistryHost;

impl Scalar for OptionalRegistryHost {
    type Written = String;
    type Value = Option<String>;

    fn allowed(&self) -> String {
        format!("{}; \"\" for none", Scalar::allowed(&RegistryHost))
    }

    fn make(&self, written: String) -> Result<Option<String>, String> {
        if written.is_empty() { Ok(None) } else { RegistryHost.make(written).map(Some) }
    }
}

/// Where clients find a domain; empty for where it is by default.
pub struct PublicUrl;

impl Scalar for PublicUrl {
    type Written = String;
    type Value = Option<String>;

    fn allowed(&self) -> String {
        "`https://` or `http://` and a host name, with its port where that is not the scheme's, and \
         no path: \"https://registry.acme.com\"; \"\" for the default"
            .to_owned()
    }

    fn make(&self, written: String) -> Result<Option<String>, String> {
        if written.is_empty() {
            return Ok(None);
        }
        match Url::parse(written.as_bytes()) {
            Ok(Url { origin, target }) if target == "/" => Ok(Some(origin.to_string())),
            Ok(_) => Err(format!("{} has a path", quoted(&written))),
            // Not repeated: somebody may have written a password into it.
            Err(wrong) => Err(wrong.to_string()),
        }
    }
}

/// The URL of an ACME directory; empty for Let's Encrypt's.
pub struct AuthorityUrl;

impl Scalar for AuthorityUrl {
    type Written = String;
    type Value = String;

    fn allowed(&self) -> String {
        format!("an https URL; \"\" for Let's Encrypt, \"{LETS_ENCRYPT}\"")
    }

    fn make(&self, written: String) -> Result<String, String> {
        if written.is_empty() {
            return Ok(LETS_ENCRYPT.to_owned());
        }
        match Url::parse(written.as_bytes()) {
            Ok(Url { origin, .. }) if origin.scheme != Scheme::Https => {
                Err(format!("{} is not https", quoted(&written)))
            }
            Ok(url) => Ok(url.to_string()),
            // Not repeated: somebody may have written a password into it.
            Err(wrong) => Err(wrong.to_string()),
        }
    }
}

/// Where a webhook is told.
pub struct WebhookUrl;

impl Scalar for WebhookUrl {
    type Written = String;
    type Value = String;

    fn allowed(&self) -> String {
        "an https or http URL, as \"https://hooks.acme.com/pullgate\"".to_owned()
    }

    fn make(&self, written: String) -> Result<String, String> {
        // Not repeated: such addresses hold secrets.
        alert::address(&written)
    }
}

/// Where a person gets mail; empty for none.
pub struct MailAddress;

impl Scalar for MailAddress {
    type Written = String;
    type Value = Option<String>;

    fn allowed(&self) -> String {
        "a mail address, as \"ops@acme.com\"; \"\" for none".to_owned()
    }

    fn make(&self, written: String) -> Result<Option<String>, String> {
        let is_plain = written.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        let is_address = written
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && backend::authority(host).is_some());
        match written.is_empty() {
            true => Ok(None),
            false if is_plain && is_address => Ok(Some(written)),
            false => Err(format!("{} is not a mail address", quoted(&written))),
        }
    }
}

/// A host that may give tokens, with or without a port.
pub struct TokenHost;

impl Scalar for TokenHost {
    type Written = String;
    type Value = String;

    fn allowed(&self) -> String {
        "a host, with or without a port: \"sso.acme.com\", \"sso.acme.com:8443\"".to_owned()
    }

    fn make(&self, written: String) -> Result<String, String> {
        backend::authority(&written).ok_or_else(|| format!("{} is not a host", quoted(&written)))
    }
}

/// What may be dialled although it is not public.
pub struct PrivatePlace;

impl Scalar for PrivatePlace {
    type Written = String;
    type Value = Private;

    fn allowed(&self) -> String {
        "a network, an address or a host name, as \"10.0.0.0/8\", \"127.0.0.1\", \
         \"registry.internal\""
            .to_owned()
    }

    fn make(&self, written: String) -> Result<Private, String> {
        let is_meant_as_name = written.contains(|letter: char| letter.is_ascii_alphabetic())
            && !written.contains(['/', ':']);
        if !is_meant_as_name {
            return Cidr::parse(&written).map(Private::Network);
        }
        let host = backend::authority(&written);
        host.map(Private::Host).ok_or_else(|| format!("{} is not a host name", quoted(&written)))
    }
}

/// A user's or a variable's name; empty for none.
pub struct Word;

impl Scalar for Word {
    type Written = String;
    type Value = Option<String>;

    fn allowed(&self) -> String {
        "printable ASCII without spaces and colons; \"\" for none".to_owned()
    }

    fn make(&self, written: String) -> Result<Option<String>, String> {
        if written.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b':') {
            // Not repeated: a password may have been put behind it.
            return Err("has a space, a colon or a byte that is not printable".to_owned());
        }
        Ok((!written.is_empty()).then_some(written))
    }
}

/// The names that a package serves.
pub struct Names;

impl Scalar for Names {
    type Written = String;
    type Value = Pattern;

    fn allowed(&self) -> String {
        "a repository name, or one whose last segment is `*` (one more segment) or `**` (one or \
         more): \"acme/rocket\", \"acme/*\", \"library/**\""
            .to_owned()
    }

    fn make(&self, written: String) -> Result<Pattern, String> {
        Pattern::parse(&written).map_err(|wrong| format!("{} {wrong}", quoted(&written)))
    }
}

/// Where a package lives.
pub struct Home;

impl Scalar for Home {
    type Written = String;
    type Value = Backend;

    fn allowed(&self) -> String {
        "what one types after `docker pull`, without tag: \"redis\", \"ghcr.io/acme/rocket\", \
         \"http://localhost:5000/acme/*\""
            .to_owned()
    }

    fn make(&self, written: String) -> Result<Backend, String> {
        // Not repeated: somebody may have written a password into it.
        Backend::parse(&written).map_err(|wrong| wrong.to_string())
    }
}

/// Where a package lives; empty where that is said otherwise.
pub struct OptionalHome;

impl Scalar for OptionalHome {
    type Written = String;
    type Value = Option<Backend>;

    fn allowed(&self) -> String {
        Scalar::allowed(&Home)
    }

    fn make(&self, written: String) -> Result<Option<Backend>, String> {
        (!written.is_empty()).then(|| Home.make(written)).transpose()
    }
}

/// A stable id in the counts; empty for none.
pub struct Id;

impl Scalar for Id {
    type Written = String;
    type Value = Option<String>;

    fn allowed(&self) -> String {
        format!("letters, digits, `.`, `_` and `-`, at most {PACKAGE_ID_BYTES_MAX}; \"\" for none")
    }

    fn make(&self, written: String) -> Result<Option<String>, String> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if written.len() > PACKAGE_ID_BYTES_MAX || !written.bytes().all(is_part) {
            return Err(format!("{} is not an id", quoted(&written)));
        }
        Ok((!written.is_empty()).then_some(written))
    }
}

/// Who is asked for certificates where nobody is named.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
