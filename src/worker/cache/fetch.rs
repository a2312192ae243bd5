//! One round: what a registry is asked so that it can be told to many.
//!
//! What a tag stands for is asked by HEAD: that costs nothing of a registry's limit of pulls, and
//! mostly says that nothing has changed.

use std::rc::Rc;
use std::time::Duration;

use http::header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT};

use super::{Kept, good};
use crate::messages::clock::monotonic_us;
use crate::pure::cache::{Body, Failure, Held, Sought, Told};
use crate::pure::config::values::Upstream;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::pass::Asked;
use crate::pure::http1::relayed::DIGEST_FIELD;
use crate::pure::http1::response::field;
use crate::pure::http1::retry_after::retry_after_s;
use crate::pure::limits::{ERROR_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::pure::oci::reference::Digest;
use crate::pure::oci::sha256::sha256_of;
use crate::pure::pull::kin;
use crate::worker::obtain::{Obtained, Question, Trouble, Who, base_fields, obtain};
use crate::worker::upstream::token_service::USER_AGENT_OWN;
use crate::worker::upstream::{Answer, Method};
use crate::worker::within::within;
use crate::worker::{Adopted, Worker};

/// Asks one of the registries of `adopted` for what is `sought`, for so many sweeps at the most in all
/// its steps, however steadily a few bytes come.
pub(super) async fn fetch(
    worker: &Rc<Worker>,
    adopted: &Rc<Adopted>,
    registry: usize,
    sought: &Sought,
    sweeps_max: u64,
) -> Told<Kept> {
    let fetching = Fetching { worker, adopted, registry, sought };
    let asking = async {
        match sought.is_digest() && !sought.is_head {
            true => fetching.content().await,
            false => fetching.head().await,
        }
    };
    let told = within(worker, sweeps_max, asking).await;
    let late = || Err(fetching.failure(TOO_SLOW, 0));
    told.unwrap_or_else(late).unwrap_or_else(Told::Failed)
}

/// How long a registry may take in a round; and how long, but for the disk's half second, anybody
/// waits, for whatever rounds. So a manifest is no further away than any other answer.
pub(super) fn patience(upstream: &Upstream) -> Duration {
    upstream.connect_timeout + upstream.first_byte_timeout
}

struct Fetching<'f> {
    worker: &'f Rc<Worker>,
    adopted: &'f Rc<Adopted>,
    registry: usize,
    sought: &'f Sought,
}

impl Fetching<'_> {
    /// What a tag stands for; of a digest, no more than the head.
    async fn head(&self) -> Result<Told<Kept>, Failure> {
        let since_us = now_us();
        let answer = self.ask(Method::Head).await?;
        let said = field(&answer.head_bytes, DIGEST_FIELD);
        let said = said.and_then(|digest| Digest::parse(digest).ok());
        let meant = self.sought.is_digest().then_some(self.sought.reference.as_bytes());
        let digest = match meant.and_then(|meant| Digest::parse(meant).ok()) {
            // It is believed for ever: what is named otherwise there, or not at all, a GET shows.
            Some(meant) => said.filter(|said| *said == meant),
            None => said,
        };
        let held = digest
            .filter(|_| answer.head.status == 200)
            .map(|digest| Held::new(200, &answer.head_bytes, digest.as_str(), None, b""));
        answer.discard(self.worker);
        match held {
            Some(held) => Ok(Told::Fresh(good(held, since_us))),
            // It does not say the digest, or does not know HEAD, or there is nothing: a GET says
            // more, were it only in words.
            None => self.whole(since_us).await,
        }
    }

    /// What a digest names.
    async fn content(&self) -> Result<Told<Kept>, Failure> {
        if !self.worker.manifests.met.borrow().contains(&self.sought.base) {
            // It may ask for a token, and a GET that is refused may count as one that is not, also
            // where another worker has met it.
            self.ask(Method::Head).await?.discard(self.worker);
        }
        self.whole(now_us()).await
    }

    async fn whole(&self, since_us: i64) -> Result<Told<Kept>, Failure> {
        let answer = self.ask(Method::Get).await?;
        let status = answer.head.status;
        let mut head = answer.head_bytes.clone();
        let most = if status == 200 { MANIFEST_BYTES_MAX } else { ERROR_BYTES_MAX };
        let bytes = match answer.read_body(self.worker, most).await {
            Ok(bytes) => bytes,
            // The status says enough; whose page it is does not matter.
            Err(fault) if fault.kind == Kind::UpstreamTooLarge && status >= 400 => {
                head = Box::default();
                Default::default()
            }
            Err(fault) => return Err(self.failure(fault, 0)),
        };
        let body = Body::new(bytes[..].into());
        if status != 200 {
            let held = Held::new(status, &head, "", Some(body), b"");
            // That a tag is not there is believed as long as that it is.
            let is_kept = status == 404 && !self.sought.is_digest();
            let told = good(held, since_us);
            return Ok(if is_kept { Told::Fresh(told) } else { Told::Said(told.value) });
        }
        if field(&head, "Content-Encoding").is_some_and(|coding| coding != b"identity") {
            let fault = Fault::new(Kind::UpstreamMalformed, "a manifest in another encoding");
            return Err(self.failure(fault, 0));
        }
        let digest = sha256_of(&body);
        if self.sought.is_digest() && *self.sought.reference != *digest {
            return Err(self.failure(Fault::new(Kind::UpstreamDigest, ""), 0));
        }
        let held = Held::new(200, &head, &digest, Some(body), kin::read(&bytes).bytes());
        Ok(Told::Fresh(good(held, since_us)))
    }

    /// The gateway asks for itself: whoever began the round has no part in what others are answered.
    fn fields(&self) -> HeaderMap {
        let mut fields = base_fields(b"", Asked::Manifest, &self.adopted.via);
        fields.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_OWN));
        let accept = if self.sought.is_digest() { ANY_MANIFEST } else { &*self.sought.accept };
        if let Ok(accept) = HeaderValue::from_str(accept)
            && !accept.is_empty()
        {
            fields.insert(ACCEPT, accept);
        }
        fields
    }

    async fn ask(&self, method: Method) -> Result<Answer, Failure> {
        let Self { worker, adopted, registry, sought } = self;
        let Sought { base, repository, reference, identity, has_others, .. } = sought;
        if *has_others && worker.health.borrow().is_ill(base, monotonic_us()) {
            return Err(self.failure(LEFT_ALONE, 0));
        }
        let question = Question {
            adopted: Rc::clone(adopted),
            registry: *registry,
            repository: repository.clone(),
            who: Who::Gateway(*identity),
            method,
            asked: Asked::Manifest,
            target: format!("/v2/{repository}/manifests/{reference}"),
            fields: self.fields(),
            streams: false,
            login_for: None,
        };
        let answer = match obtain(worker, &question).await {
            Ok(Obtained::Answered(answer)) => answer,
            Ok(Obtained::HandOn { .. }) => unreachable!("only blobs are handed on"),
            Err(Trouble { fault, at }) => {
                let failure = Failure { at, ..self.failure(fault, 0) };
                if failure.is_outage() {
                    worker.health.borrow_mut().failed(base, monotonic_us());
                }
                return Err(failure);
            }
        };
        worker.manifests.met.borrow_mut().insert(base.clone());
        let kind = match answer.head.status {
            429 => Kind::UpstreamBusy,
            500.. => {
                worker.health.borrow_mut().failed(base, monotonic_us());
                Kind::UpstreamFailing
            }
            _ => {
                worker.health.borrow_mut().well(base);
                return Ok(answer);
            }
        };
        let retry_after_s = retry_after_s(&answer.head_bytes, worker.clock.unix_s());
        let failure = self.failure(Fault::new(kind, ""), retry_after_s);
        answer.discard(worker);
        Err(failure)
    }

    /// A failure, said where an operator looks: clients may be served all the same.
    fn failure(&self, fault: Fault, retry_after_s: u64) -> Failure {
        let failure = Failure::new(fault, retry_after_s, monotonic_us());
        if failure.is_outage() {
            self.worker.complain(fault, &self.adopted.registries[self.registry].origin);
        }
        failure
    }
}

/// Now, as answers are dated.
fn now_us() -> i64 {
    monotonic_us().cast_signed()
}

/// Some registries have an index only for who says that it knows indexes.
const ANY_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*";

/// What is said where all of it takes longer than anybody waits.
pub(super) const TOO_SLOW: Fault =
    Fault::new(Kind::UpstreamTimeout, "an answer in several steps that takes too long");
/// What is said of a registry that is not asked because it has failed lately.
pub const LEFT_ALONE: Fault = Fault::new(Kind::UpstreamUnreachable, "it has failed a moment ago");
