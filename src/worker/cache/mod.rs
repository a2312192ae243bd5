//! Manifests: from memory where that is known to be right, else asked for once for all who wait, by
//! the worker that owns the key; the others write to it and keep a copy. What is to be done is
//! decided in `pure::cache`.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use crate::messages::clock::monotonic_us;
use crate::messages::mail::{Letter, ManifestWanted};
use crate::messages::meters::Counter;
use crate::pure::cache::{
    self, Failure, Good, Held, Key, Recent, Record, Rules, Shelf, Sought, Told, Want,
};
use crate::pure::config::values::Cache;
use crate::pure::decide::Forward;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::head::RequestHead;
use crate::pure::http1::response::fields_named;
use crate::pure::oci::reference::Reference;
use crate::worker::guard::guarded;
use crate::worker::obtain::{Question, Who};
use crate::worker::ticket::Ticket;
use crate::worker::upstream::Method;
use crate::worker::within::within;
use crate::worker::{Adopted, Worker, sweeps};
use refusals::Refusals;

mod disk;
mod fetch;
mod refusals;
#[cfg(test)]
mod trials;

pub use disk::hear_of_disk;
pub use fetch::LEFT_ALONE;
pub use refusals::{refused, tell_refusals};

/// The manifests that a worker keeps, and who waits for them.
pub struct Manifests {
    shelf: RefCell<Shelf<Kept, Waiter>>,
    /// The same by the words of who asked lately.
    recent: RefCell<Recent<Arc<Held>>>,
    /// The registries that have answered anything yet, by their bases: only of these a manifest is
    /// asked for without a HEAD before it.
    met: RefCell<HashSet<Box<str>>>,
    /// Rounds under way whose key another worker owns, and whether that has said that it will answer.
    asked: RefCell<HashMap<u64, bool>>,
    /// Rounds under way that wait for the disk.
    expected: RefCell<HashMap<u64, Expected>>,
    refusals: Refusals,
}

/// Whoever waits for what the disk has.
type Expected = Rc<Ticket<Option<Record>>>;

/// A manifest in a worker's hands, behind a count of its own: that of all workers is touched when
/// it is kept, not when it is served.
pub type Kept = Rc<Arc<Held>>;

/// A manifest that is kept, and until when it is known to be right.
pub struct Found {
    /// The manifest, or that there is none.
    pub kept: Kept,
    /// In microseconds of the monotonic clock; 0 for an answer that is nobody else's.
    pub until_us: u64,
}

/// Why there is no manifest.
pub struct Missing {
    /// What is wrong.
    pub failure: Failure,
    /// The digest of the one that is meant, where that is known.
    pub digest: Option<Box<str>>,
}

impl From<Failure> for Missing {
    fn from(failure: Failure) -> Self {
        Self { failure, digest: None }
    }
}

impl From<Fault> for Missing {
    fn from(fault: Fault) -> Self {
        Failure::from(fault).into()
    }
}

/// The answer to `question`, of which `bytes` are the head's bytes; `None` where such an answer is
/// not kept: then the registry is asked each time.
///
/// `has_others`: whether other registries have the same.
///
/// # Errors
/// Why the registry gave none, where nothing that was kept may stand in for it.
pub async fn get(
    worker: &Rc<Worker>,
    question: &Question,
    reference: Reference<'_>,
    bytes: &[u8],
    has_others: bool,
) -> Option<Result<Found, Missing>> {
    let mut sought = Sought { has_others, ..sought(question, reference, bytes)? };
    let Question { adopted, registry, method, .. } = question;
    let patience = sweeps(fetch::patience(&adopted.upstream)) + disk::DISK_SWEEPS_MAX;
    let by = worker.clock.sweep() + patience;
    let looking = Looking { worker, adopted, registry: *registry, by };
    if *method == Method::Head && sought.is_digest() && !worker.manifests.has(&sought) {
        sought.is_head = true;
    }
    let mut source = Source::Memory;
    let mut until_us = u64::MAX;
    let kept = loop {
        let found = match looking.up(&sought, &mut source).await {
            Ok(found) => found,
            Err(failure) => {
                let digest = sought.is_digest().then(|| sought.reference.clone());
                return Some(Err(Missing { failure, digest }));
            }
        };
        until_us = until_us.min(found.until_us);
        let kept = found.kept;
        let is_answer = *method == Method::Head || kept.status != 200 || kept.body.is_some();
        if is_answer {
            break kept;
        }
        // That is what the tag stands for; now its bytes.
        if !kept.digest.starts_with(SHA256) {
            return None;
        }
        sought = Sought { reference: kept.digest.clone(), ..sought };
    };
    if kept.status == 404 && sought.is_digest() && matches!(reference, Reference::Tag(_)) {
        // Registries convert old formats as they answer: what comes of that has no digest to ask by.
        return None;
    }
    worker.meters.add(
        match source {
            Source::Memory => Counter::ManifestsFromMemory,
            Source::Registry => Counter::ManifestsFromRegistry,
            Source::Stale => Counter::ManifestsStale,
        },
        1,
    );
    Some(Ok(Found { kept, until_us }))
}

/// The owner of `key` has answered question number `round`.
pub fn learn(worker: &Rc<Worker>, round: u64, key: &Key, told: Told<Arc<Held>>) {
    end_round(worker, key, round, told.map(Rc::new));
}

/// The owner has read question number `round`, and waits for the registry.
pub fn wait_on(worker: &Worker, round: u64) {
    if let Some(will_answer) = worker.manifests.asked.borrow_mut().get_mut(&round) {
        *will_answer = true;
    }
}

/// Answers another worker: now, or when the round ends that its question begins or joins.
pub fn answer(worker: &Rc<Worker>, wanted: ManifestWanted) {
    let ManifestWanted { from, round, key, sought } = wanted;
    let adopted = worker.snapshot();
    // Who has not adopted the configuration yet that names this registry, or its account, does not
    // answer, and the other worker will do it alone.
    let known = adopted.registries.iter().position(|registry| registry.base == *sought.base);
    let Some(registry) = known.filter(|registry| adopted.knows(*registry, sought.identity)) else {
        return;
    };
    let asking = || Waiter::Worker { from, round };
    let begun = match worker.manifests.want(&key, &adopted.cache, asking) {
        Want::Told(told) => return tell(worker, asking(), &key, told),
        Want::Wait(begun) => begun,
    };
    // Without this letter, as without any, it will do it alone.
    let _ = worker.post.send(from, Letter::ManifestAwaited { round });
    if let Some(number) = begun {
        begin(worker, &adopted, registry, key, sought, number);
    }
}

/// Where an answer came from: of several steps, the one that says most of the registry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Memory,
    Registry,
    Stale,
}

/// Whoever waits for a manifest.
enum Waiter {
    Task(Rc<Ticket<Told<Kept>>>),
    /// Another worker, and the number by which it knows its question.
    Worker {
        from: usize,
        round: u64,
    },
}

/// What is sought by a client's request; `None` for what is not kept.
fn sought(question: &Question, reference: Reference<'_>, bytes: &[u8]) -> Option<Sought> {
    let Question { adopted, registry, repository, who, .. } = question;
    // What a client was given for its own login is nobody else's, and it alone is worth no memory.
    let Who::Gateway(identity) = who else {
        return None;
    };
    let is_kept = match reference {
        Reference::Tag(_) => true,
        Reference::Digest(digest) => digest.as_str().starts_with(SHA256),
    };
    if adopted.cache.memory == 0 || !is_kept {
        return None;
    }
    // What came by a proxy goes by itself: only so is a loop between two gateways noticed.
    if fields_named(bytes, "Via").next().is_some() {
        return None;
    }
    let accept = match reference {
        Reference::Tag(_) => cache::accepted(bytes),
        Reference::Digest(_) => String::new(),
    };
    Some(Sought {
        base: adopted.registries[*registry].base.as_str().into(),
        repository: repository.clone(),
        reference: reference.as_str().into(),
        identity: *identity,
        accept: accept.into(),
        is_head: false,
        has_others: false,
    })
}

/// Looking for manifests of one registry.
#[derive(Clone, Copy)]
struct Looking<'l> {
    worker: &'l Rc<Worker>,
    adopted: &'l Rc<Adopted>,
    registry: usize,
    /// The sweep until which is waited, whatever for.
    by: u64,
}

impl Looking<'_> {
    /// What is kept, or what a round brings that is begun or already under way.
    async fn up(self, sought: &Sought, source: &mut Source) -> Result<Found, Failure> {
        let key = Key::of(sought);
        let fresh_us = rules(&self.adopted.cache, &key).fresh_us;
        let mut ticket = None;
        let wait = || Waiter::Task(Rc::clone(ticket.insert(Rc::default())));
        let told = match self.worker.manifests.want(&key, &self.adopted.cache, wait) {
            Want::Told(told) => told,
            Want::Wait(begun) => {
                *source = (*source).max(Source::Registry);
                if let Some(number) = begun {
                    let Self { worker, adopted, registry, .. } = self;
                    begin(worker, adopted, registry, key.clone(), sought.clone(), number);
                }
                let Some(ticket) = ticket else {
                    unreachable!("who waits was given a ticket");
                };
                let left = self.by.saturating_sub(self.worker.clock.sweep());
                let told = within(self.worker, left, ticket.told()).await;
                told.unwrap_or_else(|| self.too_late(&key))
            }
        };
        match told {
            Told::Fresh(good) => {
                let refused_us = self.worker.manifests.shelf.borrow().refused_us(key.scope());
                // Who waits is told what was asked for before a refusal; the next one is not.
                let until_us = match good.since_us > refused_us {
                    true => good.since_us.saturating_add_unsigned(fresh_us),
                    false => 0,
                };
                let until_us = u64::try_from(until_us).unwrap_or(0);
                Ok(Found { kept: good.value, until_us })
            }
            Told::Stale(good, _) => {
                *source = Source::Stale;
                Ok(Found { kept: good.value, until_us: 0 })
            }
            Told::Said(kept) => Ok(Found { kept, until_us: 0 }),
            Told::Failed(failure) => Err(failure),
        }
    }

    /// What there is for one who has waited long enough. Whatever brings more goes on without him.
    fn too_late(self, key: &Key) -> Told<Kept> {
        let failure = Failure::new(fetch::TOO_SLOW, 0, monotonic_us());
        self.worker.manifests.without(&self.adopted.cache, key, failure)
    }
}

/// Asks the registry, or has the worker ask that owns the key. One that is not asked, because its
/// letterbox is full, or does not answer in time, is done without.
fn begin(
    worker: &Rc<Worker>,
    adopted: &Rc<Adopted>,
    registry: usize,
    key: Key,
    sought: Sought,
    number: u64,
) {
    let patience = sweeps(fetch::patience(&adopted.upstream));
    let began = worker.clock.sweep();
    let round = Round { worker: Rc::clone(worker), key, number, began, patience };
    let asked = round.ask_owner(&sought);
    let adopted = Rc::clone(adopted);
    let task = Box::pin(async move {
        if asked && !round.is_unanswered().await {
            return;
        }
        let Round { worker, key, number, .. } = &round;
        if let Some(good) = round.content_on_disk(&adopted, &sought).await {
            return end_round(worker, key, *number, Told::Fresh(good));
        }
        let left = round.left();
        let told = fetch::fetch(worker, &adopted, registry, &sought, left).await;
        let told = round.or_from_disk(&adopted, told).await;
        if !sought.is_head {
            disk::keep(worker, &adopted, key, &told);
        }
        let is_refused = match &told {
            Told::Said(held) => matches!(held.status, 401 | 403),
            Told::Failed(failure) => failure.is_refusal(),
            Told::Fresh(_) | Told::Stale(..) => false,
        };
        end_round(worker, key, *number, told);
        if is_refused {
            refusals::refuse(worker, key.scope());
        }
    });
    monoio::spawn(guarded(Rc::clone(worker), task, ()));
}

/// A round under way. It ends, however it goes: should its code panic, those who wait are told too.
struct Round {
    worker: Rc<Worker>,
    key: Key,
    number: u64,
    /// In which sweep.
    began: u64,
    /// How long asking a registry may take, in sweeps.
    patience: u64,
}

impl Round {
    fn ask_owner(&self, sought: &Sought) -> bool {
        let Self { worker, key, number, .. } = self;
        let owner = key.owner(worker.post.workers());
        let wanted = || ManifestWanted {
            from: worker.post.own,
            round: *number,
            key: key.clone(),
            sought: sought.clone(),
        };
        let letter = || Letter::ManifestWanted(Box::new(wanted()));
        let asked = owner != worker.post.own && worker.post.send(owner, letter()).is_ok();
        if asked {
            worker.manifests.asked.borrow_mut().insert(*number, false);
        }
        asked
    }

    /// What the digest that is sought names, if it is on disk.
    async fn content_on_disk(&self, adopted: &Adopted, sought: &Sought) -> Option<Good<Kept>> {
        if !sought.is_digest() {
            return None;
        }
        let whole = Key::of(&Sought { is_head: false, ..sought.clone() });
        disk::find(&self.worker, adopted, &whole, self.number).await
    }

    /// What was `told`; where that is that nobody can be asked and nothing is known here, with what
    /// is known on disk.
    async fn or_from_disk(&self, adopted: &Adopted, told: Told<Kept>) -> Told<Kept> {
        let Told::Failed(failure) = told else {
            return told;
        };
        let has_none = || {
            let without = self.worker.manifests.without(&adopted.cache, &self.key, failure.clone());
            matches!(without, Told::Failed(_))
        };
        if !failure.is_outage() || self.key.names_content() || !has_none() {
            return Told::Failed(failure);
        }
        match disk::find(&self.worker, adopted, &self.key, self.number).await {
            Some(good) => Told::Stale(good, failure),
            None => Told::Failed(failure),
        }
    }

    /// Waits for the owner's letter, and says whether none has come: neither the answer nor, for a
    /// while, that it waits for the registry.
    async fn is_unanswered(&self) -> bool {
        let began = self.worker.clock.sweep();
        while self.is_under_way() {
            let will_answer = self.worker.manifests.asked.borrow().get(&self.number) == Some(&true);
            let most = OWNER_SWEEPS_MAX + if will_answer { self.patience } else { 0 };
            if self.worker.clock.sweep() >= began + most {
                return true;
            }
            self.worker.next_sweep().await;
        }
        false
    }

    /// How many sweeps are left for the registry, so that who waits still gets what the disk has: not
    /// what an owner was waited for, but half of them at the least.
    fn left(&self) -> u64 {
        let passed = self.worker.clock.sweep().saturating_sub(self.began);
        self.patience.saturating_sub(passed).max(self.patience / 2)
    }

    fn is_under_way(&self) -> bool {
        self.worker.manifests.shelf.borrow().is_under_way(&self.key, self.number)
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.worker.manifests.asked.borrow_mut().remove(&self.number);
        // At the worker's end there is nobody left who could be told.
        if !thread::panicking() {
            return;
        }
        let fault = Fault::new(Kind::UpstreamFailing, "asking it failed: a bug of pullgate");
        let failed = Told::Failed(Failure::new(fault, 0, monotonic_us()));
        end_round(&self.worker, &self.key, self.number, failed);
    }
}

fn end_round(worker: &Rc<Worker>, key: &Key, round: u64, outcome: Told<Kept>) {
    let rules = rules(&worker.snapshot().cache, key);
    let mut shelf = worker.manifests.shelf.borrow_mut();
    let ended = shelf.finish(key, round, outcome, rules, monotonic_us());
    drop(shelf);
    let Some((waiting, told)) = ended else {
        return;
    };
    for waiter in waiting {
        tell(worker, waiter, key, told.clone());
    }
}

fn tell(worker: &Rc<Worker>, waiter: Waiter, key: &Key, told: Told<Kept>) {
    match waiter {
        Waiter::Task(ticket) => ticket.tell(told),
        Waiter::Worker { from, round } => {
            let told = told.map(|kept| Arc::clone(&kept));
            // One whose letterbox is full will not wait for ever.
            let _ = worker.post.send(from, Letter::Manifest { round, key: key.clone(), told });
        }
    }
}

impl Manifests {
    /// None is kept, and room is for `bytes_max`. `seed` is nobody's to guess.
    pub fn new(bytes_max: usize, seed: u64) -> Self {
        Self {
            shelf: RefCell::new(Shelf::new(bytes_max, seed)),
            recent: RefCell::new(Recent::new((seed, 1))),
            met: RefCell::default(),
            asked: RefCell::default(),
            expected: RefCell::default(),
            refusals: Refusals::default(),
        }
    }

    /// A configuration was adopted: so much may be kept, and its registries are new.
    pub fn adopt(&self, bytes_max: usize) {
        self.shelf.borrow_mut().resize(bytes_max);
        self.recent.borrow_mut().clear();
        self.met.take();
    }

    /// What was answered a moment ago to who asked by `plan` in the same words as `head`, of which
    /// `bytes` are the bytes.
    pub fn recent(
        &self,
        plan: &Forward<'_>,
        head: &RequestHead<'_>,
        bytes: &[u8],
        now_us: u64,
    ) -> Option<Kept> {
        let recent = self.recent.borrow();
        recent.get(recent.words(plan, head, bytes)?, now_us)
    }

    /// Remembers what was found for who asked so.
    pub fn remember(
        &self,
        plan: &Forward<'_>,
        head: &RequestHead<'_>,
        bytes: &[u8],
        found: &Found,
    ) {
        let mut recent = self.recent.borrow_mut();
        if found.kept.status == 200
            && let Some(words) = recent.words(plan, head, bytes)
        {
            recent.put(words, &found.kept, monotonic_us(), found.until_us);
        }
    }

    /// What all of them take in memory.
    pub fn bytes(&self) -> usize {
        self.shelf.borrow().bytes()
    }

    /// Whether what is `sought`, a digest, is here.
    fn has(&self, sought: &Sought) -> bool {
        let key = Key::of(sought);
        self.shelf.borrow().fresh(&key, FOR_EVER, monotonic_us()).is_some()
    }

    /// What is said of `key` where asking comes to `failure`.
    fn without(&self, cache: &Cache, key: &Key, failure: Failure) -> Told<Kept> {
        self.shelf.borrow().without(key, failure, rules(cache, key), monotonic_us())
    }

    fn want(&self, key: &Key, cache: &Cache, wait: impl FnOnce() -> Waiter) -> Want<Kept> {
        self.shelf.borrow_mut().want(key, rules(cache, key), monotonic_us(), wait)
    }
}

/// What a worker may keep: its share.
pub fn share(cache: &Cache, workers: usize) -> usize {
    cache.memory / workers.max(1)
}

/// A digest names the same for ever; a tag for as long as is configured.
fn rules(cache: &Cache, key: &Key) -> Rules {
    let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if key.names_content() {
        FOR_EVER
    } else {
        Rules { fresh_us: us(cache.tag_ttl), stale_us: us(cache.stale_if_error) }
    }
}

/// An answer that was asked for at `since_us`.
fn good(held: Held, since_us: i64) -> Good<Kept> {
    let bytes = held.bytes();
    Good { lasts: held.status == 200, value: Rc::new(Arc::new(held)), since_us, bytes }
}

/// What a digest names does not change.
const FOR_EVER: Rules = Rules { fresh_us: u64::MAX, stale_us: u64::MAX };
/// How long the owner of a key has to say something: two seconds.
const OWNER_SWEEPS_MAX: u64 = 20;
/// The digests that bodies are held to.
const SHA256: &str = "sha256:";
