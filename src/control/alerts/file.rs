//! Webhooks of the configuration file, and what their messages are signed with.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::control::files::read_file;
use crate::pure::alert::Event;
use crate::pure::config::problem::Problem;
use crate::pure::config::values::{Alert, Config};
use crate::pure::webhook;

/// One of them, which is told of all packages.
#[derive(Clone)]
pub struct OfFile {
    /// Where it is told.
    pub url: String,
    /// Where it stands in the file.
    pub line: usize,
    /// Of what.
    pub(super) events: Vec<Event>,
    /// What it is signed with.
    pub(super) secret: String,
}

/// Tells whom the file names by now.
pub type OfFiles = watch::Sender<Arc<[OfFile]>>;

/// Reads what `[[alerts]]` names; or says everything that is wrong with it.
pub fn read(config: &Config) -> Result<Arc<[OfFile]>, Vec<Problem>> {
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    for (index, Alert { url, secret_file, events, line }) in config.alerts.iter().enumerate() {
        let text = read_file(secret_file, SECRET_FILE_BYTES_MAX);
        let secret = text.and_then(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            webhook::secret_of(text.trim()).map(str::to_owned)
        });
        match secret {
            Ok(secret) => {
                let of_all = if events.is_empty() { &Event::EVERY[..] } else { events };
                let (url, line) = (url.clone(), *line);
                read.push(OfFile { url, line, events: of_all.to_vec(), secret });
            }
            Err(what) => {
                let file = secret_file.display().to_string();
                let key = format!("alerts[{index}].secret_file");
                problems.push(Problem { file, line: 1, key, what });
            }
        }
    }
    if problems.is_empty() { Ok(read.into()) } else { Err(problems) }
}

/// The files that [`read`] reads.
pub fn files(config: &Config) -> Vec<PathBuf> {
    config.alerts.iter().map(|alert| alert.secret_file.clone()).collect()
}

/// Such secrets are 38 to 94 bytes long.
const SECRET_FILE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::{compiled, scratch};

    #[test]
    fn secrets_are_read_and_what_is_none_is_said_where_it_stands() {
        let dir = scratch();
        let path = dir.path().join("secret");
        let text = |events: &str| {
            let path = path.display();
            format!(
                "[[alerts]]\nurl = \"http://10.0.0.7/hook\"\nsecret_file = \"{path}\"\n{events}"
            )
        };
        let all = compiled(&text("")).0;
        let some = compiled(&text("events = [\"weekly\", \"backend\"]\n")).0;
        assert_eq!(files(&all), std::slice::from_ref(&path));
        let said = |config: &Config| {
            let problems = read(config).err().unwrap();
            let at = format!("{}/", dir.path().display());
            problems.iter().map(|one| one.to_string().replace(&at, "")).collect::<String>()
        };
        let place = "secret:1: alerts[0].secret_file: ";
        assert!(
            said(&all).starts_with(&format!("{place}cannot be read: No such")),
            "{}",
            said(&all)
        );
        for (text, words) in [
            ("", "holds no secret"),
            ("c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0", "holds no secret"),
            ("whsec_c2VjcmV0", "holds a secret of 6 bytes"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = said(&all);
            assert!(
                said.starts_with(&format!("{place}{words}")) && !said.contains("c2Vj"),
                "{said}"
            );
        }
        let secret = webhook::secret(&[7; 32]);
        std::fs::write(&path, format!("{secret}\n")).unwrap();
        let first = |config: &Config| {
            let read = read(config).ok().unwrap();
            assert_eq!(read[0].line, 1);
            (read[0].url.clone(), read[0].events.clone(), read[0].secret.clone())
        };
        let url = "http://10.0.0.7/hook".to_owned();
        assert_eq!(first(&all), (url.clone(), Event::EVERY.to_vec(), secret.clone()));
        assert_eq!(first(&some), (url, vec![Event::Weekly, Event::Backend], secret));
    }
}
