//! Who answers questions about the counts: a running aggregator, or a store that is this process's
//! own. The command line and the dashboard ask.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregator::Order;
use crate::aggregator::amend::Amendment;
use crate::aggregator::answer::Answer;
use crate::aggregator::ask::{Ask, QueryError};
use crate::aggregator::backup::Kept;
use crate::aggregator::clock::Clock;
use crate::aggregator::feed::Feed;
use crate::aggregator::lock::Lock;
use crate::aggregator::plan::Plan;
use crate::aggregator::view::View;
use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, Sender, bounded};

/// Answers questions, from any thread.
#[derive(Clone)]
pub struct Query {
    source: Source,
    /// How many rows there may be beside one for each package.
    rows_max: usize,
}

#[derive(Clone)]
enum Source {
    /// The aggregator's thread gives a view.
    Live(Sender<Order>),
    /// No gateway runs: the store is this process's own.
    Offline(Arc<(View, Lock)>),
}

/// A view, and what keeps it.
pub(super) enum Held {
    Live(Box<View>),
    Offline(Arc<(View, Lock)>),
}

impl Deref for Held {
    type Target = View;

    fn deref(&self) -> &View {
        match self {
            Self::Live(view) => view,
            Self::Offline(offline) => &offline.0,
        }
    }
}

impl Query {
    /// Questions to a running aggregator.
    pub(super) fn live(orders: Sender<Order>) -> Self {
        Self { source: Source::Live(orders), rows_max: usize::MAX }
    }

    /// Questions to a store that nobody else has open.
    pub(super) fn offline(view: View, lock: Lock) -> Self {
        Self { source: Source::Offline(Arc::new((view, lock))), rows_max: usize::MAX }
    }

    /// The same, for who may not have as many rows as they like: of what comes to more than `rows_max`
    /// beside one for each package, counted before any is put together with others, no more than that is
    /// held in memory, and the question is refused.
    pub fn bounded(self, rows_max: usize) -> Self {
        Self { rows_max, ..self }
    }

    /// Answers `ask`. Reads the store in the caller's thread, which may take a while where much is
    /// asked for.
    pub fn rows(&self, ask: &Ask) -> Result<Answer, QueryError> {
        let plan = Plan::of(ask)?.bounded(self.rows_max);
        self.read(|view| plan.run(view))
    }

    /// The same for somebody who sees only the packages that `is_seen` says: others are in no row, no sum and no
    /// bound.
    pub fn rows_seen(
        &self,
        ask: &Ask,
        is_seen: impl Fn(&str) -> bool + Sync,
    ) -> Result<Answer, QueryError> {
        let plan = Plan::of(ask)?.bounded(self.rows_max).seen_by(&is_seen);
        self.read(|view| plan.run(view))
    }

    /// Answers several questions by what was counted at one moment, so that their sums agree. Each
    /// may be refused by itself.
    pub fn all(&self, asks: &[Ask]) -> Result<Vec<Result<Answer, QueryError>>, QueryError> {
        let plan = |ask| Plan::of(ask).map(|plan| plan.bounded(self.rows_max));
        let plans: Vec<_> = asks.iter().map(plan).collect();
        self.read(|view| {
            let answers = plans.iter().map(|plan| match plan {
                Err(refused) => Ok(Err(refused.clone())),
                Ok(plan) => match plan.run(view) {
                    Err(error @ (QueryError::Unavailable(_) | QueryError::Stopped)) => Err(error),
                    answer => Ok(answer),
                },
            });
            answers.collect()
        })
    }

    /// Each pull from now on of the packages that `is_meant` says, as of a running gateway. Who is too slow misses
    /// some of these; where the aggregator has too much to do to hear of it, the feed has ended.
    pub fn subscribe(&self, is_meant: impl Fn(&str) -> bool + Send + Sync + 'static) -> Feed {
        let (follower, feed) = Feed::open(is_meant);
        if let Source::Live(orders) = &self.source {
            // Never waits: who asks may serve others too. Stopped, or busy: its end of the feed says so.
            let _ = orders.try_send(Order::Subscribe(follower));
        }
        feed
    }

    /// Gives what was counted to `run`, anew where it was written to meanwhile.
    fn read<T>(&self, run: impl Fn(&View) -> Result<T, QueryError>) -> Result<T, QueryError> {
        let patience = Patience::new();
        loop {
            let view = self.view()?;
            let answer = run(&view)?;
            if !view.is_stale()? {
                return Ok(answer);
            }
            patience.check()?;
        }
    }

    /// The counts as they are now.
    pub(super) fn view(&self) -> Result<Held, QueryError> {
        let orders = match &self.source {
            Source::Offline(offline) => return Ok(Held::Offline(Arc::clone(offline))),
            Source::Live(orders) => orders,
        };
        let (reply, view) = bounded(1);
        give(orders, Order::View(reply))?;
        let view = view.recv_timeout(VIEW_TIMEOUT).map_err(|error| match error {
            RecvTimeoutError::Disconnected => QueryError::Stopped,
            RecvTimeoutError::Timeout => {
                QueryError::Unavailable("the store is being opened, or the disk is slow".to_owned())
            }
        })?;
        Ok(Held::Live(Box::new(view)))
    }

    /// Has the running gateway write what was counted, and gives the files from which all of it can be
    /// made anew.
    pub fn kept(&self) -> Result<Vec<Kept>, QueryError> {
        let Source::Live(orders) = &self.source else {
            return Err(QueryError::Unavailable("no gateway runs".to_owned()));
        };
        let (reply, kept) = bounded(1);
        orders.send(Order::Copy(reply)).map_err(|_| QueryError::Stopped)?;
        kept.recv().map_err(|_| QueryError::Stopped)?
    }

    /// Has the running gateway change what was counted; waits until that is on disk, which takes as
    /// long as writing the whole store where something is erased.
    pub fn amend(&self, amendment: Amendment) -> Result<(), QueryError> {
        let Source::Live(orders) = &self.source else {
            return Err(QueryError::Unavailable("no gateway runs".to_owned()));
        };
        let (reply, done) = bounded(1);
        let order = Order::Amend(Box::new(amendment), reply);
        give(orders, order)?;
        done.recv().map_err(|_| QueryError::Stopped)?
    }
}

/// How long somebody reads anew where it was written to meanwhile.
pub(super) struct Patience {
    until_us: u64,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { until_us: Clock::look().now_us.saturating_add(PATIENCE_US) }
    }

    /// Whether it is worth reading once more.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        let is_over = Clock::look().now_us >= self.until_us;
        if is_over { Err(QueryError::being_written()) } else { Ok(()) }
    }
}

/// Tells the aggregator, which takes up what it is told within milliseconds unless it is stuck.
fn give(orders: &Sender<Order>, order: Order) -> Result<(), QueryError> {
    orders.send_timeout(order, ORDER_TIMEOUT).map_err(|error| match error {
        SendTimeoutError::Disconnected(_) => QueryError::Stopped,
        SendTimeoutError::Timeout(_) => {
            QueryError::Unavailable("the aggregator takes up no questions".to_owned())
        }
    })
}

/// How long it may take up nothing.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the aggregator may take to give a view: it opens the store first.
const VIEW_TIMEOUT: Duration = Duration::from_secs(10);
/// Several of the times in which the store is left alone for readers: within each that is left of one,
/// and between them, any number of tries can be in vain.
const PATIENCE_US: u64 = 10_000_000;
