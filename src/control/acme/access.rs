//! What an authority is asked with, from the files that the configuration names.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::control::files::read_file;
use crate::control::keys::{roots, system_roots};
use crate::messages::keyring::trusting;
use crate::pure::base64::decode;
use crate::pure::config::problem::Problem;
use crate::pure::config::values::{Acme, Config, Proving};

/// An authority, and how it is asked.
#[derive(Clone)]
pub struct Access {
    /// The URL of its directory.
    pub(super) directory: String,
    /// Whom TLS trusts there.
    pub(super) tls: Arc<ClientConfig>,
    /// Where it reaches the operator.
    pub(super) email: Option<String>,
    /// The account there that ours belongs to, and its key.
    pub(super) binding: Option<(String, Vec<u8>)>,
    /// How domains are proven.
    pub(super) proving: Proving,
}

/// Reads what `[acme]` names; or says everything that is wrong with it. `None` where nobody is to be
/// asked: there is no such section, or nobody would be shown a certificate.
pub fn read(config: &Config) -> Result<Option<Access>, Vec<Problem>> {
    let Some(acme) = &config.acme else {
        return Ok(None);
    };
    let mut problems = Vec::new();
    let own = roots(acme.ca_file.as_deref(), "acme.ca_file", &mut problems);
    let binding = binding(acme).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    if config.gateway.listen_tls.is_empty() {
        return Ok(None);
    }
    let mut trusted = system_roots();
    trusted.add_parsable_certificates(own);
    Ok(Some(Access {
        directory: acme.directory.clone(),
        tls: trusting(trusted),
        email: acme.email.clone(),
        binding,
        proving: acme.challenge,
    }))
}

/// The files that [`read`] reads.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let named = |acme: &Acme| [acme.ca_file.clone(), acme.eab_key_file.clone()];
    config.acme.iter().flat_map(named).flatten().collect()
}

fn binding(acme: &Acme) -> Result<Option<(String, Vec<u8>)>, Problem> {
    let (Some(kid), Some(path)) = (&acme.eab_kid, &acme.eab_key_file) else {
        return Ok(None);
    };
    let text = read_file(path, KEY_FILE_BYTES_MAX);
    let key = text.and_then(|text| {
        let text = String::from_utf8_lossy(&text);
        let key = decode(text.trim()).filter(|key| !key.is_empty());
        key.ok_or_else(|| "holds no key in base64url; write there what the authority gave".into())
    });
    let wrong = |what| {
        let (file, key) = (path.display().to_string(), "acme.eab_key_file".to_owned());
        Problem { file, line: 1, key, what }
    };
    Ok(Some((kid.clone(), key.map_err(wrong)?)))
}

/// Such keys are 32 to 64 bytes long.
const KEY_FILE_BYTES_MAX: usize = 4096;
