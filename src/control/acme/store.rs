//! What is kept of an authority in `data_dir`, so that a restart asks it for nothing: our account
//! there, each certificate with its key in one file, and what went wrong. For its owner's eyes only,
//! and each file whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use crate::control::certificates::{Entry, of_authority};
use crate::control::files::read_file;
use crate::control::private_file::replace_synced;
use crate::messages::certificates::Certificate;
use crate::pure::agenda::Trouble;

/// Where it is kept.
#[derive(Clone)]
pub(super) struct Store(PathBuf);

/// A domain's last trouble.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Kept {
    pub(super) failures: u32,
    pub(super) until_s: i64,
    /// In words, for people.
    pub(super) said: String,
}

impl Kept {
    pub(super) fn trouble(&self) -> Trouble {
        Trouble { failures: self.failures, until_s: self.until_s }
    }
}

impl Store {
    /// Of the authority with this directory: another one's account and certificates are others.
    pub(super) fn new(data_dir: &Path, directory: &str) -> Self {
        let plain = directory.trim_start_matches("https://");
        let letter = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => letter,
            _ => '_',
        };
        let name: String = plain.trim_start_matches('.').chars().map(letter).collect();
        Self(data_dir.join("acme").join(name))
    }

    /// Our account there, if it is known.
    pub(super) fn account(&self) -> Option<AccountCredentials> {
        let text = self.read(ACCOUNT)?;
        let parsed = serde_json::from_slice(&text);
        parsed.map_err(|error| self.say_damaged(ACCOUNT, &error.to_string())).ok()
    }

    pub(super) fn keep_account(&self, account: &AccountCredentials) {
        self.keep_json(ACCOUNT, account);
    }

    /// The account is none any more.
    pub(super) fn forget_account(&self) {
        let _ = fs::remove_file(self.0.join(ACCOUNT));
    }

    /// The certificate of `domain`, if there is one that still serves.
    pub(super) fn certificate(&self, domain: &str) -> Option<(Certificate, Entry)> {
        let name = file_of(domain);
        let text = self.read(&name)?;
        of_authority(domain, &text).map_err(|what| self.say_damaged(&name, &what)).ok()
    }

    pub(super) fn keep_certificate(&self, domain: &str, pem: &[u8]) {
        self.keep(&file_of(domain), pem);
    }

    /// What went wrong, by domain.
    pub(super) fn troubles(&self) -> BTreeMap<Box<str>, Kept> {
        let parsed = self.read(TROUBLES).and_then(|text| {
            let parsed = serde_json::from_slice(&text);
            parsed.map_err(|error| self.say_damaged(TROUBLES, &error.to_string())).ok()
        });
        parsed.unwrap_or_default()
    }

    pub(super) fn keep_troubles(&self, troubles: &BTreeMap<Box<str>, Kept>) {
        self.keep_json(TROUBLES, troubles);
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.0.join(name);
        if !path.exists() {
            return None;
        }
        read_file(&path, FILE_BYTES_MAX).map_err(|what| self.say_damaged(name, &what)).ok()
    }

    fn keep_json(&self, name: &str, value: &impl Serialize) {
        match serde_json::to_vec(value) {
            Ok(text) => self.keep(name, &text),
            Err(error) => tracing::error!("{name} cannot be written: {error}"),
        }
    }

    fn keep(&self, name: &str, bytes: &[u8]) {
        let attempt = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            replace_synced(&self.0.join(name), bytes)
        };
        if let Err(error) = attempt() {
            let path = self.0.join(name);
            tracing::error!(
                "{} cannot be written: {error}; it ends with the process",
                path.display()
            );
        }
    }

    fn say_damaged(&self, name: &str, what: &str) {
        tracing::warn!("{}: {what}; it is got anew", self.0.join(name).display());
    }
}

fn file_of(domain: &str) -> String {
    format!("{domain}.pem")
}

const ACCOUNT: &str = "account.json";
const TROUBLES: &str = "troubles.json";
/// A chain is a few KB; what went wrong is a line for each of many domains.
const FILE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::control::tests::scratch;

    #[test]
    fn it_is_for_its_owners_eyes_and_one_directory_for_each_authority() {
        let dir = scratch();
        let store = Store::new(dir.path(), "https://ca.example:14000/dir");
        let kept = Kept { failures: 2, until_s: 9, said: "no".to_owned() };
        let troubles: BTreeMap<Box<str>, Kept> = [("a.b".into(), kept)].into();
        store.keep_troubles(&troubles);
        assert_eq!(store.troubles(), troubles);
        assert!(Store::new(dir.path(), "https://other.example/dir").troubles().is_empty());
        let home = dir.path().join("acme/ca.example_14000_dir");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&home), mode(&home.join(TROUBLES))), (0o700, 0o600));
    }

    #[test]
    fn what_is_damaged_is_as_if_it_were_not_there() {
        let dir = scratch();
        let store = Store::new(dir.path(), "https://../dir");
        let certified = rcgen::generate_simple_self_signed(["a.b".to_owned()]).unwrap();
        let good = [certified.signing_key.serialize_pem(), certified.cert.pem()].concat();
        store.keep_certificate("a.b", good.as_bytes());
        assert!(store.certificate("a.b").is_some());
        for bad in [&b""[..], b"x", certified.cert.pem().as_bytes()] {
            store.keep_certificate("a.b", bad);
            assert!(store.certificate("a.b").is_none());
        }
        store.keep_certificate("c.d", good.as_bytes());
        assert!(store.certificate("c.d").is_none(), "it is another domain's");
        store.keep(ACCOUNT, b"{");
        store.keep(TROUBLES, b"[");
        assert!(store.account().is_none() && store.troubles().is_empty());
    }
}
