//! One request that is forwarded: the registry is asked in the client's stead, and what it answers
//! is handed on.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::messages::clock::monotonic_us;
use crate::messages::meters::Counter;
use crate::pure::answer;
use crate::pure::cache::{Failure, Held, Serving};
use crate::pure::config::values::Credentials;
use crate::pure::decide::{Action, Forward, Refusal};
use crate::pure::desk::Challenge;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::encode::{DATE_BYTES, Manner, Out};
use crate::pure::http1::head::{Method, RequestHead, Version};
use crate::pure::http1::relayed::{self, DIGEST_FIELD, Length, Relayed};
use crate::pure::http1::response::{Framing, field};
use crate::pure::http1::retry_after::retry_after_s;
use crate::pure::limits::{ERROR_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::pure::observe::{Asker, Seen, observe, observe_end};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::oci::list;
use crate::pure::oci::reference::{Digest, Reference};
use crate::pure::oci::sha256::sha256_of;
use crate::pure::pull::event::Address;
use crate::pure::pull::kin;
use crate::pure::route::table::Site;
use crate::pure::why::Explained;
use crate::worker::answer::{Client, Next, manner_of};
use crate::worker::buffers::Buffer;
use crate::worker::cache::{self, Kept, Missing};
use crate::worker::downstream::{Downstream, Whole};
use crate::worker::obtain::{Obtained, Question, Trouble, Who, obtain};
use crate::worker::over::Over;
use crate::worker::record::{self, Answered};
use crate::worker::relay::{self, Broke, ClientFraming};
use crate::worker::reread;
use crate::worker::slots::Phase;
use crate::worker::upstream::Answer;
use crate::worker::{Adopted, Worker};

/// One request, what was decided about it, and who asks.
#[derive(Clone, Copy)]
pub struct Exchange<'e> {
    /// Who answers.
    pub worker: &'e Rc<Worker>,
    /// The configuration that it was decided by.
    pub adopted: &'e Rc<Adopted>,
    /// The domain that it names.
    pub site: Site<'e>,
    /// What was decided.
    pub action: &'e Action<'e>,
    /// What the registry is asked.
    pub plan: &'e Forward<'e>,
    /// The request.
    pub head: &'e RequestHead<'e>,
    /// The head's bytes.
    pub bytes: &'e [u8],
    /// Who asks.
    pub client: &'e Client,
    /// When the request was read.
    pub read_at_us: u64,
    /// Whether an account that is refused may be another one meanwhile.
    pub may_reread: bool,
}

/// What a registry has.
enum Found {
    /// Kept here.
    Kept(Kept),
    /// Asked for now.
    Asked(Box<Obtained>),
}

impl Found {
    fn status(&self) -> u16 {
        match self {
            Self::Kept(held) => held.status,
            Self::Asked(obtained) => obtained.answer().head.status,
        }
    }

    fn discard(self, worker: &Rc<Worker>) {
        if let Self::Asked(obtained) = self {
            match *obtained {
                Obtained::Answered(answer) | Obtained::HandOn { answer, .. } => {
                    answer.discard(worker);
                }
            }
        }
    }
}

impl Exchange<'_> {
    /// Asks the package's registries in order, until one can be asked. What an earlier one has said
    /// that a tag stands for holds: of a later one that very content is wanted, and that it has no
    /// such thing is not believed while an earlier one is silent.
    ///
    /// `None`: the registry refuses an account that is another one by now, so that the request has to
    /// be decided anew. Nothing of an answer is sent then.
    pub async fn run(&self, down: &mut Downstream<'_>) -> Result<Option<Next>, Over> {
        let mut homes = self.plan.homes().peekable();
        let mut silent: Option<Failure> = None;
        let mut meant: Option<Box<str>> = None;
        while let Some(home) = homes.next() {
            let here = Exchange { plan: &home, ..*self };
            let is_last = homes.peek().is_none();
            if !is_last && let Some(left_alone) = here.passed_over() {
                silent.get_or_insert(left_alone);
                continue;
            }
            let found = here.find(meant.as_deref()).await;
            let is_ours = self.may_reread && home.credentials == Credentials::Registry;
            if is_ours
                && is_refused(&found)
                && reread::account(self.worker, self.adopted, home.registry).await
            {
                found.into_iter().for_each(|found| found.discard(self.worker));
                return Ok(None);
            }
            match found {
                Ok(found) if found.status() == 404 && silent.is_some() => {
                    found.discard(self.worker)
                }
                Ok(found) if !is_last && here.goes_on_after(&found) => {
                    if found.status() != 404 {
                        let silence = here.silence(&found);
                        silent = silent.or(Some(silence));
                    }
                    found.discard(self.worker);
                }
                Ok(found) => {
                    let is_first = home.registry == self.plan.registry;
                    self.worker.meters.add(Counter::Failovers, u64::from(!is_first));
                    return here.answer(down, found).await.map(Some);
                }
                Err(Missing { failure, digest }) if !is_last && failure.is_outage() => {
                    silent.get_or_insert(failure);
                    meant = meant.or(digest);
                }
                Err(Missing { failure, .. }) => {
                    return self.refuse(down, silent.unwrap_or(failure)).await.map(Some);
                }
            }
        }
        let nobody = Fault::new(Kind::UpstreamUnreachable, "none of its registries can be asked");
        self.refuse(down, silent.unwrap_or_else(|| nobody.into())).await.map(Some)
    }

    /// What its registry has. `meant`: the digest of the manifest that is asked for, where that is
    /// known by another registry's word.
    async fn find(&self, meant: Option<&str>) -> Result<Found, Missing> {
        let Self { worker, adopted, plan, head, bytes, .. } = self;
        let question = Question::of_client(worker, adopted, plan, head, bytes)?;
        if let Endpoint::Manifest { reference, .. } = plan.endpoint {
            let meant = meant.and_then(|digest| Digest::parse(digest.as_bytes()).ok());
            let reference = meant.map_or(reference, Reference::Digest);
            let has_others = !plan.matched.others.is_empty();
            match cache::get(worker, &question, reference, bytes, has_others).await {
                Some(Ok(found)) => {
                    // What was asked by an earlier configuration may not be by this one.
                    if meant.is_none() && Rc::ptr_eq(&worker.snapshot(), adopted) {
                        worker.manifests.remember(plan, head, bytes, &found);
                    }
                    return Ok(Found::Kept(found.kept));
                }
                Some(Err(missing)) => return Err(missing),
                None if meant.is_some() => return Err(Fault::new(Kind::UpstreamDigest, "").into()),
                None => {}
            }
        }
        let base = &adopted.registries[plan.registry].base;
        match obtain(worker, &question).await {
            Ok(obtained) => {
                let found = Found::Asked(Box::new(obtained));
                // What lists and blobs are answered says nothing of manifests.
                let is_manifest = matches!(plan.endpoint, Endpoint::Manifest { .. });
                if is_manifest && matches!(found.status(), 401 | 403) {
                    self.refused(&question);
                }
                if found.status() < 500 {
                    worker.health.borrow_mut().well(base);
                }
                Ok(found)
            }
            Err(Trouble { fault, at }) => {
                let failure = Failure { at, ..Failure::from(fault) };
                if failure.is_refusal() {
                    self.refused(&question);
                }
                if failure.is_outage() {
                    worker.health.borrow_mut().failed(base, monotonic_us());
                }
                Err(failure.into())
            }
        }
    }

    /// The registry does not let who asks pull there: it says so of a manifest, or its token service
    /// gives no token to pull with.
    fn refused(&self, question: &Question) {
        if let Who::Gateway(identity) = question.who {
            let base = &self.adopted.registries[question.registry].base;
            cache::refused(self.worker, base, &question.repository, identity);
        }
    }

    /// Why its registry is not asked, if it has failed a moment ago. Manifests are asked for all the
    /// same: what is kept of them is as good as ever.
    fn passed_over(&self) -> Option<Failure> {
        if matches!(self.plan.endpoint, Endpoint::Manifest { .. }) {
            return None;
        }
        let base = &self.adopted.registries[self.plan.registry].base;
        let until_us = self.worker.health.borrow().ill_until_us(base, monotonic_us())?;
        Some(Failure { until_us, ..cache::LEFT_ALONE.into() })
    }

    /// Whether the next registry is asked after this answer.
    fn goes_on_after(&self, found: &Found) -> bool {
        match found.status() {
            404 => self.plan.matched.failover_on_404,
            429 | 500.. => true,
            _ => false,
        }
    }

    /// What is wrong where a registry answers that it cannot.
    fn silence(&self, found: &Found) -> Failure {
        let is_busy = found.status() == 429;
        let kind = if is_busy { Kind::UpstreamBusy } else { Kind::UpstreamFailing };
        let base = &self.adopted.registries[self.plan.registry].base;
        self.worker.health.borrow_mut().failed(base, monotonic_us());
        let head: &[u8] = match found {
            Found::Asked(obtained) => &obtained.answer().head_bytes,
            Found::Kept(_) => b"",
        };
        let retry_after_s = retry_after_s(head, self.worker.clock.unix_s());
        Failure::new(Fault::new(kind, ""), retry_after_s, monotonic_us())
    }

    async fn answer(&self, down: &mut Downstream<'_>, found: Found) -> Result<Next, Over> {
        let obtained = match found {
            Found::Kept(held) => return self.kept(down, &held).await,
            Found::Asked(obtained) => *obtained,
        };
        match obtained {
            Obtained::HandOn { answer, to } => {
                let status = answer.head.status;
                answer.discard(self.worker);
                self.count(status, b"", b"");
                let to = to.to_string();
                let relayed = Relayed { location: Some(&to), ..self.relayed(b"", status, EMPTY) };
                self.send(down, &relayed, Bytes::new()).await
            }
            Obtained::Answered(answer) if self.is_streamed(&answer) => {
                self.stream(down, answer).await
            }
            Obtained::Answered(answer) if answer.head.framing == Framing::None => {
                self.head_only(down, answer).await
            }
            Obtained::Answered(answer) => self.whole(down, answer).await,
        }
    }

    /// Only a blob's bytes are streamed; everything else is small, and judged when it is read.
    fn is_streamed(&self, answer: &Answer) -> bool {
        matches!(self.plan.endpoint, Endpoint::Blob { .. })
            && matches!(answer.head.status, 200 | 206)
            && answer.head.framing != Framing::None
    }

    /// An answer without a body: to HEAD, or 304.
    async fn head_only(&self, down: &mut Downstream<'_>, answer: Answer) -> Result<Next, Over> {
        let status = answer.head.status;
        let upstream = answer.head_bytes.clone();
        answer.discard(self.worker);
        let digest = field(&upstream, DIGEST_FIELD).filter(|digest| Digest::parse(digest).is_ok());
        self.count(status, digest.unwrap_or_default(), b"");
        let length = match field(&upstream, "Content-Length") {
            // A list that says another name here is not as long.
            Some(_) if self.is_renamed_list() => Length::Unsaid,
            // As long as a GET's would be (RFC 9110, 9.3.2); of 304 nobody needs to know.
            Some(length) if self.head.method == Method::Head => Length::Said(length),
            Some(_) | None => Length::Unsaid,
        };
        self.send(down, &self.relayed(&upstream, status, length), Bytes::new()).await
    }

    /// An answer that is read whole: a manifest, a list, or an error.
    async fn whole(&self, down: &mut Downstream<'_>, answer: Answer) -> Result<Next, Over> {
        let status = answer.head.status;
        let upstream = answer.head_bytes.clone();
        let most = if (200..300).contains(&status) { MANIFEST_BYTES_MAX } else { ERROR_BYTES_MAX };
        let body = match answer.read_body(self.worker, most).await {
            Ok(body) => body,
            // The status says enough; whose page it is does not matter.
            Err(fault) if fault.kind == Kind::UpstreamTooLarge && status >= 400 => {
                return self.send(down, &self.relayed(b"", status, EMPTY), Bytes::new()).await;
            }
            Err(fault) => return self.refuse(down, fault.into()).await,
        };
        let renamed = self.plan.endpoint.name().filter(|_| status == 200 && self.is_renamed_list());
        let renamed = renamed.and_then(|name| list::under_name(&body, name));
        let body = renamed.map_or(body, Bytes::from);
        let length = Length::Known(body.len() as u64);
        let mut relayed = self.relayed(&upstream, status, length);
        let Endpoint::Manifest { reference, .. } = self.plan.endpoint else {
            self.count(status, b"", b"");
            return self.send(down, &relayed, body).await;
        };
        if status != 200 {
            return self.send(down, &relayed, body).await;
        }
        if field(&upstream, "Content-Encoding").is_some_and(|coding| coding != b"identity") {
            let fault = Fault::new(Kind::UpstreamMalformed, "a manifest in another encoding");
            return self.refuse(down, fault.into()).await;
        }
        let digest = sha256_of(&body);
        match reference {
            Reference::Digest(asked) if !asked.as_str().starts_with("sha256:") => {}
            Reference::Digest(asked) if asked.as_str() != digest => {
                let fault = Fault::new(Kind::UpstreamDigest, "");
                return self.refuse(down, fault.into()).await;
            }
            Reference::Digest(_) | Reference::Tag(_) => relayed.digest = Some(&digest),
        }
        self.count(status, digest.as_bytes(), kin::read(&body).bytes());
        self.send(down, &relayed, body).await
    }

    /// Whether tags are listed of what has another name at the registry.
    fn is_renamed_list(&self) -> bool {
        let Endpoint::TagsList { name } = self.plan.endpoint else {
            return false;
        };
        name.as_str() != self.plan.repository()
    }

    /// An answer that was kept.
    pub async fn kept(&self, down: &mut Downstream<'_>, held: &Held) -> Result<Next, Over> {
        let serving = Serving::new(held, self.head, self.bytes);
        let relayed = serving.relayed(self.relayed(b"", held.status, EMPTY));
        let Seen { status, digest, kin } = serving.seen();
        self.count(status, digest, kin);
        // Past a buffer's length it is shared with the ring, and with it its count.
        self.send(down, &relayed, serving.body.map(Arc::clone).unwrap_or_default()).await
    }

    /// A blob's bytes, as they come.
    async fn stream(&self, down: &mut Downstream<'_>, answer: Answer) -> Result<Next, Over> {
        let status = answer.head.status;
        let (length, framing) = match (answer.head.framing, self.head.version) {
            (Framing::Length(bytes), _) => (Length::Known(bytes), ClientFraming::Length),
            (_, Version::Http11) => (Length::Chunked, ClientFraming::Chunked),
            (_, Version::Http10 | Version::Http2) => (Length::Unsaid, ClientFraming::UntilClose),
        };
        let upstream = answer.head_bytes.clone();
        let relayed = self.relayed(&upstream, status, length);
        let (head, next) = match self.head_of(&relayed) {
            Ok(written) => written,
            // Nothing of the body may follow a refusal: it would be taken for the next answer.
            Err(fault) => return self.refuse(down, fault.into()).await,
        };
        self.count(status, b"", b"");
        self.record(status, announced(length));
        let passage = Passage { exchange: self, bytes: Cell::new(0), is_whole: Cell::new(false) };
        // Until the client has taken it, the registry is not to be blamed for waiting.
        answer.seat.wait(Phase::Forwarding, self.worker.clock.sweep());
        down.send(head).await?;
        let bytes_max = self.adopted.limits.buffer_bytes;
        let (worker, sink, seat) = (self.worker, down.sink(), down.seat());
        let passed = &passage.bytes;
        match relay::body(worker, answer, sink, seat, framing, bytes_max, passed).await {
            Ok(()) => {
                passage.is_whole.set(true);
                Ok(next)
            }
            Err(Broke::Client) => Err(Over),
            Err(Broke::Upstream(fault)) => {
                self.complain(fault);
                if framing == ClientFraming::UntilClose {
                    // Without a length, only a reset says that this is not the end.
                    down.cut();
                }
                Err(Over)
            }
        }
    }

    async fn refuse(&self, down: &mut Downstream<'_>, failure: Failure) -> Result<Next, Over> {
        let Failure { fault, at, .. } = &failure;
        let fault = *fault;
        self.complain(fault);
        let registry = &self.adopted.registries[self.plan.registry];
        let authority = registry.origin.authority();
        let refusal = Refusal {
            registry: Some(at.as_deref().unwrap_or(&authority)),
            name: self.plan.endpoint.name(),
            challenge: self.challenge().filter(|_| fault.kind == Kind::LoginRefused),
            explained: self.explained(),
            retry_after_s: failure.retry_after_s(monotonic_us()),
            ..Refusal::of(fault)
        };
        let (next, connection) = manner_of(self.worker, self.head, false);
        let date = self.worker.clock.date();
        let manner =
            Manner { date: &date, head_only: self.head.method == Method::Head, connection };
        let mut output = self.worker.pool.lend();
        let mut out = Out::new(output.all_mut(), 0);
        answer::write(&mut out, &manner, &Action::Refuse(refusal));
        let (used, body_bytes) = (out.used(), out.body_bytes());
        output.set_filled(used);
        self.record(fault.kind.row().status_code(), body_bytes as u64);
        down.send(output).await?;
        Ok(next)
    }

    /// Sends a head, and a body that is here already: in one write where they fit a buffer.
    async fn send<B: Whole>(
        &self,
        down: &mut Downstream<'_>,
        relayed: &Relayed<'_>,
        body: B,
    ) -> Result<Next, Over> {
        let (mut output, next) = match self.head_of(relayed) {
            Ok(written) => written,
            Err(fault) => return self.refuse(down, fault.into()).await,
        };
        let used = output.filled().len();
        let mut out = Out::new(output.all_mut(), used);
        let length = body.all().len();
        let fits = length <= out.room();
        if fits {
            out.put(body.all());
        }
        let used = out.used();
        output.set_filled(used);
        self.record(relayed.status, announced(relayed.length));
        down.send(output).await?;
        if !fits {
            down.send(body).await?;
        }
        Ok(next)
    }

    /// A head in a buffer of its own, and what comes after its answer.
    fn head_of(&self, relayed: &Relayed<'_>) -> Result<(Buffer, Next), Fault> {
        let is_until_close = relayed.length == Length::Unsaid
            && self.head.method == Method::Get
            && !matches!(relayed.status, 204 | 304);
        let (next, connection) = manner_of(self.worker, self.head, is_until_close);
        let date: [u8; DATE_BYTES] = self.worker.clock.date();
        let manner =
            Manner { date: &date, head_only: self.head.method == Method::Head, connection };
        let mut output = self.worker.pool.lend();
        let mut out = Out::new(output.all_mut(), 0);
        relayed::write(&mut out, &manner, relayed, &self.adopted.via);
        if out.is_overrun() {
            return Err(Fault::new(Kind::UpstreamTooLarge, "its answer's header fields"));
        }
        let used = out.used();
        output.set_filled(used);
        Ok((output, next))
    }

    fn relayed<'r>(&'r self, upstream: &'r [u8], status: u16, length: Length<'r>) -> Relayed<'r> {
        let (path, challenge, explained) = (self.head.path, self.challenge(), self.explained());
        Relayed {
            status,
            upstream,
            ready: b"",
            path,
            location: None,
            digest: None,
            length,
            challenge,
            explained,
        }
    }

    /// What the answer says of its way.
    fn explained(&self) -> Option<Explained<'_>> {
        self.plan.explained().filter(|_| self.adopted.explain_header)
    }

    /// Where the client gets a token for this package, if its own is wanted.
    fn challenge(&self) -> Option<Challenge<'_>> {
        let is_clients = self.plan.credentials == Credentials::Client;
        Challenge::of(self.site, self.plan.endpoint.name()).filter(|_| is_clients)
    }

    /// Tells counting what came of the request.
    fn count(&self, status: u16, digest: &[u8], kin: &[u8]) {
        let seen = Seen { status, digest, kin };
        if let Some(event) = observe(self.action, self.head, self.asker(), Some(seen)) {
            self.worker.count(&event);
        }
    }

    fn asker(&self) -> Asker {
        let address = Address(self.client.address_behind(self.head, self.adopted));
        Asker { at_us: monotonic_us(), address, connection: self.client.connection }
    }

    fn record(&self, status: u16, bytes: u64) {
        let asked = record::asked(&self.plan.endpoint);
        let read_at_us = self.read_at_us;
        self.worker.meters.add(Counter::Forwarded, 1);
        record::answered(self.worker, self.head, Answered { asked, status, bytes, read_at_us });
    }

    /// Counts what went wrong, and says so where an operator looks, but not for every client.
    fn complain(&self, fault: Fault) {
        self.worker.meters.fault(fault.kind);
        // A wrong password is the client's own affair.
        if fault.kind != Kind::LoginRefused {
            let registry = &self.adopted.registries[self.plan.registry];
            self.worker.complain(fault, &registry.origin);
        }
    }
}

/// A blob on its way to the client. However that ends, also where its head could not be written, or
/// nobody waits for it any more, counting is told of its end when this is dropped.
struct Passage<'e> {
    exchange: &'e Exchange<'e>,
    /// Of it the client has taken.
    bytes: Cell<u64>,
    is_whole: Cell<bool>,
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let Exchange { worker, action, head, .. } = *self.exchange;
        let asker = self.exchange.asker();
        let end = observe_end(action, head, asker, self.bytes.get(), self.is_whole.get());
        if let Some(event) = end {
            worker.count(&event);
        }
    }
}

/// Whether a registry does not take who asks.
fn is_refused(found: &Result<Found, Missing>) -> bool {
    match found {
        Ok(found) => found.status() == 401,
        Err(missing) => missing.failure.is_refusal(),
    }
}

/// The length that a client is told.
fn announced(length: Length<'_>) -> u64 {
    match length {
        Length::Known(bytes) => bytes,
        Length::Said(_) | Length::Chunked | Length::Unsaid => 0,
    }
}

const EMPTY: Length<'static> = Length::Known(0);
