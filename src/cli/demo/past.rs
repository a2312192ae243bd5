//! An aggregator whose clock is turned by whoever gives it events, so that months pass in seconds and
//! what was counted in them is in the store as if they had: for the demo's past, and for tests.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::aggregator::clock::Clock;
use crate::aggregator::lock::Lock;
use crate::aggregator::{Aggregator, Health, Options, Query, spawn};
use crate::control::while_busy;
use crate::messages::pulls::{PullSender, channel};
use crate::pure::client::ClientTable;
use crate::pure::config::values::{Counting, Insight};
use crate::pure::place::Sources;
use crate::pure::pull::event::{Asked, Event};

/// See the module.
pub struct Past {
    aggregator: Aggregator,
    /// What answers questions.
    pub query: Query,
    health: Arc<Health>,
    senders: Vec<PullSender>,
    /// The monotonic clock, and by how much the wall's differs.
    clocks: Arc<(AtomicU64, AtomicI64)>,
    /// The monotonic clock, in microseconds.
    pub at_us: u64,
    /// GETs of manifests that were offered.
    pub requests: u64,
}

impl Past {
    /// Begins at that minute, with as many workers' channels, on an empty `data_dir`.
    ///
    /// # Errors
    /// That the folder or a thread cannot be had.
    pub fn begin(
        data_dir: &Path,
        minute: u32,
        workers: usize,
        sources: Sources,
        (counting, insight): (Counting, Insight),
    ) -> io::Result<Self> {
        let wall_us = i64::from(minute) * MINUTE_US - BEGIN_US.cast_signed();
        let clocks = Arc::new((AtomicU64::new(BEGIN_US), AtomicI64::new(wall_us)));
        let turned = Arc::clone(&clocks);
        let look = move || {
            let (now_us, offset_us) = &*turned;
            Clock::at(now_us.load(Ordering::SeqCst), offset_us.load(Ordering::SeqCst))
        };
        let options = Options {
            data_dir: data_dir.to_owned(),
            counting,
            insight,
            clients: ClientTable::built_in(),
            sources: Arc::new(sources),
            look: Arc::new(look),
        };
        let (senders, receivers) = (0..workers).map(|_| channel()).unzip();
        let health = Arc::<Health>::default();
        let lock = while_busy(|| Lock::take(data_dir))?;
        let aggregator = spawn(options, lock, receivers, Arc::clone(&health))?;
        let query = aggregator.query();
        Ok(Self { aggregator, query, health, senders, clocks, at_us: BEGIN_US, requests: 0 })
    }

    /// Offers one request by one worker. Events of one worker come in the order of their time.
    ///
    /// # Errors
    /// That the aggregator is too far behind to take more.
    pub fn offer(&mut self, worker: usize, event: &Event<'_>) -> io::Result<()> {
        self.requests += u64::from(event.asked == Asked::Manifest);
        let taken = self.senders.get_mut(worker).is_some_and(|sender| sender.offer(event));
        if taken { Ok(()) } else { Err(io::Error::other("the aggregator is too far behind")) }
    }

    /// The wall clock is set by so many microseconds.
    pub fn set_wall(&self, by_us: i64) {
        self.clocks.1.fetch_add(by_us, Ordering::SeqCst);
    }

    /// The clock goes on to this time; it never goes back.
    pub fn turn_to(&mut self, at_us: u64) {
        self.at_us = self.at_us.max(at_us);
        self.clocks.0.store(self.at_us, Ordering::SeqCst);
    }

    /// A worker sends what it has; how much of it could not be taken as events.
    pub fn flush(&mut self, worker: usize) -> u64 {
        self.senders.get_mut(worker).map_or(0, |sender| sender.flush().unfolded)
    }

    /// So many minutes pass; what was offered has been counted then.
    ///
    /// # Errors
    /// That it was not, in a whole minute.
    pub fn pass(&mut self, minutes: u32) -> io::Result<()> {
        // Before time passes: what comes of an event depends on those that another worker has not sent yet.
        for sender in &mut self.senders {
            sender.flush();
        }
        self.at_us += u64::from(minutes) * MINUTE_US.cast_unsigned();
        // Not yet into the next day: whose clients they are is decided when they are counted.
        let mut now_us = self.at_us - HALF_A_MINUTE_US;
        self.clocks.0.store(now_us, Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        while self.health.requests.load(Ordering::Relaxed) < self.requests {
            // A worker that found no room is waited for as long as the clock says.
            now_us = (now_us + 1000).min(self.at_us - 1);
            self.clocks.0.store(now_us, Ordering::SeqCst);
            let unfolded = self.senders.iter_mut().map(|sender| sender.flush().unfolded);
            if unfolded.sum::<u64>() > 0 || Instant::now() >= deadline {
                return Err(io::Error::other("not everything was counted"));
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
        self.clocks.0.store(self.at_us, Ordering::SeqCst);
        Ok(())
    }

    /// Writes everything and ends.
    ///
    /// # Errors
    /// That not everything could be written.
    pub fn end(mut self) -> io::Result<()> {
        for sender in &mut self.senders {
            sender.flush();
        }
        let is_settled = self.senders.iter().all(PullSender::is_settled);
        match self.aggregator.stop(Vec::new()) && is_settled {
            true => Ok(()),
            false => Err(io::Error::other("not everything counted could be written")),
        }
    }
}

/// An hour after the machine started: a monotonic clock that stands at 0 is none.
const BEGIN_US: u64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;
const HALF_A_MINUTE_US: u64 = 30_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
