//! So many at once, and so many of them one's. Who holds a seat holds it until it is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All seats, and those of each who has any.
pub(super) struct Seats<K> {
    all: Arc<Semaphore>,
    own: HashMap<K, Arc<Semaphore>>,
    own_max: usize,
}

/// One of them.
pub(super) struct Seat(
    #[expect(dead_code, reason = "held, not read")]
    (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
);

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All are taken.
    All,
    /// As many as one may have.
    Own,
}

impl<K: Eq + Hash> Seats<K> {
    /// So many in all, of which one may have so many.
    pub(super) fn new(all_max: usize, own_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all_max)), own: HashMap::new(), own_max }
    }

    /// A seat for `whose`; without it, one of nobody's in particular.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn take(&mut self, whose: Option<K>) -> Result<Seat, Taken> {
        self.own.retain(|_, own| own.available_permits() < self.own_max);
        let own = match whose {
            None => None,
            Some(whose) => {
                let new = || Arc::new(Semaphore::new(self.own_max));
                let own = Arc::clone(self.own.entry(whose).or_insert_with(new));
                Some(own.try_acquire_owned().map_err(|_| Taken::Own)?)
            }
        };
        let one = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Taken::All)?;
        Ok(Seat((one, own)))
    }

    /// How many are free.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.all.available_permits()
    }
}
