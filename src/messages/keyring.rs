//! What opens registries: whose certificates are trusted there, and the operator's accounts. Made by
//! control from files and variables, read by every worker, swapped as a whole.

use std::fmt;
use std::sync::Arc;

use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};

use crate::pure::tokens::Identity;

/// All keys.
#[derive(Debug)]
pub struct Keyring {
    /// One for each of `Snapshot::registries`, in their order.
    pub registries: Vec<Key>,
    /// For everything else: storage and token services on hosts of their own.
    pub elsewhere: Arc<ClientConfig>,
}

/// What opens one registry.
#[derive(Debug)]
pub struct Key {
    /// Whom TLS trusts there.
    pub tls: Arc<ClientConfig>,
    /// The operator's account there.
    pub account: Option<Account>,
}

/// An account at a registry.
pub struct Account {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Whose it is.
    pub identity: Identity,
}

impl Account {
    /// The account `username`, which `password` opens.
    pub fn new(username: String, password: String) -> Self {
        let identity = Identity::account(&username, &password);
        Self { username, password, identity }
    }
}

impl Keyring {
    /// No accounts, and nobody is trusted.
    pub fn bare() -> Self {
        Self { registries: Vec::new(), elsewhere: trusting(RootCertStore::empty()) }
    }

    /// Who the operator is at one of `Snapshot::registries`: without an account there, anybody.
    pub fn identity(&self, registry: usize) -> Identity {
        let account = self.registries.get(registry).and_then(|key| key.account.as_ref());
        account.map_or(Identity::Anonymous, |account| account.identity)
    }

    /// Whom TLS trusts at one of `Snapshot::registries`, or elsewhere.
    pub fn tls(&self, registry: Option<usize>) -> &Arc<ClientConfig> {
        let key = registry.and_then(|registry| self.registries.get(registry));
        key.map_or(&self.elsewhere, |key| &key.tls)
    }
}

/// TLS 1.2 and 1.3 towards servers whose certificates `roots` vouch for. The provider is named:
/// which one a process has by default depends on what else is built into it.
pub fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match ClientConfig::builder_with_provider(provider).with_protocol_versions(ALL_VERSIONS) {
        Ok(builder) => Arc::new(builder.with_root_certificates(roots).with_no_client_auth()),
        Err(error) => unreachable!("ring has cipher suites for every version of TLS: {error}"),
    }
}

impl fmt::Debug for Account {
    /// Shows nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_without_a_key_of_its_own_is_opened_like_everything_else() {
        let own = trusting(RootCertStore::empty());
        let account = Account::new("robot".into(), "s3cret".into());
        let key = Key { tls: Arc::clone(&own), account: Some(account) };
        let keyring = Keyring { registries: vec![key], ..Keyring::bare() };
        assert!(Arc::ptr_eq(keyring.tls(Some(0)), &own));
        for other in [None, Some(1)] {
            assert!(Arc::ptr_eq(keyring.tls(other), &keyring.elsewhere));
        }
        let shown = format!("{:?}", keyring.registries[0].account);
        assert_eq!(shown, "Some(Account)");
    }
}
