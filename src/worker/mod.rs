//! Floor 2: a worker. One pinned thread with its own ring, listeners, buffers and handle on the
//! snapshot; it shares nothing for writing on the request path, and waits for nobody.

pub mod adopted;
pub mod answer;
pub mod aside;
pub mod buffers;
pub mod cache;
pub mod clock;
pub mod connection;
pub mod downstream;
pub mod driver;
pub mod forward;
pub mod grant;
pub mod guard;
pub mod hand_on;
pub mod http2;
pub mod letters;
pub mod listener;
pub mod obtain;
pub mod over;
pub mod record;
pub mod relay;
pub mod reread;
pub mod resolve;
pub mod resolving;
pub mod slots;
pub mod socket;
pub mod tick;
pub mod ticket;
pub mod tls;
#[cfg(test)]
pub mod trial;
pub mod upload;
pub mod upstream;
pub mod usher;
pub mod within;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use monoio::io::{CancelHandle, Canceller};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::messages::access::AccessSender;
use crate::messages::archive::Archive;
use crate::messages::certificates::{Certificates, Serving};
use crate::messages::clock::monotonic_us;
use crate::messages::keyring::Keyring;
use crate::messages::latency::LatencySender;
use crate::messages::ledger::{Ledger, Place, Refused};
use crate::messages::mail::{Letter, Post};
use crate::messages::meters::{Counter, Gauge, Meters};
use crate::messages::names::Names;
use crate::messages::order::{Drain, Order, OrderBook};
use crate::messages::pulls::{Parcel, PullSender};
use crate::messages::quotas::QuotaSender;
use crate::messages::wanted::WantedSender;
use crate::pure::desk::OwnKeys;
use crate::pure::fault::Fault;
use crate::pure::health::Health;
use crate::pure::http1::forwarded::client_key;
use crate::pure::limited::Limited;
use crate::pure::limits::REFUSING_MAX;
use crate::pure::origin::Origin;
use crate::pure::proof::Proofs;
use crate::pure::pull::event::{Asked, Event};
use crate::pure::snapshot::Snapshot;
pub use adopted::Adopted;
use buffers::Pool;
use cache::Manifests;
use clock::Clock;
use driver::Driver;
use listener::{Listener, Socket};
use relay::pipes::Pipes;
use reread::Rereading;
use resolving::Resolving;
use slots::{Patience, Phase, Slots};
use upstream::Upstreams;
use upstream::door::Doors;
use upstream::token::Wallet;

/// What a worker is given to begin with.
pub struct Parts {
    /// Which worker, from 0.
    pub index: usize,
    /// The CPU it is pinned to, where there is one for each.
    pub cpu: Option<usize>,
    /// What its runtime stands on.
    pub driver: Driver,
    /// Its own listening sockets.
    pub listeners: Vec<Socket>,
    /// What it decides by at first.
    pub snapshot: Arc<Snapshot>,
    /// What opens that snapshot's registries.
    pub keyring: Arc<Keyring>,
    /// What it makes tokens of the gateway's own with.
    pub keys: Arc<OwnKeys>,
    /// What clients are shown.
    pub certificates: Arc<Certificates>,
    /// Its way to whoever finds out what anybody can pull.
    pub wanted: WantedSender,
    /// Its way to whoever wants to know how often registries may still be asked.
    pub quotas: QuotaSender,
    /// What wakes who reads the files of the configuration.
    pub look: Sender<()>,
    /// Where snapshots go that it no longer uses: freeing a large one takes time.
    pub retired: Sender<Arc<Snapshot>>,
    /// What it is told.
    pub orders: OrderBook,
    /// Its letters to the other workers, and theirs.
    pub post: Post<Letter>,
    /// Its way to those who look up names.
    pub names: Names,
    /// Its way to who keeps manifests on disk.
    pub archive: Archive,
    /// A random number.
    pub seed: u64,
    /// Its way to the aggregator.
    pub pulls: PullSender,
    /// Its counters.
    pub meters: Arc<Meters>,
    /// Its latencies.
    pub latency: LatencySender,
    /// Its way to the access log, if there is one.
    pub access: Option<AccessSender>,
    /// What all workers know of the clients.
    pub ledger: Arc<Ledger>,
    /// Connections at once, of all workers together, where the configuration leaves it open.
    pub connections_max: usize,
}

/// A worker has ended.
pub struct Ended {
    /// Which one.
    pub index: usize,
    /// What the aggregator was too far behind to take; or why it failed; or that it panicked.
    pub result: thread::Result<io::Result<Vec<Parcel>>>,
}

/// Starts a worker on a thread of its own. It ends when it was told to drain and has, and says so
/// to `ended`, which has room for it.
pub fn spawn(parts: Parts, ended: Sender<Ended>) -> io::Result<()> {
    let index = parts.index;
    let begin = move || {
        if let Some(cpu) = parts.cpu {
            let mut set = CpuSet::new();
            set.set(cpu);
            if let Err(error) = sched_setaffinity(None, &set) {
                tracing::warn!("worker {index} is not pinned to CPU {cpu}: {error}");
            }
        }
        parts.driver.run(run(parts))?
    };
    thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(begin));
        let _ = ended.send(Ended { index, result });
    })?;
    Ok(())
}

/// A worker's state, shared by the tasks of its one thread.
pub struct Worker {
    snapshot: RefCell<Rc<Adopted>>,
    /// Behind a count of its own: that of all workers is touched when it is adopted only.
    #[expect(clippy::redundant_allocation, reason = "two counts, as said")]
    proofs: RefCell<Rc<Arc<Proofs>>>,
    /// As the proofs.
    #[expect(clippy::redundant_allocation, reason = "two counts, as said")]
    keys: RefCell<Rc<Arc<OwnKeys>>>,
    /// As the proofs.
    #[expect(clippy::redundant_allocation, reason = "two counts, as said")]
    certificates: RefCell<Rc<Arc<Certificates>>>,
    /// How TLS is spoken with clients: under these certificates, with sessions sealed by these keys.
    serving: RefCell<Rc<Serving>>,
    /// Its way to whoever finds out what anybody can pull.
    pub wanted: WantedSender,
    /// Its way to whoever wants to know how often registries may still be asked.
    pub quotas: QuotaSender,
    /// Its buffers.
    pub pool: Rc<Pool>,
    /// Its pipes.
    pub pipes: Rc<Pipes>,
    /// Its connections' slots.
    pub slots: Rc<Slots>,
    /// The slots of its connections to registries and their like, while they are used.
    pub upstream_slots: Rc<Slots>,
    /// What it keeps for asking those.
    pub upstreams: Upstreams,
    /// The tokens that it holds for them.
    pub wallet: Wallet,
    /// What their doors have asked for.
    pub doors: Doors,
    /// The manifests that it keeps.
    pub manifests: Manifests,
    /// Which registries have failed lately.
    pub health: RefCell<Health>,
    /// What looking up for redirects has shown.
    pub resolving: RefCell<Resolving>,
    /// Looks at files because of refused accounts.
    pub rereading: Rereading,
    /// Its time.
    pub clock: Clock,
    /// Its counters.
    pub meters: Arc<Meters>,
    /// What all workers know of the clients.
    pub ledger: Arc<Ledger>,
    /// Its way to the access log, if there is one.
    pub access: Option<AccessSender>,
    /// Its letters to the other workers, and theirs.
    pub post: Post<Letter>,
    /// Its way to who keeps manifests on disk.
    pub archive: Archive,
    /// How often it says that it cannot accept.
    pub complaints: RefCell<Limited>,
    /// How often it says what is wrong with registries.
    upstream_complaints: RefCell<Limited>,
    pulls: RefCell<PullSender>,
    latency: RefCell<LatencySender>,
    driver: Driver,
    index: usize,
    connections: Cell<u64>,
    connections_max: usize,
    /// One canceller for all receives that began in the same sweep, so that a sweep later on
    /// cancels exactly those that are still waiting.
    cohorts: RefCell<[Canceller; COHORTS]>,
    accepting: RefCell<Canceller>,
    /// Accept loops and connections that have not ended.
    busy: Cell<usize>,
    /// The sweep at which a drain ends by force; `None` while nobody drains.
    drained_by: Cell<Option<u64>>,
    /// See [`Drain::handed_over`].
    handed_over: RefCell<Option<Arc<[SocketAddr]>>>,
    sweepers: RefCell<Vec<Waker>>,
    usher: usher::Usher,
    /// Refused connections that are being told so.
    refusing: Cell<usize>,
    /// Requests for the dashboard under way.
    handed_on: Cell<usize>,
    orders: RefCell<Option<Receiver<Order>>>,
}

/// A connection's place among all: given back when it is dropped.
pub struct Entrance {
    ledger: Arc<Ledger>,
    place: Place,
    counts_for_client: bool,
}

/// Something that a drain waits for.
pub struct Busy(Rc<Worker>);

/// A refused connection that is being told so.
pub struct Refusing(Rc<Worker>);

async fn run(mut parts: Parts) -> io::Result<Vec<Parcel>> {
    let listeners = std::mem::take(&mut parts.listeners);
    let (worker, timer) = begin(parts)?;
    let mut accepting = Vec::new();
    for listener in listeners {
        let listener = Listener::new(listener, worker.is_on_ring())?;
        accepting.push(monoio::spawn(listener.accept(Rc::clone(&worker))));
    }
    tick::run(&worker, timer).await?;
    for accepted in accepting {
        accepted.await;
    }
    // The runtime may keep a task for ever, and with it the worker: whoever has an order for it is
    // to know that nobody follows it.
    worker.orders.take();
    let rest = worker.pulls.borrow_mut().rest();
    Ok(rest)
}

/// A worker that follows orders, reads letters and takes turns, but whose timer does not tick yet.
fn begin(parts: Parts) -> io::Result<(Rc<Worker>, tick::Waitable)> {
    let Parts { orders, snapshot, keyring, retired, .. } = parts;
    let doorbell = tick::waitable(orders.doorbell.into_descriptor())?;
    let timer = tick::timer()?;
    let room = cache::share(&snapshot.cache, parts.post.workers());
    let worker = Rc::new(Worker {
        snapshot: RefCell::new(Rc::new(Adopted::new(snapshot, keyring, retired))),
        proofs: RefCell::default(),
        serving: RefCell::new(Rc::new(Serving::new(&parts.certificates, &parts.keys))),
        keys: RefCell::new(Rc::new(parts.keys)),
        certificates: RefCell::new(Rc::new(parts.certificates)),
        wanted: parts.wanted,
        quotas: parts.quotas,
        pool: Rc::default(),
        pipes: Rc::default(),
        slots: Rc::default(),
        upstream_slots: Rc::default(),
        upstreams: Upstreams::new(parts.names),
        wallet: Wallet::new(parts.seed),
        doors: Doors::default(),
        manifests: Manifests::new(room, parts.seed),
        health: RefCell::default(),
        resolving: RefCell::default(),
        rereading: Rereading::new(parts.look),
        clock: Clock::default(),
        meters: parts.meters,
        ledger: parts.ledger,
        access: parts.access,
        complaints: RefCell::new(Limited::per(COMPLAINTS_US)),
        upstream_complaints: RefCell::new(Limited::per(COMPLAINTS_US)),
        post: parts.post,
        archive: parts.archive,
        pulls: RefCell::new(parts.pulls),
        latency: RefCell::new(parts.latency),
        driver: parts.driver,
        index: parts.index,
        // Not from 0: those of a process before this one are told from it.
        connections: Cell::new(parts.seed >> 24),
        connections_max: parts.connections_max,
        cohorts: RefCell::default(),
        accepting: RefCell::default(),
        busy: Cell::new(0),
        drained_by: Cell::new(None),
        handed_over: RefCell::default(),
        sweepers: RefCell::default(),
        usher: usher::Usher::default(),
        refusing: Cell::new(0),
        handed_on: Cell::new(0),
        orders: RefCell::new(Some(orders.to_follow)),
    });
    monoio::spawn(tick::answer_doorbell(Rc::clone(&worker), doorbell));
    let ushered = Rc::clone(&worker);
    monoio::spawn(async move { ushered.usher.run().await });
    Ok((worker, timer))
}

impl Worker {
    /// The snapshot that requests are decided by which begin now.
    pub fn snapshot(&self) -> Rc<Adopted> {
        Rc::clone(&self.snapshot.borrow())
    }

    /// What is known of registries now.
    pub fn proofs(&self) -> Rc<Arc<Proofs>> {
        Rc::clone(&self.proofs.borrow())
    }

    /// What tokens of the gateway's own are made with and known by now.
    pub fn keys(&self) -> Rc<Arc<OwnKeys>> {
        Rc::clone(&self.keys.borrow())
    }

    /// What clients are shown from now on.
    pub fn certificates(&self) -> Rc<Arc<Certificates>> {
        Rc::clone(&self.certificates.borrow())
    }

    /// How TLS is spoken with clients that come now.
    pub fn serving(&self) -> Rc<Serving> {
        Rc::clone(&self.serving.borrow())
    }

    /// Counts a connection from `address`, unless there are too many. Trusted proxies stand for
    /// many clients: only the bound on all together holds for them.
    pub fn enter(&self, address: [u8; 16]) -> Result<Entrance, Refused> {
        let snapshot = self.snapshot();
        self.ledger.enter(match snapshot.limits.connections {
            0 => self.connections_max,
            configured => configured,
        })?;
        let mut entrance = Entrance {
            ledger: Arc::clone(&self.ledger),
            place: self.place(address),
            counts_for_client: false,
        };
        if !snapshot.trusts(address) {
            let max = snapshot.limits.connections_per_client;
            self.ledger.enter_client(entrance.place, max)?;
            entrance.counts_for_client = true;
        }
        Ok(entrance)
    }

    /// The place of `address`'s client in the ledger.
    pub fn place(&self, address: [u8; 16]) -> Place {
        self.ledger.place(client_key(address))
    }

    /// A number that no other connection of this process has.
    pub fn next_connection(&self) -> u64 {
        let count = self.connections.replace(self.connections.get() + 1);
        (self.index as u64) << 48 | count & ((1 << 48) - 1)
    }

    /// Hands `event` to counting.
    pub fn count(&self, event: &Event<'_>) {
        self.meters.add(Counter::Events, 1);
        if !self.pulls.borrow_mut().offer(event) && event.asked == Asked::Manifest {
            self.meters.add(Counter::Unfolded, 1);
        }
    }

    /// `requests` took `us` each, from being read to their answers being written.
    pub fn took(&self, us: u64, requests: u64) {
        self.latency.borrow_mut().record(us * 1_000, requests);
    }

    /// What cancels a receive that begins now and is quiet for a second.
    pub fn quiet_canceller(&self) -> CancelHandle {
        self.cohorts.borrow()[cohort(self.clock.sweep())].handle()
    }

    /// What ends accepting.
    pub fn accepting(&self) -> CancelHandle {
        self.accepting.borrow().handle()
    }

    /// Whether connections end after their next answer.
    pub fn is_draining(&self) -> bool {
        self.drained_by.get().is_some()
    }

    /// Whether another process accepts connections by the socket that listens at `address`.
    pub fn is_handed_over(&self, address: SocketAddr) -> bool {
        self.handed_over.borrow().as_ref().is_some_and(|taken| taken.contains(&address))
    }

    /// Whether the drain's time is up.
    pub fn is_overdue(&self) -> bool {
        self.drained_by.get().is_some_and(|by| self.clock.sweep() >= by)
    }

    /// Whether sockets are to be blocking, as a ring wants them.
    pub fn is_on_ring(&self) -> bool {
        self.driver != Driver::Epoll
    }

    /// Waits for the next sweep.
    pub async fn next_sweep(&self) {
        let now = self.clock.sweep();
        poll_fn(|context| {
            if self.clock.sweep() > now {
                return Poll::Ready(());
            }
            self.sweepers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Something has begun that a drain waits for, until what is returned is dropped.
    pub fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(Rc::clone(self))
    }

    /// Lets every other task that could go on go first.
    pub async fn yield_turn(&self) {
        self.usher.wait().await;
    }

    /// Room for one more refused connection to be told so, until what is returned is dropped.
    pub fn refuse(self: &Rc<Self>) -> Option<Refusing> {
        let refusing = self.refusing.get();
        (refusing < REFUSING_MAX).then(|| {
            self.refusing.set(refusing + 1);
            Refusing(Rc::clone(self))
        })
    }

    /// Says where an operator looks what is wrong with a registry, or whoever it has named.
    pub fn complain(&self, fault: Fault, origin: &Origin) {
        let label = fault.kind.row().label;
        match fault.detail {
            "" => self.complain_of(format_args!("{origin}: {label}")),
            detail => self.complain_of(format_args!("{origin}: {detail} ({label})")),
        }
    }

    /// Says once every ten seconds what is wrong with others.
    pub fn complain_of(&self, what: fmt::Arguments<'_>) {
        if let Some(repeats) = self.upstream_complaints.borrow_mut().pass(monotonic_us()) {
            tracing::warn!("{what}{repeats}");
        }
    }

    /// Does whatever the doorbell has rung for: follows control's orders, reads the other workers'
    /// letters, learns the addresses that were looked up.
    fn answer_doorbell(self: &Rc<Self>) {
        while let Some(order) =
            self.orders.borrow().as_ref().and_then(|orders| orders.try_recv().ok())
        {
            self.follow(order);
        }
        letters::read(self);
        cache::hear_of_disk(self);
        self.upstreams.resolver.learn(self);
    }

    /// Does what control says.
    fn follow(&self, order: Order) {
        match order {
            Order::Adopt(snapshot, keyring) => {
                self.health.take();
                self.resolving.take();
                self.manifests.adopt(cache::share(&snapshot.cache, self.post.workers()));
                let adopted = self.snapshot.borrow().next(snapshot, keyring);
                self.snapshot.replace(Rc::new(adopted));
                self.upstreams.idle.clear();
            }
            Order::Know(proofs) => {
                self.proofs.replace(Rc::new(proofs));
            }
            Order::Sign(keys) => {
                self.serving.replace(Rc::new(Serving::new(&self.certificates(), &keys)));
                self.keys.replace(Rc::new(keys));
            }
            Order::Show(certificates) => {
                self.serving.replace(Rc::new(Serving::new(&certificates, &self.keys())));
                self.certificates.replace(Rc::new(certificates));
            }
            Order::Answer(reply) => {
                // Who asked has room for it, or has gone.
                let _ = reply.try_send(());
            }
            Order::Drain(Drain { within, handed_over }) => {
                let by = self.clock.sweep() + sweeps(within);
                self.drained_by.set(Some(by));
                self.handed_over.replace(handed_over);
                self.accepting.replace_with(|accepting| std::mem::take(accepting).cancel());
                self.end_quiet();
            }
        }
    }

    /// What is done every 25 milliseconds: events that wait go out.
    fn tick(&self) {
        let backlog = self.pulls.borrow_mut().flush();
        self.meters.set(Gauge::BacklogBytes, backlog.bytes as u64);
        self.meters.set(Gauge::UnfoldedPending, backlog.unfolded);
    }

    /// What is done every tenth of a second: waits that take too long end, quiet connections give
    /// their buffers back, and the gauges are set.
    fn sweep(&self) {
        self.clock.advance();
        let now = self.clock.sweep();
        let snapshot = self.snapshot();
        let limits = &snapshot.limits;
        let patience = Patience {
            idle: sweeps(limits.idle_timeout),
            head: sweeps(limits.header_timeout),
            streamless: sweeps(limits.idle_timeout).min(STREAMLESS_SWEEPS),
            writing: sweeps(limits.write_timeout),
            lingering: LINGERING_SWEEPS,
        };
        self.slots.sweep(now, &patience, |phase| {
            self.meters.add(
                match phase {
                    Phase::Idle => Counter::TimeoutsIdle,
                    Phase::Handshake => Counter::TlsLate,
                    Phase::Head => Counter::TimeoutsHeader,
                    Phase::Writing => Counter::TimeoutsWrite,
                    // The farewell that follows is counted.
                    Phase::Streamless | Phase::Stalling => return,
                    Phase::Forwarding | Phase::Lingering | Phase::Overdue => return,
                },
                1,
            );
        });
        let upstream = sweeps(snapshot.upstream.first_byte_timeout);
        let patience =
            Patience { idle: 0, head: 0, streamless: 0, writing: upstream, lingering: 0 };
        self.upstream_slots.sweep(now, &patience, drop);
        if now.is_multiple_of(IDLE_SWEEPS) {
            self.upstreams.idle.sweep(self);
        }
        if now >= QUIET_SWEEPS {
            let quiet = &mut self.cohorts.borrow_mut()[cohort(now - QUIET_SWEEPS)];
            *quiet = std::mem::take(quiet).cancel();
        }
        if now.is_multiple_of(POOL_SWEEPS) {
            self.pool.sweep();
        }
        cache::tell_refusals(self);
        self.latency.borrow_mut().hand_over();
        self.meters.set(Gauge::ConnectionsOpen, self.slots.taken() as u64);
        self.meters.set(Gauge::UpstreamConnectionsUsed, self.upstream_slots.taken() as u64);
        self.meters.set(Gauge::ReceiveBuffersOut, self.pool.out() as u64);
        self.meters.set(Gauge::ManifestBytes, self.manifests.bytes() as u64);
        self.meters.set(Gauge::SnapshotGeneration, snapshot.generation);
        for waker in self.sweepers.take() {
            waker.wake();
        }
    }

    /// Ends connections that wait for a request. Where another process takes new ones nobody has to
    /// notice: one that has just come, or been answered, is waited for, and ends with its next answer.
    fn end_quiet(&self) {
        let patience = if self.handed_over.borrow().is_some() { PARTING_SWEEPS } else { 0 };
        self.slots.end_waiting(&[Phase::Idle, Phase::Streamless], self.clock.sweep(), patience);
    }

    /// Whether the worker was told to end and nothing holds it any more.
    fn is_drained(&self) -> bool {
        let Some(by) = self.drained_by.get() else {
            return false;
        };
        let now = self.clock.sweep();
        // A connection that was accepted during the drain, or has answered since, waits idly.
        self.end_quiet();
        if now >= by {
            let all = [
                Phase::Idle,
                Phase::Streamless,
                Phase::Stalling,
                Phase::Handshake,
                Phase::Head,
                Phase::Writing,
                Phase::Forwarding,
                Phase::Lingering,
            ];
            self.slots.end_all(&all);
            self.upstream_slots.end_all(&all);
        }
        let settled = self.busy.get() == 0 && self.pulls.borrow().is_settled();
        settled || now >= by.saturating_add(LAST_SWEEPS)
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.refusing.set(self.0.refusing.get() - 1);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

impl Entrance {
    /// The client's place in the ledger.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if self.counts_for_client {
            self.ledger.leave_client(self.place);
        }
        self.ledger.leave();
    }
}

/// A time-out in sweeps, rounded up.
fn sweeps(timeout: Duration) -> u64 {
    let sweeps = timeout.as_millis().div_ceil(u128::from(SWEEP_MS));
    u64::try_from(sweeps).unwrap_or(u64::MAX / 2).min(u64::MAX / 2)
}

#[expect(clippy::cast_possible_truncation, reason = "less than the number of cohorts")]
fn cohort(sweep: u64) -> usize {
    (sweep % COHORTS as u64) as usize
}

/// A sweep's length.
const SWEEP_MS: u64 = tick::TICK_MS * tick::TICKS_PER_SWEEP;
/// A receive that waits for so many sweeps is quiet: its buffer goes home.
const QUIET_SWEEPS: u64 = 10;
/// Cancellers: more than the sweeps that a receive may wait.
const COHORTS: usize = 32;
/// How often the pool gives pages back.
const POOL_SWEEPS: u64 = 5;
/// How often idle connections to registries are looked after.
const IDLE_SWEEPS: u64 = 10;
/// How long a refused client has to see its answer.
const LINGERING_SWEEPS: u64 = 20;
/// How long a connection of HTTP/2 may be without a stream: one costs four times what others do.
const STREAMLESS_SWEEPS: u64 = 600;
/// How long a connection may be quiet that another process need not take over.
const PARTING_SWEEPS: u64 = 20;
/// How long after a drain's end the worker waits for what it ended to be gone.
const LAST_SWEEPS: u64 = 10;
/// How often one complaint is said.
const COMPLAINTS_US: u64 = 10_000_000;

const _: () = assert!(COHORTS as u64 > QUIET_SWEEPS);
