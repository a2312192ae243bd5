//! Passwords are kept as Argon2id makes them. That costs time and memory on purpose, so it is done on
//! threads for that, and only so many at once: of each network that asks one, so that none holds up the others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::control::seats::Taken;
use crate::control::turns::Turns;
use crate::messages::random::random;
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

/// Where passwords are hashed.
#[derive(Clone)]
pub struct Hasher {
    turns: Arc<Turns<u64>>,
    /// What a password is compared with where there is no account, so that it takes as long.
    nobodys: Arc<str>,
}

/// Too many are at it, all or those of one network: come again.
#[derive(Debug)]
pub struct Busy(pub Taken);

impl Hasher {
    /// One that does so many at once.
    ///
    /// # Errors
    /// That the system gives no random bytes.
    pub fn new(places: usize) -> io::Result<Self> {
        let nobodys = hashed(&crate::pure::secret::text(&random::<32>()?))?.into();
        Ok(Self {
            turns: Arc::new(Turns::new(places, (HERE_MAX, OF_NETWORK_MAX), PATIENCE)),
            nobodys,
        })
    }

    /// What is to be kept of `password`, which comes from this network.
    pub async fn hash(&self, network: u64, password: String) -> Result<String, Busy> {
        self.in_turn(network, move || hashed(&password).map_err(|_| Busy(Taken::All))).await?
    }

    /// Whether `password` is the one that `kept` was made of. Without an account there is none, and the
    /// answer takes as long.
    pub async fn is_right(
        &self,
        network: u64,
        password: String,
        kept: Option<String>,
    ) -> Result<bool, Busy> {
        let nobodys = Arc::clone(&self.nobodys);
        self.in_turn(network, move || {
            let is_right =
                |kept: &str| Argon2::default().verify_password(password.as_bytes(), kept).is_ok();
            let is_it = is_right(kept.as_deref().unwrap_or(&nobodys));
            is_it && kept.is_some()
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        network: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let turn = self.turns.take(network).await.map_err(Busy)?;
        // It is over when the work is, whether anybody still waits for it or not.
        let work = move || {
            let outcome = work();
            drop(turn);
            outcome
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy(Taken::All))
    }
}

/// What is kept of `password`, for who has a thread of its own: 19 MiB, two rounds, one lane.
pub fn hashed(password: &str) -> io::Result<String> {
    let salt = random::<16>()?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(io::Error::other)
}

/// Passwords that are hashed or wait for it, of all networks and of one, which may be a whole office.
const HERE_MAX: usize = 128;
const OF_NETWORK_MAX: usize = 16;
/// How long somebody waits for a turn.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_network_that_tries_many_holds_up_no_other() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let hasher = Hasher::new(1).unwrap();
            let mut context = Context::from_waker(Waker::noop());
            let mut many: Vec<_> =
                (0..OF_NETWORK_MAX).map(|_| Box::pin(hasher.hash(1, "one".to_owned()))).collect();
            for one in &mut many {
                assert!(one.as_mut().poll(&mut context).is_pending());
            }
            let more = hasher.hash(1, "one".to_owned()).await;
            assert!(matches!(more, Err(Busy(Taken::Own))), "{more:?}");
            hasher.hash(2, "one".to_owned()).await.unwrap();
        });
    }

    #[test]
    fn right_wrong_and_nobodys() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let hasher = Hasher::new(1).unwrap();
            let kept = hasher.hash(1, "one".to_owned()).await.unwrap();
            assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
            for (password, kept, expected) in [
                ("one", Some(kept.clone()), true),
                ("two", Some(kept), false),
                ("one", None, false),
                ("one", Some("x".to_owned()), false),
            ] {
                let is_right = hasher.is_right(1, password.to_owned(), kept).await.unwrap();
                assert_eq!(is_right, expected, "{password}");
            }
        });
    }
}
