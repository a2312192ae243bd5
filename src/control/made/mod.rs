//! Packages made in the dashboard, on their way into force. The thread that reloads the configuration has
//! them: a change is checked beside the file that is in force, written down, and told to every worker,
//! one after the other and in turn with the file's own changes. Who asked hears when it is in force.

pub mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{Mutex, oneshot, watch};

use super::accounts::StoreError;
use super::accounts::packages::Package;
use super::accounts::sessions::Who;
use super::seats::{Seat, Seats, Taken};
use crate::aggregator::{Ask, By, Only, Query, QueryError};
use crate::messages::keyring::Keyring;
use crate::pure::access::OrganisationId;
use crate::pure::config::made::{Made, Written, Wrong};
use crate::pure::config::values::{Config, Gateway};
use crate::pure::snapshot::Snapshot;

/// Who wants something. What they may is decided when it is their turn.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who, and what they came by.
    pub who: Who,
    /// Whether they know that a change of domain or name breaks what people type.
    pub confirms: bool,
    /// Whether what is left on the name of a package that they make, of when the configuration file had it,
    /// comes with it or ends; `None` where they have not said.
    pub keeps: Option<bool>,
}

/// What somebody wants to be done.
#[derive(Clone, Debug)]
pub enum Change {
    /// One more package of this organisation. Without a domain it is served below the shared one.
    Make {
        /// Whose it is.
        organisation: OrganisationId,
        /// What was written.
        written: Written,
    },
    /// A package, as it was when they looked, becomes another.
    Change {
        /// What they saw.
        from: Package,
        /// What is written now.
        to: Written,
    },
    /// A package, as it was when they looked, goes.
    Remove(Package),
    /// One that went comes back.
    Restore {
        /// Whose it is.
        organisation: OrganisationId,
        /// Its number.
        id: i64,
        /// What is written.
        written: Written,
    },
}

/// A change under way.
pub struct Order {
    /// Who wants it.
    pub asker: Asker,
    /// What they want.
    pub change: Change,
    /// Whether it is only to be found out whether it can be done.
    pub is_trial: bool,
    /// When it is done, in seconds since 1970.
    pub now_s: i64,
    answer: oneshot::Sender<Result<Outcome, Refused>>,
    /// Until it is answered, it is one of those that wait.
    #[expect(dead_code, reason = "held, not read")]
    seat: Option<Seat>,
}

/// What came of it.
pub struct Outcome {
    /// The package as it is written down, or would be; `None` where it is gone.
    pub package: Option<Package>,
    /// What is decided by, or would be.
    pub snapshot: Arc<Snapshot>,
    /// What opens registries to it.
    pub keyring: Arc<Keyring>,
}

/// Why it was not done.
#[derive(Debug)]
pub enum Refused {
    /// These fields are wrong.
    Wrong(Vec<Wrong>),
    /// It is another by now than it was when they looked.
    Changed,
    /// The configuration file has one of its name by now, which is served: it can only be removed.
    Overruled,
    /// Whether there is one, at which domain and by which name, is not theirs to say.
    NotTheirs,
    /// Its domain or name would be another, and they have not said that they know what that breaks.
    Breaks(Breaks),
    /// Pulls at this domain, which would become theirs, were counted when it was another's.
    Counted(String),
    /// On the name of what is made something is left, of when the configuration file had it: what, in words. They
    /// have not said whether that comes with it.
    Left(String),
    /// The configuration is not what it was: words that say what to do.
    Configuration(String),
    /// Too many changes wait, of everybody's or of who asks.
    Busy(Taken),
    /// The gateway is stopping.
    Draining,
    /// It is written down, but not every worker has said that it knows.
    Unheard {
        /// Because the gateway is stopping.
        is_draining: bool,
    },
    /// The accounts' database says no.
    Store(StoreError),
}

/// What another domain or name breaks.
#[derive(Debug)]
pub struct Breaks {
    /// `<domain>/<name>`, as it is called now.
    from: String,
    /// And would be.
    to: String,
    /// Whether it would be a collection that has what it is called now.
    has: bool,
    /// Whether a role on it would reach further.
    widens: bool,
    /// Whether its counts go on under the other, by its id.
    is_known: bool,
}

impl Breaks {
    /// What it breaks that one is the other then; `None` where it is called the same.
    pub fn of(from: &Written, to: &Written) -> Option<Self> {
        let (was, is) = (from.package(), to.package());
        let (has, widens) = (to.has(from), to.widens(from));
        // Below a collection each name is counted by itself.
        let is_one = |written: &Written| !written.name.ends_with('*');
        let same = from.name == to.name || (is_one(from) && is_one(to));
        let is_known = !from.id.is_empty() && from.id == to.id && same;
        (was != is).then_some(Self { from: was, to: is, has, widens, is_known })
    }
}

impl fmt::Display for Breaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, has, widens, is_known } = self;
        let go_on = if *is_known { "go on" } else { "begin anew" };
        match has {
            true => write!(f, "{from} is one of {to} then, and comes from where that lives.")?,
            false => write!(
                f,
                "Who pulls {from} gets an error from then on, until they type {to}; its counts {go_on} \
                 there."
            )?,
        }
        let becomes = match (widens, has) {
            (false, _) => return Ok(()),
            (true, true) => format!("stay with {from} alone"),
            (true, false) => "end".to_owned(),
        };
        write!(
            f,
            " Roles on it, tokens, invitations, webhooks and its public page {becomes}: for {to} they \
             would reach further, so who is to see all of that is let in anew."
        )
    }
}

impl Refused {
    /// What [`Refused::Breaks`] is called.
    pub const BREAKS: &str = "This breaks what people type";

    /// In the words for `who`, who runs the gateway or does not. What others are not told, its log is.
    pub fn told(self, who: &Who, runs_gateway: bool) -> Self {
        match self {
            Self::Wrong(wrong) => {
                let hidden = wrong.iter().filter(|_| !runs_gateway);
                for Wrong { field, inside, .. } in hidden {
                    if let Some(inside) = inside {
                        tracing::info!("a change of {} was refused: {field}: {inside}", who.login);
                    }
                }
                Self::Wrong(wrong.into_iter().map(|one| one.told(runs_gateway)).collect())
            }
            Self::Configuration(words) if !runs_gateway => {
                tracing::error!("a change of {} was refused: {words}", who.login);
                Self::Configuration("who runs this gateway finds in its log why".to_owned())
            }
            same @ (Self::Changed
            | Self::Overruled
            | Self::NotTheirs
            | Self::Breaks(_)
            | Self::Counted(_)
            | Self::Left(_)
            | Self::Configuration(_)
            | Self::Busy(_)
            | Self::Draining
            | Self::Unheard { .. }
            | Self::Store(_)) => same,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(wrong) => {
                let words: Vec<String> =
                    wrong.iter().map(|one| format!("{}: {}", one.field, one.what)).collect();
                f.write_str(&words.join("; "))
            }
            Self::Changed => f.write_str("it is another by now"),
            Self::Overruled => f.write_str("the configuration file has one of its name"),
            Self::NotTheirs => f.write_str("its name is its organisation's to say"),
            Self::Breaks(breaks) => breaks.fmt(f),
            Self::Counted(domain) => {
                write!(f, "pulls at {domain} were counted before it was theirs")
            }
            Self::Left(left) => write!(
                f,
                "From when the configuration file had it, this hangs on its name: {left}."
            ),
            Self::Configuration(words) => f.write_str(words),
            Self::Busy(_) => f.write_str("too many changes are under way"),
            Self::Draining => f.write_str("the gateway is stopping"),
            Self::Unheard { .. } => f.write_str("not every worker has taken it"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

/// Whether pulls were counted at this domain: counts are its owner's, so who gets one that has some would see what
/// others pulled from whoever had it before.
///
/// # Errors
/// That the counts cannot be read now.
pub fn has_counts(query: &Query, domain: &str) -> Result<bool, QueryError> {
    let only = vec![Only { by: By::Domain, value: domain.to_owned() }];
    Ok(!query.rows(&Ask { only, ..Ask::default() })?.rows.is_empty())
}

/// What is known of all of them.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Each by `<domain>/<name>`: why it is not served; nothing where it is.
    pub packages: BTreeMap<String, Vec<Wrong>>,
    /// Below which each organisation has a domain.
    pub shared_domain: Option<String>,
    /// Where clients are listened for.
    pub listens: Vec<SocketAddr>,
}

impl Standing {
    /// Of these packages, of which those set `aside` are not served, beside what `config` says.
    pub fn of(made: &[Made], aside: &BTreeMap<usize, Vec<Wrong>>, config: &Config) -> Self {
        let wrong = |at| aside.get(&at).cloned().unwrap_or_default();
        let packages = made.iter().enumerate().map(|(at, one)| (one.written.package(), wrong(at)));
        let Gateway { shared_domain, listen, listen_tls, .. } = &config.gateway;
        let listens = listen.iter().chain(listen_tls).copied().collect();
        Self { packages: packages.collect(), shared_domain: shared_domain.clone(), listens }
    }
}

/// Asks for changes, and knows how it stands.
#[derive(Clone)]
pub struct Makers {
    orders: Sender<Order>,
    /// Whose changes wait, by account.
    waiting: Arc<Mutex<Seats<i64>>>,
    is_behind: Arc<AtomicBool>,
    waker: Sender<()>,
    standing: watch::Receiver<Arc<Standing>>,
}

/// Where they are heard.
pub struct Orders {
    orders: Receiver<Order>,
    is_behind: Arc<AtomicBool>,
    standing: watch::Sender<Arc<Standing>>,
}

/// Both ends. `waker` has the thread look that hears them.
pub fn channel(waker: Sender<()>) -> (Makers, Orders) {
    let (orders, to_do) = bounded(ORDERS_MAX);
    let waiting = Arc::new(Mutex::new(Seats::new(ORDERS_MAX, ORDERS_OF_ACCOUNT_MAX)));
    let (tell, standing) = watch::channel(Arc::default());
    let is_behind = Arc::new(AtomicBool::new(false));
    let to_hear = Orders { orders: to_do, is_behind: Arc::clone(&is_behind), standing: tell };
    (Makers { orders, waiting, is_behind, waker, standing }, to_hear)
}

impl Makers {
    /// Has it done, and waits until it is in force at every worker.
    ///
    /// # Errors
    /// Why nothing was changed; [`Refused::Unheard`] where it was.
    pub async fn put(&self, asker: Asker, change: Change, now_s: i64) -> Result<Outcome, Refused> {
        self.send(asker, change, false, now_s).await
    }

    /// Finds out whether it could be done, and does nothing.
    ///
    /// # Errors
    /// Why not.
    pub async fn try_out(
        &self,
        asker: Asker,
        change: Change,
        now_s: i64,
    ) -> Result<Outcome, Refused> {
        self.send(asker, change, true, now_s).await
    }

    async fn send(
        &self,
        asker: Asker,
        change: Change,
        is_trial: bool,
        now_s: i64,
    ) -> Result<Outcome, Refused> {
        let seat = self.waiting.lock().await.take(Some(asker.who.account));
        let seat = Some(seat.map_err(Refused::Busy)?);
        let (answer, told) = oneshot::channel();
        let order = Order { asker, change, is_trial, now_s, answer, seat };
        if self.orders.try_send(order).is_err() {
            return Err(Refused::Busy(Taken::All));
        }
        // A wake that waits already is as good.
        let _ = self.waker.try_send(());
        told.await.map_err(|_| Refused::Store(StoreError::Stopped))?
    }

    /// The store may have other packages, or other owners of them, than are in force.
    pub fn look(&self) {
        self.is_behind.store(true, SeqCst);
        let _ = self.waker.try_send(());
    }

    /// How it stands.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.borrow())
    }
}

impl Orders {
    /// The next that waits. A trial of whom nobody hears any more is left out.
    pub fn next(&self) -> Option<Order> {
        self.orders.try_iter().find(|order| !order.is_trial || !order.answer.is_closed())
    }

    /// Whether the store may have others than are in force, since this was asked last.
    pub fn is_behind(&self) -> bool {
        self.is_behind.swap(false, SeqCst)
    }

    /// This is in force from now on.
    pub fn stands(&self, standing: Standing) {
        self.standing.send_replace(Arc::new(standing));
    }
}

impl Order {
    /// Tells who asked.
    pub fn answer(self, outcome: Result<Outcome, Refused>) {
        // Who no longer listens has gone away; what was done is done.
        let _ = self.answer.send(outcome);
    }
}

/// Changes that may wait, of all accounts and of one: the thread that does them looks at the configuration file
/// between one and the next.
const ORDERS_MAX: usize = 64;
const ORDERS_OF_ACCOUNT_MAX: usize = 4;

#[cfg(test)]
pub(super) mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::control::accounts::sessions::By;

    fn asker(account: i64) -> Asker {
        let who = Who { account, login: "ada".to_owned(), by: By::Session(1) };
        Asker { who, confirms: false, keeps: None }
    }

    fn made() -> Change {
        Change::Make { organisation: 1, written: Written::default() }
    }

    /// Asks for something to be done, and goes away.
    pub(in crate::control) fn ask_and_go(makers: &Makers) {
        let asked = pin!(makers.put(asker(1), made(), 0));
        assert!(asked.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn an_account_has_a_few_changes_waiting_and_others_go_ahead() {
        let (makers, orders) = channel(bounded(1).0);
        let mut context = Context::from_waker(Waker::noop());
        let mut ask = |account| {
            let mut asked = Box::pin(makers.put(asker(account), made(), 0));
            let first = asked.as_mut().poll(&mut context);
            (asked, first)
        };
        let mut waiting: Vec<_> = (0..ORDERS_OF_ACCOUNT_MAX).map(|_| ask(1)).collect();
        assert!(waiting.iter().all(|(_, first)| first.is_pending()));
        let refused = |(_, first): (_, Poll<_>)| match first {
            Poll::Ready(Err(Refused::Busy(taken))) => Some(taken),
            Poll::Ready(_) | Poll::Pending => None,
        };
        assert_eq!(refused(ask(1)), Some(Taken::Own));
        waiting.extend((0..ORDERS_MAX - ORDERS_OF_ACCOUNT_MAX).map(|at| ask(2 + at as i64)));
        assert!(waiting.iter().all(|(_, first)| first.is_pending()), "others' wait too");
        assert_eq!(refused(ask(1000)), Some(Taken::All));
        // Who goes away leaves no room: what was asked for is still to be done.
        waiting.clear();
        assert_eq!(refused(ask(1)), Some(Taken::Own));
        orders.next().unwrap().answer(Err(Refused::Changed));
        assert_eq!(refused(ask(1)), None, "one is done");
    }

    #[test]
    fn a_trial_that_nobody_waits_for_is_left_out() {
        let (makers, orders) = channel(bounded(1).0);
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut gone = pin!(makers.try_out(asker(1), made(), 0));
            assert!(gone.as_mut().poll(&mut context).is_pending());
        }
        let mut there = pin!(makers.try_out(asker(2), made(), 0));
        assert!(there.as_mut().poll(&mut context).is_pending());
        assert_eq!(orders.next().unwrap().asker.who.account, 2);
        assert!(orders.next().is_none());
    }
}
