//! The hot line: every complete request of a buffer is parsed, decided, answered into one other
//! buffer and told to counting. Nothing here waits, allocates or locks.

use std::rc::Rc;
use std::sync::Arc;

use crate::messages::certificates::Certificates;
use crate::messages::ledger::Place;
use crate::messages::meters::Counter;
use crate::pure::answer;
use crate::pure::cache::Serving;
use crate::pure::certificates::Shown;
use crate::pure::decide::{Action, Forward, Known, Refusal, Say, decide};
use crate::pure::desk::OwnKeys;
use crate::pure::door::Door;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::encode::{Connection, DATE_BYTES, Manner, Out};
use crate::pure::http1::forwarded::{client_address, client_key};
use crate::pure::http1::handed::{self, Of};
use crate::pure::http1::head::{self, HeadLimits, Method, RequestHead, Version};
use crate::pure::http1::relayed::{self, Relayed};
use crate::pure::limits::BUFFER_BYTES;
use crate::pure::observe::{Asker, observe};
use crate::pure::proof::Proofs;
use crate::pure::pull::event::Address;
use crate::pure::snapshot::Snapshot;
use crate::worker::Worker;
use crate::worker::adopted::Adopted;
use crate::worker::buffers::Buffer;
use crate::worker::record::{self, Answered as Recorded};

/// What is known of the client behind a connection.
pub struct Client {
    /// Its address: the peer's, or what a trusted proxy's PROXY header says.
    pub address: [u8; 16],
    /// Its place in the ledger.
    pub place: Place,
    /// Whether the peer is a trusted proxy, whose header fields are believed.
    pub behind_proxy: bool,
    /// The connection's number.
    pub connection: u64,
    /// The certificate that it was shown; `None` in plain HTTP.
    pub shown: Option<Shown>,
    /// Whether it speaks HTTP/2, so that its requests were written as they are read here.
    pub speaks_http2: bool,
}

impl Client {
    /// Whose request `head` is: a trusted proxy is believed on whom it stands for.
    pub fn address_behind(&self, head: &RequestHead<'_>, snapshot: &Snapshot) -> [u8; 16] {
        if self.behind_proxy {
            client_address(&head.forwarded, self.address, &snapshot.trusted_proxies)
        } else {
            self.address
        }
    }

    /// What the dashboard is told of whose request it is whose `head` was parsed from `bytes`.
    pub fn of(&self, head: &RequestHead<'_>, bytes: &[u8], snapshot: &Snapshot) -> Of {
        Of {
            address: self.address_behind(head, snapshot),
            is_https: self.shown.is_some() || self.behind_proxy && handed::says_https(bytes),
        }
    }

    /// The head at the front of `bytes`, as [`head::parse`].
    pub fn parse<'b>(
        &self,
        bytes: &'b [u8],
        limits: &HeadLimits,
    ) -> Result<Option<RequestHead<'b>>, Fault> {
        let head = head::parse(bytes, limits)?;
        let version = |head: &RequestHead<'_>| match self.speaks_http2 {
            true => Version::Http2,
            false => head.version,
        };
        Ok(head.map(|head| RequestHead { version: version(&head), ..head }))
    }

    /// How its requests come.
    pub fn door<'d>(&'d self, certificates: &'d Certificates) -> Door<'d> {
        self.shown.as_ref().map_or_else(|| Door::Plain(certificates.names()), Door::Tls)
    }
}

/// What comes after the answer to `head`, and what the answer says of that. `ends` where only the
/// connection's end ends the answer.
pub fn manner_of(worker: &Worker, head: &RequestHead<'_>, ends: bool) -> (Next, Connection) {
    let next = match head.keep_alive && !ends {
        true if worker.is_draining() => Next::Part,
        true => Next::Answer,
        false => Next::Close,
    };
    (next, said(next, head.version))
}

fn said(next: Next, version: Version) -> Connection {
    match (next, version) {
        (
            Next::Receive | Next::Answer | Next::Forward | Next::HandOn,
            Version::Http11 | Version::Http2,
        ) => Connection::Stays,
        (Next::Receive | Next::Answer | Next::Forward | Next::HandOn, Version::Http10) => {
            Connection::StaysSaid
        }
        (Next::Close | Next::Part, _) => Connection::Closes,
    }
}

/// What became of a buffer's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How many were answered.
    pub requests: u64,
    /// What comes next, once the answers are written.
    pub next: Next,
}

/// What comes after a batch of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more complete requests: the answer buffer was full.
    Answer,
    /// The rest is no complete request.
    Receive,
    /// For the next request, still in its buffer, a registry is to be asked.
    Forward,
    /// The next request, still in its buffer, is the dashboard's.
    HandOn,
    /// The connection ends, as the client wished.
    Close,
    /// The connection ends though the client may still be sending.
    Part,
}

/// Answers the complete requests at the front of `input` into `output`, as of `now_us`.
pub fn batch(
    worker: &Worker,
    client: &Client,
    now_us: u64,
    input: &mut Buffer,
    output: &mut Buffer,
) -> Answered {
    let held = Held::by(worker);
    let turn = held.turn(client, now_us);
    let mut out = Out::new(output.all_mut(), 0);
    let mut read = 0;
    let mut answered = Answered { requests: 0, next: Next::Receive };
    while let Some(rest) = input.filled().get(read..).filter(|rest| !rest.is_empty()) {
        let before = out.used();
        let next = match client.parse(rest, &held.snapshot.head) {
            Ok(None) => break,
            Ok(Some(head)) => {
                let bytes = rest.get(..head.length).unwrap_or_default();
                turn.answer(&head, bytes, &mut out).map(|next| (head.length, next))
            }
            Err(fault) => refuse(worker, &mut out, &held.date, fault).map(|()| (0, Next::Part)),
        };
        let Some((length, next)) = next else {
            // An empty buffer holds any answer of ours (`limits::BUFFER_BYTES`).
            debug_assert!(before > 0, "an answer does not fit an empty buffer");
            out.take_back(before);
            answered.next = Next::Answer;
            break;
        };
        if matches!(next, Next::Forward | Next::HandOn) {
            answered.next = next;
            break;
        }
        read += length;
        answered.requests += 1;
        if next != Next::Receive {
            answered.next = next;
            break;
        }
    }
    let written = out.used();
    input.consume(read);
    output.set_filled(written);
    if answered.requests > 1 {
        worker.meters.add(Counter::RequestsPipelined, answered.requests - 1);
    }
    answered
}

/// Answers one request, whose head's bytes are `bytes`, into `output`, which is empty; as of `now_us`.
pub fn one(
    worker: &Worker,
    client: &Client,
    now_us: u64,
    head: &RequestHead<'_>,
    bytes: &[u8],
    output: &mut Buffer,
) -> Answered {
    let held = Held::by(worker);
    let mut out = Out::new(output.all_mut(), 0);
    let next = held.turn(client, now_us).answer(head, bytes, &mut out);
    debug_assert!(next.is_some(), "an answer does not fit an empty buffer");
    let next = next.unwrap_or(Next::Part);
    let written = out.used();
    output.set_filled(written);
    Answered { requests: u64::from(!matches!(next, Next::Forward | Next::HandOn)), next }
}

/// Fills `output` with the refusal of something that is no request.
pub fn refusal(worker: &Worker, output: &mut Buffer, fault: Fault) {
    let mut out = Out::new(output.all_mut(), 0);
    let fits = refuse(worker, &mut out, &worker.clock.date(), fault);
    debug_assert!(fits.is_some(), "an answer does not fit an empty buffer");
    let written = out.used();
    output.set_filled(written);
}

/// Refuses into `out`; `None` where it does not fit.
fn refuse(worker: &Worker, out: &mut Out<'_>, date: &[u8; DATE_BYTES], fault: Fault) -> Option<()> {
    let manner = Manner { date, head_only: false, connection: Connection::Closes };
    answer::write(out, &manner, &Action::from(fault));
    if out.is_overrun() {
        return None;
    }
    worker.meters.add(Counter::RequestsOther, 1);
    worker.meters.fault(fault.kind);
    worker.meters.add(Counter::answered(fault.kind.row().status_code()), 1);
    Some(())
}

/// What a worker answers by, as it is now.
#[expect(clippy::redundant_allocation, reason = "held as the worker has it: no count is shared")]
struct Held<'w> {
    worker: &'w Worker,
    snapshot: Rc<Adopted>,
    proofs: Rc<Arc<Proofs>>,
    keys: Rc<Arc<OwnKeys>>,
    certificates: Rc<Arc<Certificates>>,
    date: [u8; DATE_BYTES],
}

impl<'w> Held<'w> {
    fn by(worker: &'w Worker) -> Self {
        Self {
            worker,
            snapshot: worker.snapshot(),
            proofs: worker.proofs(),
            keys: worker.keys(),
            certificates: worker.certificates(),
            date: worker.clock.date(),
        }
    }

    fn turn<'t>(&'t self, client: &'t Client, now_us: u64) -> Turn<'t> {
        Turn {
            worker: self.worker,
            snapshot: &self.snapshot,
            proofs: &self.proofs,
            keys: &self.keys,
            door: client.door(&self.certificates),
            client,
            now_us,
            date: &self.date,
        }
    }
}

/// A client's turn.
struct Turn<'t> {
    worker: &'t Worker,
    snapshot: &'t Snapshot,
    proofs: &'t Proofs,
    keys: &'t OwnKeys,
    door: Door<'t>,
    client: &'t Client,
    now_us: u64,
    date: &'t [u8; DATE_BYTES],
}

impl Turn<'_> {
    /// Answers the request, whose head's bytes are `bytes`, into `out`; `None` where it does not fit.
    fn answer(&self, head: &RequestHead<'_>, bytes: &[u8], out: &mut Out<'_>) -> Option<Next> {
        let Self { worker, snapshot, client, .. } = self;
        let address = client.address_behind(head, snapshot);
        let allowance = snapshot.limits.requests_per_client.map(|rate| (rate, self.place(address)));
        let charged = allowance
            .map_or(Ok(()), |(rate, place)| worker.ledger.charge(place, rate, self.now_us));
        let action = match charged {
            Ok(()) => {
                let Self { proofs, keys, door, now_us, .. } = *self;
                let unix_s = worker.clock.unix_s();
                decide(Known { snapshot, door, proofs, keys, now_us, unix_s }, head)
            }
            Err(wait_us) => too_many(wait_us),
        };
        // A manifest that was served a moment ago needs nobody to be asked.
        let mut kept = None;
        match &action {
            Action::Forward(plan) => {
                if plan.wants_proof {
                    worker.wanted.offer(plan.location, plan.base_length, plan.name_tail);
                }
                kept = worker.manifests.recent(plan, head, bytes, self.now_us);
            }
            Action::Redirect(redirect) => {
                if let Some(plan) = redirect.asked(snapshot) {
                    kept = worker.manifests.recent(&plan, head, bytes, self.now_us);
                    let base = &snapshot.registries[plan.registry].base;
                    if kept.is_none() && worker.resolving.borrow().waits(base, self.now_us) {
                        return Some(Next::Forward);
                    }
                }
            }
            Action::HandOn(_) => return Some(Next::HandOn),
            Action::Grant(_) | Action::Secure(_) | Action::Say(_) | Action::Refuse(_) => {}
        }
        let serving = kept.as_ref().map(|kept| Serving::new(kept, head, bytes));
        let fits = serving.is_some_and(|it| it.bytes_max() <= BUFFER_BYTES);
        if !fits && matches!(action, Action::Forward(_) | Action::Grant(_)) {
            return Some(Next::Forward);
        }
        // Of what stands behind a request with another method nothing is known: it may have a body.
        let may_have_body = matches!(head.method, Method::Other(_));
        let parts = may_have_body
            || matches!(&action, Action::Refuse(refusal) if refusal.fault.kind.row().closes);
        let next = match (parts, head.keep_alive) {
            (false, true) if !worker.is_draining() => Next::Receive,
            (false, false) => Next::Close,
            (true, _) | (false, true) => Next::Part,
        };
        let manner = Manner {
            date: self.date,
            head_only: head.method == Method::Head,
            connection: said(next, head.version),
        };
        match (&action, &serving) {
            (Action::Forward(plan), Some(serving)) => {
                self.write_kept(out, &manner, head, plan, serving);
            }
            _ => answer::write(out, &manner, &action),
        }
        if out.is_overrun() {
            // It is asked again, into an empty buffer, and pays then.
            if let (Some((rate, place)), Ok(())) = (allowance, charged) {
                worker.ledger.refund(place, rate);
            }
            return None;
        }
        let asker =
            Asker { at_us: self.now_us, address: Address(address), connection: client.connection };
        let seen = serving.as_ref().map(Serving::seen);
        if let Some(event) = observe(&action, head, asker, seen) {
            worker.count(&event);
        }
        self.meter(head, &action, seen.map(|seen| seen.status), out.body_bytes());
        Some(next)
    }

    /// Writes a manifest that is kept, with its body if one is sent.
    fn write_kept<'h>(
        &self,
        out: &mut Out<'_>,
        manner: &Manner<'_>,
        head: &RequestHead<'h>,
        plan: &'h Forward<'h>,
        serving: &Serving<'h>,
    ) {
        let explained = plan.explained().filter(|_| self.snapshot.explain_header);
        let relayed = serving.relayed(Relayed { path: head.path, explained, ..Relayed::EMPTY });
        relayed::write(out, manner, &relayed, &self.snapshot.via);
        if let Some(body) = serving.body {
            out.put(&body[..]);
        }
    }

    fn place(&self, address: [u8; 16]) -> Place {
        if address == self.client.address {
            self.client.place
        } else {
            self.worker.ledger.place(client_key(address))
        }
    }

    /// `seen`: the status of what was kept.
    fn meter(&self, head: &RequestHead<'_>, action: &Action<'_>, seen: Option<u16>, bytes: usize) {
        let meters = &self.worker.meters;
        let (asked, status) = match action {
            Action::Redirect(redirect) => {
                meters.add(Counter::Redirects, 1);
                meters.add(Counter::RedirectsSeen, u64::from(seen.is_some()));
                (record::asked(&redirect.endpoint), 307)
            }
            Action::Secure(_) => (Counter::RequestsOther, 308),
            Action::Say(Say::Base) => (Counter::RequestsBase, 200),
            Action::Say(Say::Challenge(_) | Say::RegistryChallenge(_)) => {
                (Counter::RequestsBase, 401)
            }
            Action::Say(
                Say::Token(_) | Say::Welcome(..) | Say::Robots | Say::Proof(_) | Say::Reached(_),
            ) => (Counter::RequestsOther, 200),
            Action::Refuse(refusal) => {
                meters.fault(refusal.fault.kind);
                (Counter::RequestsOther, refusal.fault.kind.row().status_code())
            }
            Action::Forward(plan) => {
                meters.add(Counter::Forwarded, 1);
                meters.add(Counter::ManifestsFromMemory, 1);
                (record::asked(&plan.endpoint), seen.unwrap_or(200))
            }
            Action::Grant(_) | Action::HandOn(_) => unreachable!("answered aside"),
        };
        let read_at_us = self.now_us;
        record::answered(
            self.worker,
            head,
            Recorded { asked, status, bytes: bytes as u64, read_at_us },
        );
    }
}

/// The refusal of a client that may ask again after `wait_us`.
fn too_many<'r>(wait_us: u64) -> Action<'r> {
    let fault = Fault::new(Kind::RequestsTooMany, "");
    let retry_after_s = wait_us.div_ceil(1_000_000).max(1);
    Action::Refuse(Refusal { retry_after_s, ..Refusal::of(fault) })
}
