//! The secrets that tokens of the gateway's own are made with: kept in `data_dir`, so that a restart
//! makes no token worthless, for its owner's eyes only, and replaced once a day. A secret that is lost
//! costs clients one more request for a token.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::private_file;
use crate::messages::random::random;
use crate::pure::desk::{OwnKeys, Secret};

/// The secrets in use.
pub struct OwnSecrets {
    path: PathBuf,
    present: Dated,
    before: Option<Dated>,
}

/// Replaces them, for as long as it runs.
pub struct Rotation {
    secrets: OwnSecrets,
    publish: Publish,
}

/// Tells the workers.
pub type Publish = Box<dyn Fn(&Arc<OwnKeys>) + Send>;

/// A secret, and when it was made.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Dated {
    secret: Secret,
    made_s: u64,
}

impl OwnSecrets {
    /// Those that `data_dir` holds, or new ones. Should they not be readable, or not be kept, that is
    /// said, and tokens are good until the next start.
    ///
    /// # Errors
    /// That the system gives no random bytes.
    pub fn open(data_dir: &Path) -> io::Result<(Self, Arc<OwnKeys>)> {
        let path = data_dir.join(NAME);
        let held = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).or_else(|| {
                tracing::warn!("{} is damaged; new secrets are made", path.display());
                None
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("{} cannot be read: {error}; new secrets are made", path.display());
                None
            }
        };
        let secrets = match held {
            Some((present, before)) => Self { path, present, before },
            None => {
                let made = Self { path, present: Dated::new(now_s())?, before: None };
                made.keep();
                made
            }
        };
        let keys = secrets.keys();
        Ok((secrets, keys))
    }

    /// What replaces them from now on, and tells it to `publish`.
    pub fn rotation(self, publish: Publish) -> Rotation {
        Rotation { secrets: self, publish }
    }

    fn keys(&self) -> Arc<OwnKeys> {
        let before = self.before.as_ref().map(|before| &before.secret);
        Arc::new(OwnKeys::new(&self.present.secret, before))
    }

    /// Replaces a secret that has had its time; says whether it did.
    fn turn(&mut self, now_s: u64) -> io::Result<bool> {
        // One from the future was made before the clock was set back.
        let is_due = now_s.abs_diff(self.present.made_s) >= LIFE.as_secs();
        if is_due {
            self.before = Some(std::mem::replace(&mut self.present, Dated::new(now_s)?));
            self.keep();
        }
        Ok(is_due)
    }

    fn keep(&self) {
        let lines = [Some(&self.present), self.before.as_ref()].into_iter().flatten();
        let text: String = lines.map(Dated::line).collect();
        if let Err(error) = private_file::replace_synced(&self.path, text.as_bytes()) {
            let path = self.path.display();
            tracing::warn!("{path} cannot be written: {error}; tokens end with the process");
        }
    }
}

impl Rotation {
    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            match self.secrets.turn(now_s()) {
                Ok(true) => (self.publish)(&self.secrets.keys()),
                Ok(false) => {}
                Err(error) => tracing::warn!("no new secret for tokens: {error}"),
            }
        }
    }
}

impl Dated {
    fn new(made_s: u64) -> io::Result<Self> {
        Ok(Self { secret: random()?, made_s })
    }

    fn line(&self) -> String {
        let hex: String = self.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex} {}\n", self.made_s)
    }

    fn parse(line: &str) -> Option<Self> {
        let (hex, made_s) = line.split_once(' ')?;
        let mut secret = Secret::default();
        if hex.len() != 2 * secret.len() || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in secret.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self { secret, made_s: made_s.parse().ok()? })
    }
}

fn parse(text: &str) -> Option<(Dated, Option<Dated>)> {
    let mut lines = text.lines();
    let present = Dated::parse(lines.next()?)?;
    match lines.next() {
        None => Some((present, None)),
        Some(line) => Some((present, Some(Dated::parse(line)?))),
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const NAME: &str = "token.secrets";
/// How long one is used; for as long again it is known. Tokens live five minutes.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::control::tests::scratch;

    const DAY_S: u64 = LIFE.as_secs();

    fn token(keys: &OwnKeys) -> Vec<u8> {
        keys.sign("a.b", 1_000).to_vec()
    }

    fn is_known(keys: &OwnKeys, token: &[u8]) -> bool {
        keys.read(token, "a.b", 900).is_some()
    }

    #[test]
    fn they_outlive_the_process_and_nobody_else_reads_them() {
        let dir = scratch();
        let (_, first) = OwnSecrets::open(dir.path()).unwrap();
        let (_, second) = OwnSecrets::open(dir.path()).unwrap();
        assert!(is_known(&second, &token(&first)));
        let mode = fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_that_is_replaced_is_known_for_one_time_more() {
        let dir = scratch();
        let (mut secrets, first) = OwnSecrets::open(dir.path()).unwrap();
        let made_s = secrets.present.made_s;
        assert!(!secrets.turn(made_s + DAY_S - 1).unwrap());
        assert!(secrets.turn(made_s + DAY_S).unwrap());
        assert!(is_known(&secrets.keys(), &token(&first)));
        let (_, again) = OwnSecrets::open(dir.path()).unwrap();
        assert!(is_known(&again, &token(&first)) && is_known(&again, &token(&secrets.keys())));
        assert!(secrets.turn(made_s + 2 * DAY_S).unwrap());
        assert!(!is_known(&secrets.keys(), &token(&first)));
    }

    #[test]
    fn what_cannot_be_read_is_made_anew() {
        for text in ["", "x", "00 1", &format!("{} x", "00".repeat(32)), "é"] {
            let dir = scratch();
            fs::write(dir.path().join(NAME), text).unwrap();
            let (_, first) = OwnSecrets::open(dir.path()).unwrap();
            let (_, second) = OwnSecrets::open(dir.path()).unwrap();
            assert!(is_known(&second, &token(&first)), "{text}");
        }
        let (_, keys) = OwnSecrets::open(Path::new("/nowhere/at/all")).unwrap();
        assert!(is_known(&keys, &token(&keys)), "it serves all the same");
    }
}
