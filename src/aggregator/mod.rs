//! Floor 2: the one thread that counts. It takes the workers' events in the order of their time,
//! folds them into pulls and checks, adds up, and writes each interval's counts to the store.
//!
//! ```text
//! messages/pulls ─► inbox ─► clients, names ─► pure/pull/fold ─► tally ─► persist ─► store
//!                 by time     what it is        what it makes     RAM     waits      journal, sled
//! ```
//!
//! The store is read through [`Query`], from any thread. Nothing here is async, and nobody waits
//! for this thread but those who ask it for a view.
#![forbid(unsafe_code)]

pub mod amend;
pub mod answer;
pub mod ask;
mod backup;
pub mod books;
pub mod checkpoint;
pub mod clients;
pub mod clock;
pub mod codec;
pub mod counting;
pub mod counts;
pub mod days;
pub mod dictionary;
pub mod erase;
pub mod export;
pub mod feed;
pub mod frame;
pub mod giving_way;
pub mod health;
pub mod inbox;
pub mod journal;
pub mod known;
pub mod lock;
pub mod names;
pub mod persist;
pub mod places;
pub mod plan;
pub mod query;
pub mod recall;
pub mod recover;
pub mod retention;
pub mod run;
pub mod schema;
pub mod store;
pub mod succession;
pub mod tally;
pub mod uniques;
pub mod view;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

pub use crate::aggregator::amend::{Amendment, Erasure, Scope};
pub use crate::aggregator::answer::{Answer, Row};
pub use crate::aggregator::ask::{Ask, By, Only, QueryError};
pub use crate::aggregator::backup::{Kept, is_of_store};
pub use crate::aggregator::export::{Export, Portion};
pub use crate::aggregator::feed::{Booked, Feed};
pub use crate::aggregator::health::Health;
pub use crate::aggregator::query::Query;

use crate::aggregator::clock::Look;
use crate::aggregator::counting::Aggregating;
use crate::aggregator::feed::Follower;
use crate::aggregator::lock::Lock;
use crate::aggregator::names::{Bounds, Names};
use crate::aggregator::persist::Persist;
use crate::aggregator::run::Unapplied;
use crate::aggregator::store::Store;
use crate::aggregator::succession::{Beginning, Legacy};
use crate::aggregator::view::View;
use crate::messages::pulls::{Parcel, PullReceiver};
use crate::messages::random::random;
use crate::pure::client::ClientTable;
use crate::pure::config::values::{Counting, Insight};
use crate::pure::place::Sources;

/// What the aggregator is told when it starts.
pub struct Options {
    /// Where counts are kept.
    pub data_dir: PathBuf,
    /// `[counting]`
    pub counting: Counting,
    /// `[insight]`
    pub insight: Insight,
    /// Which user agent is which client.
    pub clients: ClientTable,
    /// What is known of addresses.
    pub sources: Arc<Sources>,
    /// What time it is: [`Clock::look`](crate::aggregator::clock::Clock::look), but where a test turns
    /// the clock.
    pub look: Look,
}

/// What is counted by from now on.
pub struct Reconfigured {
    /// `[counting]`
    pub counting: Counting,
    /// `[insight]`
    pub insight: Insight,
    /// Which user agent is which client.
    pub clients: ClientTable,
    /// What is known of addresses.
    pub sources: Arc<Sources>,
}

/// A running aggregator.
pub struct Aggregator {
    orders: Sender<Order>,
    thread: JoinHandle<bool>,
}

/// What the aggregator's thread is asked to do.
pub enum Order {
    /// Give a view of the counts.
    View(Sender<View>),
    /// Change what was counted, and say how that went.
    Amend(Box<Amendment>, Sender<Result<(), QueryError>>),
    /// Write what was counted, and give the files from which all of it can be made anew.
    Copy(Sender<Result<Vec<Kept>, QueryError>>),
    /// Say that it follows orders.
    Answer(Sender<()>),
    /// Tell of each pull from now on.
    Subscribe(Follower),
    /// Count like this from now on.
    Reconfigure(Box<Reconfigured>),
    /// Write everything, let go of the store, and say what another process needs to know to go on. Then
    /// one of the next two is given.
    LetGo(Sender<Result<Legacy, String>>),
    /// That one does not: take the store back, under this lock if it is there already.
    TakeBack(Option<Lock>),
    /// It does: from now on hand on to it what the workers send.
    Forward(Box<dyn Write + Send>),
    /// Take what has been sent and what the workers had left, book what is open, write it, end.
    Stop(Vec<Vec<Parcel>>),
    /// Do what a defect would.
    #[cfg(test)]
    Panic,
}

/// Starts the aggregator's thread on the `data_dir` that `lock` holds. Whatever is wrong with the
/// store is said in the log and in `health`, counts wait in memory, and opening it is tried again.
pub fn spawn(
    options: Options,
    lock: Lock,
    receivers: Vec<PullReceiver>,
    health: Arc<Health>,
) -> io::Result<Aggregator> {
    let (aggregator, begin) = spawn_waiting(options, receivers, health)?;
    begin.now(Beginning { lock, before: None });
    Ok(aggregator)
}

/// Starts a thread that counts once it is told to begin.
pub fn spawn_waiting(
    options: Options,
    receivers: Vec<PullReceiver>,
    health: Arc<Health>,
) -> io::Result<(Aggregator, Begin)> {
    let (orders, to_do) = bounded(ORDERS_MAX);
    let (begin, to_begin) = bounded(1);
    let aggregating = Aggregating::new(options, receivers, health)?;
    let thread = std::thread::Builder::new().name("aggregator".to_owned());
    let thread = thread.spawn(move || aggregating.run(&to_begin, &to_do))?;
    Ok((Aggregator { orders, thread }, Begin(begin)))
}

/// Lets an aggregator begin. Dropped, it never does.
pub struct Begin(Sender<Beginning>);

impl Begin {
    /// Now.
    pub fn now(self, beginning: Beginning) {
        // There is room for one, and the thread waits for it.
        let _ = self.0.try_send(beginning);
    }
}

/// What has a running aggregator make way for that of another process.
#[derive(Clone)]
pub struct Succession(Sender<Order>);

impl Succession {
    /// Has it write everything, let go of the store, and say what the other needs to know to go on.
    /// Until [one](Self::take_back) or [the other](Self::forward) follows nothing is counted, and what
    /// workers send waits.
    ///
    /// # Errors
    /// In words, why not: it goes on counting then.
    pub fn let_go(&self) -> Result<Legacy, String> {
        let gone = |_| "counting has ended".to_owned();
        let (reply, legacy) = bounded(1);
        self.0.send(Order::LetGo(reply)).map_err(|_| gone(()))?;
        legacy.recv().map_err(|_| gone(()))?
    }

    /// Has it go on counting. `lock` is that of the store; without it is tried again later.
    pub fn take_back(&self, lock: Option<Lock>) {
        let _ = self.0.send(Order::TakeBack(lock));
    }

    /// Has it hand on what workers send, `to` who counts now.
    pub fn forward(&self, to: Box<dyn Write + Send>) {
        let _ = self.0.send(Order::Forward(to));
    }
}

/// Reads the counts of a gateway that is not running. `WouldBlock` where one is.
pub fn open_offline(data_dir: &Path) -> io::Result<Query> {
    if !data_dir.is_dir() {
        let words = format!("data_dir {}: there is no such folder", data_dir.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, words));
    }
    let lock = Lock::take(data_dir)?;
    let store = Store::open(data_dir).map_err(|error| {
        io::Error::other(format!(
            "data_dir {}: the counts cannot be read: {error}",
            data_dir.display()
        ))
    })?;
    let view =
        View::new(store.counts().tree(), store.marker(), Unapplied::default(), Arc::default());
    Ok(Query::offline(view, lock))
}

/// The files from which the counts of a gateway that is not running can be made anew, and the lock that keeps it
/// so. `WouldBlock` where one runs.
pub fn kept_offline(data_dir: &Path) -> io::Result<(Vec<Kept>, Lock)> {
    let lock = Lock::take(data_dir)?;
    let store = Store::open(data_dir).map_err(|error| io::Error::other(error.to_string()))?;
    Ok((store.kept()?, lock))
}

/// Changes the counts of a gateway that is not running. `WouldBlock` where one is.
pub fn amend_offline(data_dir: &Path, amendment: &Amendment) -> io::Result<()> {
    let lock = Lock::take(data_dir)?;
    let node = u64::from_ne_bytes(random()?);
    let mut persist = Persist::new(data_dir.to_owned(), Some(lock), Arc::default(), node);
    let mut names = Names::new(Bounds::NONE);
    persist.amend(amendment, &mut names, 0, |_, _| ()).map_err(io::Error::other)?;
    persist.close(&mut names);
    Ok(())
}

impl Aggregator {
    /// A handle that answers questions, from any thread.
    pub fn query(&self) -> Query {
        Query::live(self.orders.clone())
    }

    /// Each pull from now on. Who is too slow misses some.
    pub fn subscribe(&self) -> Feed {
        self.query().subscribe(|_| true)
    }

    /// What has it make way for another process.
    pub fn succession(&self) -> Succession {
        Succession(self.orders.clone())
    }

    /// What asks whether it answers, in the time that it has.
    pub fn answers(&self) -> impl Fn(Duration) -> bool + Send + use<> {
        let orders = self.orders.clone();
        move |within| {
            let (reply, replies) = bounded(1);
            let order = Order::Answer(reply);
            orders.send_timeout(order, within).is_ok() && replies.recv_timeout(within).is_ok()
        }
    }

    /// What tells it to count like this from now on.
    pub fn reconfigure(&self) -> impl Fn(Reconfigured) + Send + use<> {
        let orders = self.orders.clone();
        move |new| {
            let _ = orders.send(Order::Reconfigure(Box::new(new)));
        }
    }

    /// Takes what the workers have sent, books open windows, writes everything and ends; says
    /// whether all of it was written. The workers have stopped: `rest` is, worker by worker, what
    /// their channels had no room for, in order.
    pub fn stop(self, rest: Vec<Vec<Parcel>>) -> bool {
        // It may have ended: then joining says so.
        let _ = self.orders.send(Order::Stop(rest));
        self.thread.join().unwrap_or(false)
    }
}

/// Waits until the folder itself is on disk: the names of the files in it.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Orders wait while the aggregator writes; whoever gives one more waits too.
const ORDERS_MAX: usize = 64;
