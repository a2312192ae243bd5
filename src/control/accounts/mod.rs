//! Who may sign in, and what was done by whom: accounts, organisations, roles, sessions, tokens and the
//! audit log, in SQLite (`data_dir/accounts.sqlite`, for its owner's eyes only). Counts are elsewhere.
//!
//! A thread of its own has the database. Everybody else hands it jobs by [`Accounts::run`], each a
//! closure over [`Store`]; what a job changes, it changes in one transaction. While the database cannot
//! be opened, jobs fail and opening it is tried again with each: pulls do not wait for accounts.

pub mod alerts;
pub mod audit;
mod badges;
mod belongings;
pub mod claims;
pub mod command;
pub mod deliveries;
pub mod hash;
pub mod invitations;
pub mod organisations;
pub mod outages;
pub mod own;
pub mod packages;
#[cfg(test)]
mod packages_cases;
pub mod people;
pub mod place;
mod public;
pub mod rights;
pub mod roles;
mod room;
pub mod sessions;
pub mod store;
pub mod tokens;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

pub use store::{Store, StoreError};

/// A handle on the database, for any number of askers. Its thread ends with the last of them.
#[derive(Clone)]
pub struct Accounts {
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Keeper) + Send>;

/// What the thread has.
struct Keeper {
    path: PathBuf,
    store: Option<Store>,
}

impl Accounts {
    /// Those of this `data_dir`, which the caller holds the lock of. A database that cannot be opened is
    /// said in the log, and does not keep the gateway from serving.
    ///
    /// # Errors
    /// That no thread can be had.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let (jobs, mut to_do) = mpsc::channel::<Job>(JOBS_MAX);
        let mut keeper = Keeper { path: data_dir.join(FILE), store: None };
        std::thread::Builder::new().name("accounts".into()).spawn(move || {
            if let Err(error) = keeper.store() {
                tracing::error!("nobody can sign in: {error}");
            }
            while let Some(job) = to_do.blocking_recv() {
                // A transaction that a panic ends is rolled back; the asker hears that nobody answers.
                if catch_unwind(AssertUnwindSafe(|| job(&mut keeper))).is_err() {
                    tracing::error!("a job of the accounts panicked: this is a defect to report");
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// The same as [`Accounts::run`] for a thread that may wait.
    pub fn wait<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, told) = posted(job);
        self.jobs.blocking_send(job).map_err(|_| StoreError::Stopped)?;
        told.blocking_recv().map_err(|_| StoreError::Stopped)?
    }

    /// Has the thread do this, and waits for what comes of it. While there are too many jobs, the asker
    /// waits before its own is taken.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, told) = posted(job);
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        told.await.map_err(|_| StoreError::Stopped)?
    }
}

/// A job for the thread, and where what comes of it is heard.
fn posted<T: Send + 'static>(
    job: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, StoreError>>) {
    let (tell, told) = oneshot::channel();
    let job: Job = Box::new(move |keeper| {
        // Who no longer listens has gone away.
        let _ = tell.send(keeper.store().and_then(job));
    });
    (job, told)
}

impl Keeper {
    fn store(&mut self) -> Result<&mut Store, StoreError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::open(&self.path)?,
        };
        Ok(self.store.insert(store))
    }
}

/// Seconds since 1970, as everything here is dated.
pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The database's name in `data_dir`.
pub const FILE: &str = "accounts.sqlite";
/// Where a copy of it is made.
pub const COPY: &str = "accounts.copy";
/// Jobs that wait for the thread; who asks then waits too.
const JOBS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scratch;

    #[test]
    fn a_job_that_panics_or_fails_leaves_the_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = scratch();
        let accounts = Accounts::open(dir.path()).unwrap();
        runtime.block_on(async {
            let outcome = accounts.run::<()>(|_| panic!("on purpose")).await;
            assert!(matches!(outcome, Err(StoreError::Stopped)), "{outcome:?}");
            let outcome = accounts.run::<()>(|_| Err(StoreError::Absent)).await;
            assert!(matches!(outcome, Err(StoreError::Absent)), "{outcome:?}");
            assert!(!accounts.run(|store| store.has_accounts()).await.unwrap());
        });
    }

    #[test]
    fn a_database_that_could_not_be_opened_is_tried_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = scratch();
        let data_dir = dir.path().join("later");
        let accounts = Accounts::open(&data_dir).unwrap();
        runtime.block_on(async {
            let outcome = accounts.run(|store| store.has_accounts()).await;
            let words = outcome.unwrap_err().to_string();
            assert!(words.contains("later/accounts.sqlite"), "{words}");
            std::fs::create_dir(&data_dir).unwrap();
            assert!(!accounts.run(|store| store.has_accounts()).await.unwrap());
        });
    }
}
