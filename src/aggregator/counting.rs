//! The aggregator's thread: one round after another, each bounded.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use crate::aggregator::amend::{Amendment, Erasure};
use crate::aggregator::ask::QueryError;
use crate::aggregator::clients::Clients;
use crate::aggregator::clock::{Clock, Look, month_begins};
use crate::aggregator::health::{Health, add, set};
use crate::aggregator::inbox::{Arrival, Inbox};
use crate::aggregator::lock::Lock;
use crate::aggregator::names::{Bounds, Names, PackageTexts};
use crate::aggregator::persist::Persist;
use crate::aggregator::places::{NOWHERE, Places};
use crate::aggregator::tally::{Tally, value_of};
use crate::aggregator::uniques::{Rise, Uniques};
use crate::aggregator::{Booked, Options, Order, Reconfigured};
use crate::messages::pulls::{
    FLUSH_US_MAX, PAGE_AGE_US_MAX, Parcel, PullReceiver, Unfolded, UnfoldedRequests,
};
use crate::messages::random::random;
use crate::pure::config::values::Counting;
use crate::pure::http1::forwarded::client_key;
use crate::pure::pull::event::{Address, Asked, Event};
use crate::pure::pull::fold::{Booking, Fold, Request};
use crate::pure::pull::platform::Platform;
use crate::pure::pull::rollup::{Cell, Dimension, Measures, Unit};
use crate::pure::pull::window::{Subject, TagRow};

/// What the thread owns.
pub struct Aggregating {
    counting: Counting,
    inbox: Inbox,
    fold: Fold,
    /// The UTC day whose key folding uses.
    key_day: u32,
    /// The one whose clients are counted.
    unique_day: u32,
    clock: Clock,
    look: Look,
    books: Books,
    persist: Persist,
    health: Arc<Health>,
    next_flush_us: u64,
}

/// Where bookings go, and what gives them their names.
struct Books {
    clients: Clients,
    places: Places,
    uniques: Uniques,
    /// See [`Counting::respect_dnt`].
    respect_dnt: bool,
    names: Names,
    tally: Tally,
    feeds: Vec<Sender<Booked>>,
    booked: Measures,
    feed_dropped: u64,
}

impl Aggregating {
    /// Nothing is counted yet, and the store is not open.
    pub fn new(
        options: Options,
        lock: Lock,
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
            unique_day: clock.minute_now() / MINUTES_PER_DAY,
            clock,
            look,
            books: Books {
                clients: Clients::new(clients),
                places: Places::new(sources),
                uniques: Uniques::new(random()?, insight.unique_window, insight.k_public),
                respect_dnt: counting.respect_dnt,
                names: Names::new(bounds(&counting)),
                tally: Tally::default(),
                feeds: Vec::new(),
                booked: Measures::ZERO,
                feed_dropped: 0,
            },
            persist: Persist::new(data_dir, lock, Arc::clone(&health), node),
            health,
            next_flush_us: 0,
            counting,
        })
    }

    /// Counts until it is told to stop, or nobody is left who could; whether all was written. A
    /// panic costs what a kill would, windows that are open, but never the counting itself.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> bool {
        let rest = loop {
            match catch_unwind(AssertUnwindSafe(|| self.count(orders))) {
                Ok(rest) => break rest,
                Err(_) => self.recover(),
            }
        };
        catch_unwind(AssertUnwindSafe(|| self.stop(rest))).unwrap_or_else(|_| {
            self.recover();
            false
        })
    }

    /// Counts until it is told to stop: what the workers had left then.
    fn count(&mut self, orders: &Receiver<Order>) -> Vec<Vec<Parcel>> {
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
                Ok(Order::Stop(rest)) => return rest,
                Err(RecvTimeoutError::Disconnected) => return Vec::new(),
                Ok(Order::View(reply)) => {
                    // Also what the next flush is going to write.
                    self.books.drain(&mut self.persist, self.unique_day);
                    let view = self.persist.view(&self.books.names);
                    // Whoever asked may have gone.
                    let _ = reply.try_send(view);
                }
                Ok(Order::Amend(amendment, reply)) => {
                    let _ = reply.try_send(self.amend(&amendment));
                }
                Ok(Order::Subscribe(feed)) => self.books.feeds.push(feed),
                Ok(Order::Reconfigure(new)) => {
                    let Reconfigured { counting, insight, clients, sources } = *new;
                    self.fold.set_window(micros(counting.window));
                    self.books.names.set_bounds(bounds(&counting));
                    self.books.clients.set_table(clients);
                    self.books.places.set_sources(sources);
                    self.books.uniques.set(insight.unique_window, insight.k_public);
                    self.books.respect_dnt = counting.respect_dnt;
                    self.counting = counting;
                }
                #[cfg(test)]
                Ok(Order::Panic) => std::panic::panic_any("a defect"),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Changes what was counted. What is erased goes from memory too: also windows that are open, and
    /// of today's clients, and the month's companies, those that nothing is left of.
    fn amend(&mut self, amendment: &Amendment) -> Result<(), QueryError> {
        self.books.drain(&mut self.persist, self.unique_day);
        let (fold, uniques) = (&mut self.fold, &mut self.books.uniques);
        let today = self.unique_day * MINUTES_PER_DAY;
        let forget = |erasure: &Erasure, names: &Names| {
            let gone: Vec<bool> =
                names.packages().iter().map(|package| erasure.scope.has(&package.shown)).collect();
            let is_gone = |package| gone.get(package as usize).is_some_and(|is_gone| *is_gone);
            fold.forget_some(|package, minute| is_gone(package) && erasure.has(minute));
            if erasure.has_any(month_begins(today)..today + MINUTES_PER_DAY) {
                uniques.forget_packages(is_gone, erasure.has(today));
            }
        };
        self.persist.amend(amendment, &mut self.books.names, self.clock.now_us, forget)
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
        let until_us = self.clock.now_us.saturating_sub(HOLD_BACK_US);
        let taken = self.take(until_us, EVENTS_PER_ROUND);
        if taken < EVENTS_PER_ROUND {
            // Not by the clock alone: what would have joined a window may wait in a worker.
            let until_us = self.inbox.complete_until(until_us);
            self.fold.pass(until_us, &mut |booking| self.books.book(&booking));
        }
        self.persist.apply(self.clock.now_us);
        if self.books.tally.is_full() {
            self.books.drain(&mut self.persist, self.unique_day);
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
    fn stop(&mut self, rest: Vec<Vec<Parcel>>) -> bool {
        self.inbox.end(rest);
        while self.take(u64::MAX, EVENTS_PER_ROUND) > 0 {}
        self.fold.close(&mut |booking| self.books.book(&booking));
        self.flush();
        self.tell();
        self.persist.close(&mut self.books.names)
    }

    fn flush(&mut self) {
        self.books.drain(&mut self.persist, self.unique_day);
        self.persist.flush(&mut self.books.names, self.clock.now_us);
    }

    fn take(&mut self, until_us: u64, events_max: usize) -> usize {
        let Self { inbox, fold, books, clock, .. } = self;
        inbox.merge(until_us, events_max, |arrival| match arrival {
            Arrival::Event(event) => books.take(&event, clock, fold),
            Arrival::Unfolded(unfolded) => books.take_unfolded(&unfolded, clock),
        })
    }

    /// New keys each UTC day: what a client did on two days cannot be tied together.
    fn change_key(&mut self) {
        let day = self.clock.minute_now() / MINUTES_PER_DAY;
        if day != self.unique_day {
            let month = |day| month_begins(day * MINUTES_PER_DAY);
            let is_month_over = month(day) != month(self.unique_day);
            if is_month_over {
                // What is not known of the month that ends will not be learned any more.
                self.books.uniques.learn_companies(&[]);
            }
            self.books.drain(&mut self.persist, self.unique_day);
            match random() {
                Ok(key) => {
                    self.books.uniques.turn(is_month_over, key);
                    self.unique_day = day;
                }
                Err(error) => tracing::error!(%error, "no random bytes for a new key of clients"),
            }
        }
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

impl Books {
    /// One event: what it is, and what it makes.
    fn take(&mut self, event: &Event<'_>, clock: &Clock, fold: &mut Fold) {
        let Event { id, domain, collection, name, .. } = *event;
        let package = self.names.package(PackageTexts { id, domain, collection, name });
        let names_tag = matches!(event.asked, Asked::Manifest | Asked::ManifestHead)
            && Subject::of(event.reference) == Subject::Tag;
        let row = match names_tag {
            true => self.names.tag(package, event.reference),
            false => TagRow::BY_DIGEST,
        };
        let number = self.clients.identify(event.user_agent);
        let client = self.clients.identified(number);
        let request = Request {
            at_us: event.at_us,
            minute: clock.minute(event.at_us),
            source: Address(client_key(event.address.0)),
            connection: event.connection,
            asked: event.asked,
            outcome: event.outcome,
            way: event.way,
            package,
            package_identity: self.names.identity(),
            client: number,
            family: &client.family,
            major: client.major(),
            reference: event.reference,
            row,
            digest: event.digest,
            kin: event.kin,
            bytes: event.bytes,
        };
        let (names, clients) = (&self.names, &self.clients);
        let (tally, booked) = (&mut self.tally, &mut self.booked);
        let uniques = &mut self.uniques;
        let (feeds, dropped) = (&mut self.feeds, &mut self.feed_dropped);
        let is_private = event.is_private && self.respect_dnt;
        // The only use of an address beside the folding key: it ends with this event.
        let places = RefCell::new(&mut self.places);
        // Who does not want to be tracked is nowhere, but in the operator's own excluded networks.
        let allowed = |places: &Places, place| match is_private && !places.is_excluded(place) {
            true => NOWHERE,
            false => place,
        };
        let mut locate = || {
            let place = places.borrow_mut().locate(event.address.0);
            allowed(*places.borrow(), place)
        };
        fold.take(&request, &mut locate, &mut |mut booking| {
            let places = &*places.borrow();
            // Its window may have been opened by one that had no such wish.
            booking.place = allowed(places, booking.place);
            include(&mut booking, places, tally);
            if booking.measures.pulls > 0 && !is_private {
                see(uniques, tally, request.source, &booking, places);
            }
            *booked += booking.measures;
            if booking.measures.pulls > 0 && !feeds.is_empty() {
                *dropped += tell_feeds(feeds, &booking, names, clients);
            }
        });
    }

    fn book(&mut self, booking: &Booking) {
        let mut booking = *booking;
        include(&mut booking, &self.places, &mut self.tally);
        self.booked += booking.measures;
    }

    /// Totals of requests whose events could not be kept.
    fn take_unfolded(&mut self, unfolded: &Unfolded, clock: &Clock) {
        let minute = clock.minute(unfolded.since_us);
        let client = self.clients.identify(b"");
        let booking = |package, UnfoldedRequests { all, unseen }| Booking {
            package,
            client,
            row: TagRow::UNFOLDED,
            place: NOWHERE,
            way: None,
            platform: Platform::NONE,
            minute,
            measures: Measures { requests: all, unseen, unfolded: all, ..Measures::ZERO },
        };
        for (package, requests) in &unfolded.requests {
            let (id, domain) = (&*package.id, &*package.domain);
            let (collection, name) = (&*package.collection, &*package.name);
            let package = self.names.package(PackageTexts { id, domain, collection, name });
            self.book(&booking(package, *requests));
        }
        if unfolded.requests_other.all > 0 {
            let package = self.names.package_unknown();
            self.book(&booking(package, unfolded.requests_other));
        }
    }

    /// Moves what was counted to where it waits to be written; unique clients are those of `day`.
    fn drain(&mut self, persist: &mut Persist, day: u32) {
        if let Some(companies) = persist.companies.take() {
            self.uniques.learn_companies(&companies);
        }
        let Self { tally, names, clients, places, uniques, .. } = self;
        let minute = day * MINUTES_PER_DAY;
        let (of_clients, of_companies) = uniques.rises();
        let of = |package| Cell {
            package,
            dimension: Dimension::All,
            value: Arc::default(),
            unit: Unit::Day,
            minute,
        };
        for Rise { package, by } in of_clients {
            persist.cells.add(of(package), Measures { daily_uniques: by, ..Measures::ZERO });
        }
        for Rise { package, by } in of_companies {
            persist.cells.add(of(package), Measures { monthly_companies: by, ..Measures::ZERO });
        }
        tally.drain(names, clients, places, &mut persist.cells, minute);
    }
}

/// Adds a booking; of one from a network that is left out only the requests, as such.
fn include(booking: &mut Booking, places: &Places, tally: &mut Tally) {
    if places.is_excluded(booking.place) {
        let excluded = booking.measures.requests;
        booking.measures = Measures { excluded, ..Measures::ZERO };
        booking.way = None;
        booking.platform = Platform::NONE;
        booking.place = NOWHERE;
    }
    if booking.measures != Measures::ZERO {
        tally.add(booking, places);
    }
}

/// Counts the client of a pull, its company, and whether a crowd has pulled from its place.
fn see(
    uniques: &mut Uniques,
    tally: &mut Tally,
    source: Address,
    booking: &Booking,
    places: &Places,
) {
    let Booking { package, place, row, .. } = *booking;
    uniques.see(package, source);
    if place == NOWHERE {
        return;
    }
    let company = places.value(place, Dimension::Company);
    if !company.is_empty() {
        uniques.see_company(package, company);
    }
    for dimension in Dimension::OF_PLACES {
        let value = places.value(place, dimension);
        if !value.is_empty() && uniques.crowds(source, package, dimension, value, None) {
            tally.crowd(package, dimension, value, None);
        }
    }
    for dimension in [Dimension::CountryTag, Dimension::CompanyTag] {
        let Some((of_place, _)) = dimension.pair() else { continue };
        let value = places.value(place, of_place);
        if !value.is_empty() && uniques.crowds(source, package, dimension, value, Some(row)) {
            tally.crowd(package, dimension, value, Some(row));
        }
    }
}

/// Tells all subscribers of a pull; how many were too slow. Those that are gone are forgotten.
fn tell_feeds(
    feeds: &mut Vec<Sender<Booked>>,
    booking: &Booking,
    names: &Names,
    clients: &Clients,
) -> u64 {
    let client = clients.get(booking.client);
    let package = names.packages().get(booking.package as usize);
    let booked = Booked {
        package: package.map(|package| package.shown.clone()).unwrap_or_default(),
        tag: names.text(booking.row).as_ref().to_owned(),
        client: client.family.clone(),
        version: client.version.clone(),
        platform: value_of(client, Dimension::Platform),
    };
    let mut dropped = 0;
    feeds.retain(|feed| match feed.try_send(booked.clone()) {
        Ok(()) => true,
        Err(TrySendError::Full(_)) => {
            dropped += 1;
            true
        }
        Err(TrySendError::Disconnected(_)) => false,
    });
    dropped
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
/// How long the thread pauses between two rounds while there are events, and when there are none.
/// Each waking costs some ten microseconds, whatever it finds; in ten milliseconds a worker that is
/// as busy as it can be fills a tenth of its way to here.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// A round is bounded, so that orders and writing have their turn.
const EVENTS_PER_ROUND: usize = 50_000;
const MINUTES_PER_DAY: u32 = 24 * 60;

#[cfg(test)]
mod tests {
    use crate::aggregator::clock::Clock;
    use crate::aggregator::health::Health;
    use crate::aggregator::lock::Lock;
    use crate::aggregator::{Ask, Options, Order, open_offline, spawn};
    use crate::messages::clock::monotonic_us;
    use crate::messages::pulls::channel;
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

    #[test]
    fn counting_goes_on_after_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let (mut sender, receiver) = channel();
        let health = Arc::new(Health::default());
        let aggregator =
            spawn(options(dir.path()), lock, vec![receiver], Arc::clone(&health)).unwrap();
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
}
