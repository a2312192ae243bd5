//! Passwords are kept as Argon2id makes them. That costs time and memory on purpose, so it is done on
//! threads for that, and only so many at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use crate::messages::random::random;

/// Where passwords are hashed.
#[derive(Clone)]
pub struct Hasher {
    places: Arc<Semaphore>,
    /// What a password is compared with where there is no account, so that it takes as long.
    nobodys: Arc<str>,
}

/// Too many are at it: come again.
#[derive(Debug)]
pub struct Busy;

impl Hasher {
    /// One that does so many at once.
    ///
    /// # Errors
    /// That the system gives no random bytes.
    pub fn new(places: usize) -> io::Result<Self> {
        let nobodys = hashed(&crate::pure::secret::text(&random::<32>()?))?.into();
        Ok(Self { places: Arc::new(Semaphore::new(places)), nobodys })
    }

    /// What is to be kept of `password`.
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        self.at_a_place(move || hashed(&password).map_err(|_| Busy)).await?
    }

    /// Whether `password` is the one that `kept` was made of. Without an account there is none, and the
    /// answer takes as long.
    pub async fn is_right(&self, password: String, kept: Option<String>) -> Result<bool, Busy> {
        let nobodys = Arc::clone(&self.nobodys);
        self.at_a_place(move || {
            let is_right =
                |kept: &str| Argon2::default().verify_password(password.as_bytes(), kept).is_ok();
            let is_it = is_right(kept.as_deref().unwrap_or(&nobodys));
            is_it && kept.is_some()
        })
        .await
    }

    async fn at_a_place<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(PATIENCE, place).await.map_err(|_| Busy)?;
        let place = place.map_err(|_| Busy)?;
        let work = move || {
            let outcome = work();
            drop(place);
            outcome
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }
}

/// What is kept of `password`, for who has a thread of its own: 19 MiB, two rounds, one lane.
pub fn hashed(password: &str) -> io::Result<String> {
    let salt = random::<16>()?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(io::Error::other)
}

/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_wrong_and_nobodys() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let hasher = Hasher::new(1).unwrap();
            let kept = hasher.hash("one".to_owned()).await.unwrap();
            assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
            for (password, kept, expected) in [
                ("one", Some(kept.clone()), true),
                ("two", Some(kept), false),
                ("one", None, false),
                ("one", Some("x".to_owned()), false),
            ] {
                let is_right = hasher.is_right(password.to_owned(), kept).await.unwrap();
                assert_eq!(is_right, expected, "{password}");
            }
        });
    }
}
