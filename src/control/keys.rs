//! What opens registries: the certificates that are trusted and the passwords, from the files and
//! variables that the configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::files::read_file;
use crate::messages::keyring::{Account, Key, Keyring, trusting};
use crate::pure::config::problem::Problem;
use crate::pure::config::values::{Config, Password, Registry as Configured};
use crate::pure::oci::backend::authority_of;
use crate::pure::snapshot::Registry;

/// What was read.
pub struct Keys {
    /// `upstream.ca_file`
    roots: Vec<CertificateDer<'static>>,
    /// In the order of `[[registries]]`.
    registries: Vec<Own>,
}

/// What one of `[[registries]]` has.
struct Own {
    /// As dialled: `registry.example.net:5000`.
    authority: String,
    roots: Vec<CertificateDer<'static>>,
    account: Option<(String, String)>,
}

/// Reads the files and variables that `config`, read from `file`, names; or says everything that is
/// wrong with them.
pub fn read(file: &str, config: &Config) -> Result<Keys, Vec<Problem>> {
    let mut problems = Vec::new();
    let ca_file = config.upstream.ca_file.as_deref();
    let roots = roots(ca_file, "upstream.ca_file", &mut problems);
    let mut registries = Vec::new();
    for (index, registry) in config.registries.iter().enumerate() {
        let key = |key: &str| format!("registries[{index}].{key}");
        let ca_file = registry.ca_file.as_deref();
        registries.push(Own {
            authority: registry.host.clone(),
            roots: self::roots(ca_file, &key("ca_file"), &mut problems),
            account: account(registry, file, key, &mut problems),
        });
    }
    if problems.is_empty() { Ok(Keys { roots, registries }) } else { Err(problems) }
}

/// The files that [`read`] reads.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let of_registry = |registry: &Configured| {
        let password = match &registry.password {
            Some(Password::File(path)) => Some(path.clone()),
            Some(Password::Env(_)) | None => None,
        };
        [registry.ca_file.clone(), password]
    };
    let registries = config.registries.iter().flat_map(of_registry);
    registries.chain([config.upstream.ca_file.clone()]).flatten().collect()
}

impl Keys {
    /// A key for each of a snapshot's `registries`, in their order. The system's certificates are
    /// trusted everywhere, those of a registry's `ca_file` at that registry.
    pub fn keyring(&self, registries: &[Registry]) -> Keyring {
        let mut everywhere = system_roots();
        everywhere.add_parsable_certificates(self.roots.iter().cloned());
        let elsewhere = trusting(everywhere.clone());
        let key = |registry: &Registry| {
            let own =
                self.registries.iter().find(|own| own.authority == authority_of(&registry.base));
            let tls = match own {
                Some(own) if !own.roots.is_empty() => {
                    let mut roots = everywhere.clone();
                    roots.add_parsable_certificates(own.roots.iter().cloned());
                    trusting(roots)
                }
                _ => Arc::clone(&elsewhere),
            };
            let account = own.and_then(|own| own.account.clone());
            let account = account.map(|(username, password)| Account::new(username, password));
            Key { tls, account }
        };
        Keyring { registries: registries.iter().map(key).collect(), elsewhere }
    }
}

/// The certificates in the file at `path`, which `key` names; what is wrong with it goes to
/// `problems`.
pub(super) fn roots(
    path: Option<&Path>,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Vec<CertificateDer<'static>> {
    let Some(path) = path else {
        return Vec::new();
    };
    let mut problem = |line, what: String| {
        let file = path.display().to_string();
        problems.push(Problem { file, line, key: key.to_owned(), what });
    };
    let text = match read_file(path, CA_FILE_BYTES_MAX) {
        Ok(text) => text,
        Err(why) => {
            problem(1, why);
            return Vec::new();
        }
    };
    let lines = text.split(|byte| *byte == b'\n').zip(1..);
    let mut begins = lines.filter(|(line, _)| line.starts_with(BEGIN)).map(|(_, line)| line);
    let (mut roots, mut store) = (Vec::new(), RootCertStore::empty());
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let line = begins.next().unwrap_or(1);
        found += 1;
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|root| store.add(root.clone()).map(|()| root).map_err(|e| e.to_string()));
        match added {
            Ok(root) => roots.push(root),
            Err(why) => problem(
                line,
                format!("holds a certificate that cannot be trusted: {why}; take it out"),
            ),
        }
    }
    if found == 0 {
        problem(1, "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    roots
}

fn account(
    registry: &Configured,
    file: &str,
    key: impl Fn(&str) -> String,
    problems: &mut Vec<Problem>,
) -> Option<(String, String)> {
    let (username, password) = (registry.username.clone()?, registry.password.as_ref()?);
    let (file, line, key, read) = match password {
        Password::File(path) => {
            let read = read_file(path, PASSWORD_BYTES_MAX);
            let text = read.and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())
            });
            (path.display().to_string(), 1, key("password_file"), text)
        }
        Password::Env(name) => {
            let text = std::env::var(name).map_err(|_| {
                format!("there is no variable {name}; set it for the process, or change the key")
            });
            (file.to_owned(), registry.line, key("password_env"), text)
        }
    };
    let one_line = read.and_then(|text| {
        // One newline at the end is the editor's (`echo`, a mounted secret), not the password's.
        let text = text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t));
        match text {
            "" => Err("holds no password; write it there".to_owned()),
            text if text.contains(['\n', '\r', '\0']) => {
                Err("holds more than one line; a password is one".to_owned())
            }
            text => Ok(text.to_owned()),
        }
    });
    match one_line {
        Ok(password) => Some((username, password)),
        Err(what) => {
            problems.push(Problem { file, line, key, what });
            None
        }
    }
}

/// What the system trusts. Without any, only registries with a `ca_file` can be spoken to over TLS.
pub(super) fn system_roots() -> RootCertStore {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!("the system's certificates: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(system.certs);
    if added == 0 {
        tracing::warn!(
            "the system trusts no certificate, so no registry that has a public one can be \
             reached; install ca-certificates, or set upstream.ca_file"
        );
    }
    roots
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// All roots of Debian are 220 KB.
const CA_FILE_BYTES_MAX: usize = 4 << 20;
/// Those of cloud registries are tokens of 2 to 4 KB.
const PASSWORD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::compiled;

    /// What comes of `[[registries]]` with these lines, where `DIR` has `files`: the account's
    /// password, or the problems.
    fn password(files: &[(&str, &[u8])], lines: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let at = dir.path().display().to_string();
        let text = format!(
            "[[registries]]\nhost = \"r.example.net\"\n{}\n[[packages]]\ndomain = \"a.com\"\n\
             name = \"x\"\nbackend = \"r.example.net/x\"\n",
            lines.replace("DIR", &at)
        );
        let (config, snapshot) = compiled(&text);
        let keys = read("pullgate.toml", &config).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            lines.join("\n").replace(&format!("{at}/"), "")
        })?;
        let keyring = keys.keyring(&snapshot.registries);
        Ok(keyring.registries[0].account.as_ref().map_or_else(String::new, |account| {
            format!("{}:{}", account.username, account.password)
        }))
    }

    const FILE: &str = "username = \"pull\"\npassword_file = \"DIR/password\"";

    #[test]
    fn a_password_is_what_its_file_or_variable_holds_but_for_one_newline() {
        let from_file = |bytes: &[u8]| password(&[("password", bytes)], FILE).unwrap();
        assert_eq!(from_file(b"s3cret"), "pull:s3cret");
        assert_eq!(from_file(b"s3cret\n"), "pull:s3cret");
        assert_eq!(from_file(b"s3cret\r\n"), "pull:s3cret");
        assert_eq!(from_file(" für zwei ".as_bytes()), "pull: für zwei ");
        let from_variable = "username = \"pull\"\npassword_env = \"PATH\"";
        let path = std::env::var("PATH").unwrap();
        assert_eq!(password(&[], from_variable).unwrap(), format!("pull:{path}"));
        assert_eq!(password(&[], "").unwrap(), "");
    }

    #[test]
    fn a_password_that_cannot_be_one_is_said_where_it_stands() {
        let said = |files: &[(&str, &[u8])], lines| password(files, lines).unwrap_err();
        assert_eq!(
            said(&[], FILE),
            "password:1: registries[0].password_file: cannot be read: No such file or directory \
             (os error 2); let pullgate's user read it, or change the key"
        );
        for (bytes, words) in [
            (&b"\n"[..], "holds no password"),
            (b"one\ntwo\n", "holds more than one line"),
            (b"\xff", "is not text"),
            (&[b'x'; PASSWORD_BYTES_MAX + 1], "is longer than 65536 bytes"),
        ] {
            let said = said(&[("password", bytes)], FILE);
            let place = "password:1: registries[0].password_file: ";
            assert!(said.starts_with(&format!("{place}{words}")), "{said}");
        }
        let none = said(&[], "username = \"pull\"\npassword_file = \"DIR\"");
        assert!(none.contains("password_file: cannot be read: it is no ordinary file; "), "{none}");
        assert_eq!(
            said(&[], "username = \"pull\"\npassword_env = \"PULLGATE_NO_SUCH\""),
            "pullgate.toml:1: registries[0].password_env: there is no variable PULLGATE_NO_SUCH; \
             set it for the process, or change the key"
        );
    }

    #[test]
    fn certificates_are_read_and_what_is_none_is_said() {
        let certified = rcgen::generate_simple_self_signed(["r.example.net".to_owned()]).unwrap();
        let pem = certified.cert.pem();
        let ca_file = "ca_file = \"DIR/ca.pem\"";
        assert_eq!(password(&[("ca.pem", pem.as_bytes())], ca_file), Ok(String::new()));
        assert_eq!(
            password(&[("ca.pem", b"nothing")], ca_file).unwrap_err(),
            "ca.pem:1: registries[0].ca_file: holds no certificate in PEM form (-----BEGIN \
             CERTIFICATE-----)"
        );
        let broken =
            format!("{pem}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let said = password(&[("ca.pem", broken.as_bytes())], ca_file).unwrap_err();
        let line = pem.lines().count() + 2;
        let place =
            format!("ca.pem:{line}: registries[0].ca_file: holds a certificate that cannot");
        assert!(said.starts_with(&place), "{said}");
    }

    #[test]
    fn the_files_read_are_the_files_watched() {
        let text = "[upstream]\nca_file = \"/a\"\n[[registries]]\nhost = \"r.example.net\"\n\
                    ca_file = \"/b\"\nusername = \"u\"\npassword_file = \"/c\"\n";
        let package = "[[packages]]\ndomain = \"a.com\"\nname = \"x\"\nbackend = \"ghcr.io/x\"\n";
        let (config, _) = compiled(&[text, package].concat());
        let mut named: Vec<String> =
            files(&config).iter().map(|path| path.display().to_string()).collect();
        named.sort();
        assert_eq!(named, ["/a", "/b", "/c"]);
        let problems = read("pullgate.toml", &config).err().unwrap();
        let mut read: Vec<String> = problems.into_iter().map(|problem| problem.file).collect();
        read.sort();
        assert_eq!(read, named);
    }
}
