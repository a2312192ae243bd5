//! The aggregator's thread: one round after another, each bounded.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::aggregator::amend::{Amendment, Erasure};
use crate::aggregator::ask::QueryError;
use crate::aggregator::books::Books;
use crate::aggregator::clients::Clients;
use crate::aggregator::clock::{Clock, Look, month_begins};
use crate::aggregator::days::Days;
use crate::aggregator::giving_way::give_way;
use crate::aggregator::health::{Health, add, set};
use crate::aggregator::inbox::{Arrival, Inbox};
use crate::aggregator::names::{Bounds, Names};
use crate::aggregator::persist::Persist;
use crate::aggregator::places::Places;
use crate::aggregator::succession::{Before, Beginning, Forwarding, Known, Legacy};
use crate::aggregator::uniques::Uniques;
use crate::aggregator::view::View;
use crate::aggregator::{Options, Order, Reconfigured};
use crate::messages::pulls::{FLUSH_US_MAX, PAGE_AGE_US_MAX, Parcel, PullReceiver};
use crate::messages::random::random;
use crate::pure::config::values::Counting;
use crate::pure::pull::fold::Fold;

/// What the thread owns.
pub struct Aggregating {
    counting: Counting,
    inbox: Inbox,
    fold: Fold,
    /// The UTC day whose key folding uses.
    key_day: u32,
    /// The one whose clients are counted.
    days: Days,
    clock: Clock,
    look: Look,
    books: Books,
    persist: Persist,
    health: Arc<Health>,
    next_flush_us: u64,
    /// Until when workers of the process before this one are waited for at the end.
    foreign_until_us: u64,
}

/// How counting ends.
enum End {
    /// By being told to stop: what the workers had left then.
    Stop(Vec<Vec<Parcel>>),
    /// By handing over to another process; whether everything was.
    HandedOver(bool),
}

impl Aggregating {
    /// Nothing is counted yet, and the store is not open.
    pub fn new(
        options: Options,
        receivers: Vec<PullReceiver>,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        let Options { data_dir, counting, insight, clients, sources, look } = options;
        let clock = look();
        let node = u64::from_ne_bytes(random()?);
        Ok(Self {
            inbox: Inbox::new(receivers),
            fold: Fold::new(random()?, micros(counting.window)),
            key_day: clock.minute_now() / MINUTES_PER_DAY,
            days: Days::new(clock.minute_now() / MINUTES_PER_DAY, clock),
            clock,
            look,
            books: Books::new(
                Clients::new(clients),
                Places::new(sources),
                Uniques::new(random()?, insight.unique_window, insight.k_public),
                counting.respect_dnt,
                Names::new(bounds(&counting)),
            ),
            persist: Persist::new(data_dir, None, Arc::clone(&health), node),
            health,
            next_flush_us: 0,
            foreign_until_us: 0,
            counting,
        })
    }

    /// Begins as it is told, perhaps where another process has ended.
    fn begin(&mut self, beginning: Beginning) {
        let Beginning { lock, before } = beginning;
        self.persist.lock = Some(lock);
        let Some(Before { estate, lanes, lasts_us }) = before else {
            return;
        };
        self.clock = (self.look)();
        self.foreign_until_us = self.clock.now_us.saturating_add(lasts_us);
        self.inbox.add_foreign(lanes, self.clock.now_us);
        let Some(fold) = estate.fold.restored(micros(self.counting.window)) else {
            tracing::error!("open windows were not handed over: their pulls may be counted again");
            return;
        };
        (self.fold, self.key_day) = (fold, estate.key_day);
        self.days = Days::new(estate.unique_day, self.clock);
        self.books.inherit(estate.names, estate.clients, estate.places, estate.uniques);
        self.books.names.set_bounds(bounds(&self.counting));
    }

    /// Counts, once it may, until it is told to stop, or nobody is left who could; whether all was
    /// written, or handed over. A panic costs what a kill would, windows that are open, but never the
    /// counting itself.
    pub(super) fn run(mut self, begin: &Receiver<Beginning>, orders: &Receiver<Order>) -> bool {
        let Ok(beginning) = begin.recv() else {
            return true;
        };
        self.begin(beginning);
        let rest = loop {
            match catch_unwind(AssertUnwindSafe(|| self.count(orders))) {
                Ok(End::Stop(rest)) => break rest,
                Ok(End::HandedOver(wholly)) => return wholly,
                Err(_) => self.recover(),
            }
        };
        catch_unwind(AssertUnwindSafe(|| self.stop(rest, orders))).unwrap_or_else(|_| {
            self.recover();
            false
        })
    }

    /// Counts until it is told to stop, or another process goes on.
    fn count(&mut self, orders: &Receiver<Order>) -> End {
        let mut pause = PAUSE_MIN;
        loop {
            let taken = self.round();
            pause = match taken {
                0 => (pause * 2).min(PAUSE_MAX),
                EVENTS_PER_ROUND.. => Duration::ZERO,
                _ => PAUSE_MIN,
            };
            // Waiting for orders rather than for events: a worker never pays for waking anybody.
            match orders.recv_timeout(pause) {
                Ok(Order::Stop(rest)) => return End::Stop(rest),
                Err(RecvTimeoutError::Disconnected) => return End::Stop(Vec::new()),
                Ok(Order::View(reply)) => {
                    // Also what the next flush is going to write.
                    self.books.drain(&mut self.persist, self.days.day);
                    let view = self.persist.view(&self.books.names);
                    // Whoever asked may have gone.
                    let _ = reply.try_send(view);
                }
                Ok(Order::Amend(amendment, reply)) => {
                    let _ = reply.try_send(self.amend(&amendment));
                }
                Ok(Order::Copy(reply)) => {
                    self.books.drain(&mut self.persist, self.days.day);
                    let kept = self.persist.kept(&mut self.books.names, self.clock.now_us);
                    let _ = reply.try_send(kept.map_err(QueryError::Unavailable));
                }
                Ok(Order::Answer(reply)) => {
                    // Who asked has room for it, or has gone.
                    let _ = reply.try_send(());
                }
                Ok(Order::Subscribe(follower)) => self.books.followers.add(follower),
                Ok(Order::Reconfigure(new)) => self.reconfigure(*new),
                Ok(Order::LetGo(reply)) => {
                    let legacy = self.let_go();
                    let lets_go = legacy.is_ok();
                    // Who asked gives the next order too, whatever it is.
                    let _ = reply.try_send(legacy);
                    if lets_go && let Some(end) = self.stand_by(orders) {
                        return end;
                    }
                }
                // Nothing was let go of.
                Ok(Order::TakeBack(_) | Order::Forward(_)) => {}
                #[cfg(test)]
                Ok(Order::Panic) => std::panic::panic_any("a defect"),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn reconfigure(&mut self, new: Reconfigured) {
        let Reconfigured { counting, insight, clients, sources } = new;
        self.fold.set_window(micros(counting.window));
        self.books.names.set_bounds(bounds(&counting));
        self.books.clients.set_table(clients);
        self.books.places.set_sources(sources);
        self.books.uniques.set(insight.unique_window, insight.k_public);
        self.books.respect_dnt = counting.respect_dnt;
        self.counting = counting;
    }

    /// Writes all that was counted, lets go of the store, and says what another process needs to
    /// know to go on. What the workers send from now on waits.
    fn let_go(&mut self) -> Result<Legacy, String> {
        self.books.drain(&mut self.persist, self.days.day);
        let (books, now_us) = (&self.books, self.clock.now_us);
        let known = Known {
            fold: &self.fold,
            key_day: self.key_day,
            names: &books.names,
            clients: books.clients.list(),
            places: books.places.list(),
            uniques: &books.uniques,
            unique_day: self.days.day,
        };
        let estate = known.bytes()?;
        self.persist.let_go(&mut self.books.names, now_us)?;
        Ok(Legacy { estate, lanes: self.inbox.lanes_left() })
    }

    /// Waits for another process to go on, or not to: then `None`.
    fn stand_by(&mut self, orders: &Receiver<Order>) -> Option<End> {
        let mut stopped = None;
        loop {
            match orders.recv() {
                Ok(Order::TakeBack(lock)) => {
                    self.persist.lock = lock;
                    return stopped.map(End::Stop);
                }
                Ok(Order::Forward(to)) => {
                    let to = Forwarding::new(to);
                    return Some(End::HandedOver(self.forward(orders, to, stopped)));
                }
                // Who counts from now on is known soon.
                Ok(Order::Stop(rest)) => stopped = Some(rest),
                Ok(other) => self.put_off(other),
                Err(_) => return Some(End::Stop(stopped.unwrap_or_default())),
            }
        }
    }

    /// Hands on what workers send to the process that counts now, until none is left.
    fn forward(
        &mut self,
        orders: &Receiver<Order>,
        mut to: Forwarding,
        mut stopped: Option<Vec<Vec<Parcel>>>,
    ) -> bool {
        let mut is_stopped = false;
        loop {
            if let Some(rest) = stopped.take() {
                self.inbox.end(rest);
                is_stopped = true;
            }
            self.inbox.forward(|lane, what| to.give(lane, what));
            let waits_for_foreign =
                self.inbox.has_foreign() && (self.look)().now_us < self.foreign_until_us;
            if is_stopped && !waits_for_foreign {
                return to.end();
            }
            match orders.recv_timeout(PAUSE_FORWARDING) {
                Ok(Order::Stop(rest)) => stopped = Some(rest),
                Ok(other) => self.put_off(other),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_stopped = true,
            }
        }
    }

    /// What is answered by who does not count. Who asks may have gone.
    fn put_off(&mut self, order: Order) {
        let elsewhere = || ELSEWHERE.to_owned();
        match order {
            Order::View(reply) => {
                let _ = reply.try_send(View::unavailable(elsewhere()));
            }
            Order::Amend(_, reply) => {
                let _ = reply.try_send(Err(QueryError::Unavailable(elsewhere())));
            }
            Order::Copy(reply) => {
                let _ = reply.try_send(Err(QueryError::Unavailable(elsewhere())));
            }
            Order::LetGo(reply) => {
                let _ = reply.try_send(Err(elsewhere()));
            }
            Order::Answer(reply) => {
                let _ = reply.try_send(());
            }
            Order::Subscribe(follower) => self.books.followers.add(follower),
            Order::Reconfigure(new) => self.reconfigure(*new),
            Order::Stop(_) | Order::TakeBack(_) | Order::Forward(_) => {}
            #[cfg(test)]
            Order::Panic => {}
        }
    }

    /// Changes what was counted. What is erased goes from memory too: also windows that are open, and
    /// of today's clients, the month's companies and all names those that nothing is left of.
    fn amend(&mut self, amendment: &Amendment) -> Result<(), QueryError> {
        self.books.drain(&mut self.persist, self.days.day);
        let Self { fold, books: Books { names, uniques, .. }, persist, clock, .. } = self;
        let today = self.days.day * MINUTES_PER_DAY;
        // Packages with windows that stay open, once something is erased.
        let mut in_use: Option<HashSet<u32>> = None;
        let forget = |erasure: &Erasure, names: &mut Names| {
            let gone: Vec<bool> =
                names.packages().iter().map(|package| erasure.scope.has(&package.shown)).collect();
            let is_gone = |package| gone.get(package as usize).is_some_and(|is_gone| *is_gone);
            fold.forget_some(|package, minute| is_gone(package) && erasure.has(minute));
            if erasure.has_any(month_begins(today)..today + MINUTES_PER_DAY) {
                uniques.forget_packages(is_gone, erasure.has(today));
            }
            let (mut packages, mut rows) = (HashSet::new(), HashSet::new());
            for (package, named) in fold.open_windows().filter(|(package, _)| is_gone(*package)) {
                packages.insert(package);
                rows.extend(named);
            }
            names.forget_rows(is_gone, &rows);
            in_use = Some(packages);
        };
        let amended = persist.amend(amendment, names, clock.now_us, forget);
        if let (Amendment::Erase(Erasure { scope, .. }), Some(in_use)) = (amendment, in_use)
            && let Some(kept) = persist.packages()
        {
            names.forget_packages(|number, package| {
                scope.has(&package.shown)
                    && !in_use.contains(&number)
                    && !kept.contains(&*package.shown)
            });
        }
        amended
    }

    /// Goes on after a panic, without what it may have left half done.
    fn recover(&mut self) {
        tracing::error!(
            "counting panicked: a defect, please report it. Counting goes on; pulls that were \
             under way may be counted again, checks that were are lost"
        );
        add(&self.health.aggregator_panics_total, 1);
        self.fold.forget();
        self.persist.distrust(self.clock.now_us);
    }

    /// Takes the events that are old enough and writes what is due. How many events it took.
    fn round(&mut self) -> usize {
        self.clock = (self.look)();
        self.change_key();
        self.inbox.begin(self.clock.now_us);
        let held_back_us = match self.inbox.has_foreign() {
            true => HOLD_BACK_US + FORWARDING_US_MAX,
            false => HOLD_BACK_US,
        };
        let until_us = self.clock.now_us.saturating_sub(held_back_us);
        let taken = self.take(until_us, EVENTS_PER_ROUND);
        if taken < EVENTS_PER_ROUND {
            // Not by the clock alone: what would have joined a window may wait in a worker.
            let until_us = self.inbox.complete_until(until_us);
            self.fold.pass(until_us, &mut |booking| self.books.book(&booking));
        }
        self.persist.apply(self.clock.now_us);
        if self.books.tally.is_full() {
            self.books.drain(&mut self.persist, self.days.day);
        }
        if self.clock.now_us >= self.next_flush_us {
            self.next_flush_us = self.clock.now_us + micros(self.counting.flush);
            self.flush();
            let (retention, now_us) = (&self.counting.retention, self.clock.now_us);
            self.persist.maintain(retention, now_us, self.clock.minute_now());
        }
        self.tell();
        taken
    }

    /// Ends in order; whether all was written.
    fn stop(&mut self, rest: Vec<Vec<Parcel>>, orders: &Receiver<Order>) -> bool {
        self.inbox.end(rest);
        loop {
            while self.take(u64::MAX, EVENTS_PER_ROUND) > 0 {}
            self.clock = (self.look)();
            if !self.inbox.has_foreign() || self.clock.now_us >= self.foreign_until_us {
                break;
            }
            if let Ok(order) = orders.recv_timeout(PAUSE_MAX) {
                self.put_off(order);
            }
        }
        self.fold.close(&mut |booking| self.books.book(&booking));
        self.flush();
        self.tell();
        self.persist.close(&mut self.books.names)
    }

    fn flush(&mut self) {
        self.books.drain(&mut self.persist, self.days.day);
        self.persist.flush(&mut self.books.names, self.clock.now_us);
    }

    fn take(&mut self, until_us: u64, events_max: usize) -> usize {
        let Self { inbox, fold, books, clock, .. } = self;
        let mut taken = 0;
        inbox.merge(until_us, events_max, |arrival| {
            taken += 1;
            give_way(taken);
            match arrival {
                Arrival::Event(event) => books.take(&event, clock, fold),
                Arrival::Unfolded(unfolded) => books.take_unfolded(&unfolded, clock),
            }
        })
    }

    /// New keys each UTC day: what a client did on two days cannot be tied together.
    fn change_key(&mut self) {
        if let Some(day) = self.days.next(&self.clock) {
            self.turn_to(day);
        }
        let day = self.clock.minute_now() / MINUTES_PER_DAY;
        if day == self.key_day {
            return;
        }
        match random() {
            Ok(key) if self.fold.rotate(key) => self.key_day = day,
            // The key before is still in use: later.
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "no random bytes for a new folding key"),
        }
    }

    /// From now on the clients of this day are counted, and the companies of its month.
    fn turn_to(&mut self, day: u32) {
        let month = |day| month_begins(day * MINUTES_PER_DAY);
        let is_month_over = month(day) != month(self.days.day);
        if is_month_over {
            // What is not known of the month that ends will not be learned any more.
            self.books.uniques.learn_companies(&[]);
        }
        self.books.drain(&mut self.persist, self.days.day);
        let key = match random() {
            Ok(key) => key,
            Err(error) => {
                return tracing::error!(%error, "no random bytes for a new key of clients");
            }
        };
        self.books.uniques.turn(is_month_over, key);
        self.days.day = day;
        if is_month_over && self.days.is_doubted() {
            // By a clock that was set it may be a month of which some were counted before.
            self.books.learn_companies_of(month(day), &mut self.persist);
        }
    }

    /// Says how it stands.
    fn tell(&mut self) {
        let health = &*self.health;
        let booked = std::mem::take(&mut self.books.booked);
        add(&health.requests, booked.requests);
        add(&health.pulls, booked.pulls);
        add(&health.checks, booked.checks);
        add(&health.supply_chain, booked.supply_chain);
        add(&health.unfolded, booked.unfolded);
        add(&health.feed_dropped_total, std::mem::take(&mut self.books.feed_dropped));
        let fold = self.fold.meters();
        set(&health.fold_windows_open, fold.windows_open as u64);
        set(&health.fold_evictions_total, fold.evictions);
        set(&health.fold_joined_connections_total, fold.joined_connections);
        let beyond = self.books.names.beyond;
        set(&health.other_names_total, beyond.names);
        set(&health.other_tags_total, beyond.tags);
        set(&health.other_clients_total, beyond.clients);
        set(&health.other_places_total, beyond.places);
        set(&health.uniques_beyond_total, self.books.uniques.beyond);
        set(&health.crowds_beyond_total, self.books.uniques.crowds_beyond);
    }
}

fn bounds(counting: &Counting) -> Bounds {
    let Counting { max_names, max_tags, max_clients, .. } = *counting;
    Bounds { max_names, max_tags, max_clients }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How long events are held back, so that those of all workers can be put in order: longer than an
/// event may wait in a worker, which sends its page at each flush or when the page is old.
const HOLD_BACK_US: u64 = 50_000;
const _: () = assert!(HOLD_BACK_US > FLUSH_US_MAX + PAGE_AGE_US_MAX);
/// How much later what workers of another process send may come: they and what lies between look every
/// few milliseconds.
const FORWARDING_US_MAX: u64 = 200_000;
/// How long the thread pauses while it only hands on.
const PAUSE_FORWARDING: Duration = Duration::from_millis(5);
/// Where the counts are, for who asks for them meanwhile.
const ELSEWHERE: &str = "another process takes over; ask again";
/// How long the thread pauses between two rounds while there are events, and when there are none.
/// Each waking costs some ten microseconds, whatever it finds; a round on a worker's core is a pause for
/// that worker, the longer the more there is to do in it.
const PAUSE_MIN: Duration = Duration::from_millis(3);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// A round is bounded, so that orders and writing have their turn.
const EVENTS_PER_ROUND: usize = 50_000;
const MINUTES_PER_DAY: u32 = 24 * 60;

#[cfg(test)]
mod tests {
    use crate::aggregator::clock::Clock;
    use crate::aggregator::feed::BEHIND_MAX;
    use crate::aggregator::health::Health;
    use crate::aggregator::lock::Lock;
    use crate::aggregator::{Aggregator, Ask, Options, Order, open_offline, spawn};
    use crate::messages::clock::monotonic_us;
    use crate::messages::pulls::{PullSender, channel};
    use crate::pure::client::ClientTable;
    use crate::pure::config::values::{Counting, Insight, Retention, UniqueWindow};
    use crate::pure::pull::event::{Address, Asked, Event, Outcome, Way};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    fn event() -> Event<'static> {
        Event {
            at_us: monotonic_us(),
            address: Address([1; 16]),
            connection: 1,
            asked: Asked::Manifest,
            outcome: Outcome::Redirected,
            way: Way::Redirect,
            is_private: false,
            id: b"",
            domain: b"acme.com",
            collection: b"",
            name: b"rocket",
            reference: b"latest",
            user_agent: b"",
            digest: b"",
            kin: b"",
            bytes: 0,
        }
    }

    fn insight() -> Insight {
        Insight {
            databases: Vec::new(),
            cities: false,
            networks: None,
            k_public: 10,
            unique_window: UniqueWindow::Day,
        }
    }

    fn options(dir: &std::path::Path) -> Options {
        let counting = Counting {
            flush: Duration::from_millis(20),
            window: Duration::from_secs(60),
            retention: Retention { minute: None, hour: None, day: None },
            max_names: 10,
            max_tags: 10,
            max_clients: 10,
            respect_dnt: true,
        };
        Options {
            data_dir: dir.to_owned(),
            counting,
            insight: insight(),
            clients: ClientTable::built_in(),
            sources: Arc::default(),
            look: Arc::new(Clock::look),
        }
    }

    /// An aggregator that counts what one worker sends.
    fn start(dir: &std::path::Path) -> (Aggregator, PullSender, Arc<Health>) {
        let lock = Lock::take(dir).unwrap();
        let (sender, receiver) = channel();
        let health = Arc::new(Health::default());
        let aggregator = spawn(options(dir), lock, vec![receiver], Arc::clone(&health)).unwrap();
        (aggregator, sender, health)
    }

    #[test]
    fn counting_goes_on_after_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let (aggregator, mut sender, health) = start(dir.path());
        sender.offer(&event());
        aggregator.orders.send(Order::Panic).unwrap();
        sender.offer(&event());
        sender.flush();
        // Opening the store is tried again after a second.
        let deadline = Instant::now() + Duration::from_secs(30);
        let is = |number: &AtomicU64| number.load(Ordering::Relaxed) == 1;
        while !(is(&health.aggregator_panics_total) && is(&health.store_ok)) {
            assert!(Instant::now() < deadline, "the store is not opened again");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        assert!(aggregator.stop(Vec::new()), "everything is written");
        assert_eq!(health.aggregator_panics_total.load(Ordering::Relaxed), 1);
        let answer = open_offline(dir.path()).unwrap().rows(&Ask::default()).unwrap();
        assert_eq!(answer.totals.requests, 2);
    }

    #[test]
    fn who_follows_one_package_misses_nothing_of_it_for_what_is_pulled_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let (aggregator, mut sender, health) = start(dir.path());
        let feed = aggregator.query().subscribe(|package| package == "acme.com/rocket");
        let all = aggregator.subscribe();
        assert!(aggregator.answers()(Duration::from_secs(30)), "it knows of them");
        let pull = |number: usize, name| {
            // Each from a network of its own.
            let address = Address((u128::try_from(number).unwrap() << 64).to_be_bytes());
            let user_agent = b"containers/5.34.2 (github.com/containers/image)";
            Event { address, name, user_agent, at_us: monotonic_us(), ..event() }
        };
        // Nobody reads meanwhile.
        let others = 2 * BEHIND_MAX;
        for number in 0..others {
            sender.offer(&pull(number, b"sledge"));
        }
        sender.offer(&pull(others, b"rocket"));
        sender.flush();
        assert!(aggregator.stop(vec![sender.rest()]));
        let told: Vec<_> = feed.iter().map(|booked| booked.package).collect();
        assert_eq!(told, ["acme.com/rocket"]);
        // What somebody means is bounded as well.
        assert_eq!(all.iter().count(), BEHIND_MAX);
        let dropped = health.feed_dropped_total.load(Ordering::Relaxed);
        assert_eq!(dropped, u64::try_from(others + 1 - BEHIND_MAX).unwrap());
    }
}
