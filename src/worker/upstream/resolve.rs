//! A worker's memory of names. A name whose time is up is looked up again while its old addresses
//! still serve: a name server that is away for a while is not noticed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::messages::meters::Counter;
use crate::messages::names::{Found, Names, QUESTIONS_PER_WORKER_MAX};
use crate::pure::fault::{Fault, Kind};
use crate::worker::{Worker, sweeps};

/// Knows names, or has them looked up.
pub struct Resolver {
    names: Names,
    memory: RefCell<Memory>,
}

impl Resolver {
    /// Knows none yet.
    pub fn new(names: Names) -> Self {
        Self { names, memory: RefCell::default() }
    }

    /// The addresses of `host`, as it stands in a URL; at least one.
    ///
    /// # Errors
    /// [`Kind::UpstreamName`].
    pub async fn resolve(&self, worker: &Worker, host: &str) -> Result<Rc<[IpAddr]>, Fault> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Rc::new([address.to_canonical()]));
        }
        let mut waits_for = None;
        poll_fn(|context| {
            let now = worker.clock.sweep();
            let mut memory = self.memory.borrow_mut();
            match memory.look(host, now, || self.names.ask(host)) {
                Look::Known(addresses) => Poll::Ready(Ok(addresses)),
                Look::Failed => Poll::Ready(Err(UNKNOWN)),
                Look::Asked => {
                    memory.wait(host, context.waker(), &mut waits_for);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Learns what was looked up.
    pub fn learn(&self, worker: &Worker) {
        while let Some(Found { host, addresses }) = self.names.take() {
            if let Err(why) = &addresses {
                worker.meters.add(Counter::NamesFailed, 1);
                worker.complain_of(format_args!("the name {host} cannot be looked up: {why}"));
            }
            let ttl = sweeps(worker.snapshot().upstream.dns_ttl);
            let now = worker.clock.sweep();
            let waiting = self.memory.borrow_mut().learn(&host, addresses.ok(), now, ttl);
            for waker in waiting {
                waker.wake();
            }
        }
    }
}

/// What is known of names. Time is in sweeps, and an argument.
#[derive(Default)]
struct Memory {
    names: HashMap<Box<str>, Name>,
    /// How many are asked for.
    asked: usize,
    /// How many lookups there were.
    lookups: u64,
}

#[derive(Default)]
struct Name {
    /// None where it was never found.
    addresses: Option<Rc<[IpAddr]>>,
    fresh_until: u64,
    /// It is being looked up.
    is_asked: bool,
    /// Which lookup that is, or the last one was.
    lookup: u64,
    /// After a failure: not before then.
    ask_again_at: u64,
    used_at: u64,
    waiting: Vec<Waker>,
}

enum Look {
    Known(Rc<[IpAddr]>),
    /// It is being looked up, and nothing serves meanwhile.
    Asked,
    /// It was not found a moment ago.
    Failed,
}

impl Memory {
    /// What is known of `host` at `now`; has it looked up by `ask`, which says whether it can, where
    /// that is due.
    fn look(&mut self, host: &str, now: u64, ask: impl FnOnce() -> bool) -> Look {
        if !self.names.contains_key(host) {
            self.make_room();
            self.names.insert(host.into(), Name::default());
        }
        let Some(name) = self.names.get_mut(host) else {
            return Look::Failed;
        };
        name.used_at = now;
        let is_fresh = name.addresses.is_some() && now < name.fresh_until;
        if !is_fresh && !name.is_asked && now >= name.ask_again_at {
            name.is_asked = self.asked < QUESTIONS_PER_WORKER_MAX && ask();
            self.asked += usize::from(name.is_asked);
            self.lookups += 1;
            name.lookup = self.lookups;
            name.ask_again_at = now + FAILURE_SWEEPS;
        }
        // What is too old serves only where nothing better can be had.
        let serves = !name.is_asked || now < name.fresh_until.saturating_add(STALE_SWEEPS);
        match &name.addresses {
            Some(addresses) if serves => Look::Known(Rc::clone(addresses)),
            _ if name.is_asked => Look::Asked,
            _ => Look::Failed,
        }
    }

    /// `waker` is to be woken when `host` was looked up; `waits_for` is the lookup that its task
    /// waits for already. Whoever waits says so again at every sweep, and may be one of thousands:
    /// they are not looked through.
    fn wait(&mut self, host: &str, waker: &Waker, waits_for: &mut Option<u64>) {
        if let Some(name) = self.names.get_mut(host)
            && waits_for.replace(name.lookup) != Some(name.lookup)
        {
            name.waiting.push(waker.clone());
        }
    }

    /// `host` was looked up; returns who waits for that.
    fn learn(
        &mut self,
        host: &str,
        addresses: Option<Box<[IpAddr]>>,
        now: u64,
        ttl: u64,
    ) -> Vec<Waker> {
        self.asked = self.asked.saturating_sub(1);
        let Some(name) = self.names.get_mut(host) else {
            return Vec::new();
        };
        name.is_asked = false;
        match addresses {
            Some(addresses) => {
                name.addresses = Some(addresses.into());
                name.fresh_until = now.saturating_add(ttl);
            }
            None => name.ask_again_at = now + FAILURE_SWEEPS,
        }
        std::mem::take(&mut name.waiting)
    }

    /// Forgets the name that was used longest ago, where there are too many.
    fn make_room(&mut self) {
        if self.names.len() < NAMES_MAX {
            return;
        }
        let unasked = self.names.iter().filter(|(_, name)| !name.is_asked);
        let oldest = unasked.min_by_key(|(_, name)| name.used_at).map(|(host, _)| host.clone());
        if let Some(oldest) = oldest {
            self.names.remove(&oldest);
        }
    }
}

const UNKNOWN: Fault = Fault::new(Kind::UpstreamName, "a name that is not found");
/// How long a failure is remembered: a second.
const FAILURE_SWEEPS: u64 = 10;
/// How long addresses serve while they are looked up again: an hour.
const STALE_SWEEPS: u64 = 36_000;
/// How many names are remembered. Registries name them, in realms and redirects.
const NAMES_MAX: usize = 1024;
const _: () = assert!(NAMES_MAX > QUESTIONS_PER_WORKER_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    /// What a look comes to, and whether it asked.
    fn looked(memory: &mut Memory, now: u64) -> String {
        let mut asks = "";
        let look = memory.look("a.example", now, || {
            asks = ", asks";
            true
        });
        let known = match look {
            Look::Known(addresses) => format!("{addresses:?}"),
            Look::Asked => "waits".to_owned(),
            Look::Failed => "failed".to_owned(),
        };
        known + asks
    }

    fn learn(memory: &mut Memory, last: Option<u8>, now: u64) {
        let addresses = last.map(|last| Box::from([IpAddr::from([192, 0, 2, last])]));
        memory.learn("a.example", addresses, now, 50);
    }

    #[test]
    fn a_name_is_asked_for_once_and_its_old_addresses_serve_until_it_is_found_again() {
        let mut memory = Memory::default();
        assert_eq!(looked(&mut memory, 0), "waits, asks");
        assert_eq!(looked(&mut memory, 1), "waits");
        learn(&mut memory, Some(1), 2);
        assert_eq!(looked(&mut memory, 51), "[192.0.2.1]");
        assert_eq!(looked(&mut memory, 52), "[192.0.2.1], asks");
        assert_eq!(looked(&mut memory, 53), "[192.0.2.1]");
        learn(&mut memory, None, 54);
        assert_eq!(looked(&mut memory, 63), "[192.0.2.1]");
        assert_eq!(looked(&mut memory, 64), "[192.0.2.1], asks");
        learn(&mut memory, Some(2), 65);
        assert_eq!(looked(&mut memory, 66), "[192.0.2.2]");
        // Too old to be used unasked, but better than nothing.
        let later = 115 + STALE_SWEEPS;
        assert_eq!(looked(&mut memory, later), "waits, asks");
        learn(&mut memory, None, later + 1);
        assert_eq!(looked(&mut memory, later + 2), "[192.0.2.2]");
    }

    #[test]
    fn a_name_that_is_not_found_is_left_alone_for_a_second() {
        let mut memory = Memory::default();
        assert_eq!(looked(&mut memory, 0), "waits, asks");
        learn(&mut memory, None, 3);
        assert_eq!(looked(&mut memory, 12), "failed");
        assert_eq!(looked(&mut memory, 13), "waits, asks");
    }

    #[test]
    fn who_waits_is_woken_once_for_each_lookup() {
        let mut memory = Memory::default();
        let (mut first, mut second) = (None, None);
        for now in [0, 1, 2] {
            assert_eq!(looked(&mut memory, now).split(',').next(), Some("waits"));
            memory.wait("a.example", Waker::noop(), &mut first);
            memory.wait("a.example", Waker::noop(), &mut second);
        }
        assert_eq!(memory.learn("a.example", None, 3, 50).len(), 2);
        // One that was too late for the outcome waits for the next lookup.
        assert_eq!(looked(&mut memory, 13), "waits, asks");
        memory.wait("a.example", Waker::noop(), &mut first);
        assert_eq!(memory.learn("a.example", None, 14, 50).len(), 1);
    }

    #[test]
    fn names_are_forgotten_that_nobody_uses_and_questions_are_bounded() {
        let mut memory = Memory::default();
        for number in 0..NAMES_MAX as u64 + 100 {
            memory.look(&format!("{number}"), number, || true);
        }
        assert!(memory.names.len() <= NAMES_MAX);
        assert_eq!(memory.asked, QUESTIONS_PER_WORKER_MAX);
        assert!(memory.names.contains_key("0"), "it is asked for");
    }
}
