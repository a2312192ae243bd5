//! Finding out whether anybody can pull what the packages lead to, so that clients may be sent
//! there: registries are asked as a stranger would ask, and what they say is published to the
//! workers.
//!
//! ```text
//!   configuration ─► plan ─► schedule ── question ─► ask ─► registry
//!   names met under patterns ──┘  ▲                   │
//!                                 └───── answer ──────┘
//!                                 └─► proofs ─► workers
//! ```

mod ask;
#[cfg(test)]
mod dialogues;
pub mod look;
mod plan;
mod record;
mod registry;
mod schedule;
#[cfg(test)]
mod simulation;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::messages::clock::monotonic_us;
use crate::messages::wanted::WantedReceiver;
use crate::pure::proof::{Proof, Proofs};
use ask::Asker;
pub use ask::How;
pub use plan::Plan;
use plan::Redirect;
pub use record::Record;
use schedule::Schedule;

/// What a prover is made of.
pub struct Options {
    /// Names that workers met.
    pub wanted: WantedReceiver,
    /// Hands what is known to the workers; may block for a moment.
    pub publish: Arc<Publish>,
    /// Where it counts.
    pub record: Arc<Record>,
}

/// See [`Options::publish`].
pub type Publish = dyn Fn(&Arc<Proofs>) + Send + Sync;

/// The prover, to be run on control's runtime.
pub struct Prover {
    options: Options,
    plans: mpsc::Receiver<Plan>,
    schedule: Schedule,
    asker: Option<Arc<Asker>>,
    redirects: Vec<Redirect>,
    /// Those of which it was said that they fail.
    said: HashSet<Redirect>,
    /// What some worker may still read: it is freed here, so that no worker pays for that.
    published: Vec<Arc<Proofs>>,
    publish_after: Duration,
}

/// Tells the prover of a new configuration.
pub struct Plans(mpsc::Sender<Plan>);

impl Plans {
    /// Asks by `plan` from now on. Waits while the prover takes the one before.
    pub fn adopt(&self, plan: Plan) {
        // A prover that is gone asks nothing more.
        let _ = self.0.blocking_send(plan);
    }
}

/// A question: what is asked of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    /// `https://ghcr.io/v2/`
    base: Arc<str>,
    /// The repository; `None` for the base itself.
    repository: Option<Arc<str>>,
}

/// What a question brought.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// A base's.
    Base(Facts),
    /// A repository's.
    Repository(Proof),
    /// None, and how long the registry wants to be left alone, where it says so.
    Failed(Option<Duration>),
}

/// What is known of a registry as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    /// `WWW-Authenticate` of its `/v2/`; `None` where it asks for nothing.
    challenge: Option<String>,
    /// Whether every client can be sent there: over https, to public addresses.
    is_for_all: bool,
}

impl Prover {
    /// A prover that knows nothing yet, and what tells it of configurations.
    pub fn new(options: Options) -> (Self, Plans) {
        let (plans, to_adopt) = mpsc::channel(1);
        let prover = Self {
            options,
            plans: to_adopt,
            schedule: Schedule::new(RandomState::new().build_hasher().finish()),
            asker: None,
            redirects: Vec::new(),
            said: HashSet::new(),
            published: Vec::new(),
            publish_after: Duration::ZERO,
        };
        (prover, Plans(plans))
    }

    /// Asks and publishes until it is dropped.
    pub async fn run(mut self) {
        let mut asked = JoinSet::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(plan) = self.plans.recv() => self.adopt(plan),
                Some(Ok((question, answer))) = asked.join_next() => self.told(&question, answer),
                _ = ticks.tick() => {}
            }
            let wanted = std::iter::from_fn(|| self.options.wanted.try_take());
            for wanted in wanted.take(WANTED_PER_TICK_MAX) {
                if let Some((base, repository)) = wanted.parts() {
                    self.schedule.want(base, repository);
                }
            }
            if let Some(asker) = &self.asker {
                while let Some(question) = self.schedule.next(now()) {
                    asked.spawn(ask(Arc::clone(asker), question));
                }
            }
            if self.publish_after <= now() && self.schedule.take_changed() {
                self.publish().await;
            }
        }
    }

    fn adopt(&mut self, plan: Plan) {
        self.schedule.adopt(plan.subjects, now());
        self.asker = Some(Arc::new(plan.asker));
        self.redirects = plan.redirects;
    }

    fn told(&mut self, question: &Question, answer: Answer) {
        self.options.record.count_ask(!matches!(answer, Answer::Failed(_)));
        self.schedule.told(question, answer, now());
    }

    async fn publish(&mut self) {
        let begun = now();
        let proofs = Arc::new(self.schedule.proofs());
        let failing = self.say_what_fails();
        self.options.record.set(&self.schedule, failing);
        self.published.retain(|former| Arc::strong_count(former) > 1);
        self.published.push(Arc::clone(&proofs));
        let publish = Arc::clone(&self.options.publish);
        // A worker that hangs must not make /metrics hang.
        let _ = tokio::task::spawn_blocking(move || publish(&proofs)).await;
        // Of many packages the proofs take a while to write down: never more than a tenth of it.
        let end = now();
        self.publish_after = end + PUBLISH_EVERY.max((end - begun) * 10);
    }

    /// Warns of redirects that turn out to fail, once per change; says how many do.
    fn say_what_fails(&mut self) -> usize {
        let mut failing = HashSet::new();
        let mut unsaid = 0;
        for redirect in &self.redirects {
            let Some(words) = redirect.fails(&self.schedule) else {
                continue;
            };
            if !self.said.contains(redirect) {
                unsaid += 1;
                if unsaid <= WARNINGS_MAX {
                    tracing::warn!("{words}");
                }
            }
            failing.insert(redirect.clone());
        }
        if unsaid > WARNINGS_MAX {
            tracing::warn!("and {} packages more like these", unsaid - WARNINGS_MAX);
        }
        self.said = failing;
        self.said.len()
    }
}

/// Asks; a bug on the way is a failure like others.
async fn ask(asker: Arc<Asker>, question: Question) -> (Question, Answer) {
    let Question { base, repository } = question.clone();
    let asked = tokio::spawn(async move { asker.ask(&base, repository.as_deref()).await });
    (question, asked.await.unwrap_or(Answer::Failed(None)))
}

fn now() -> Duration {
    Duration::from_micros(monotonic_us())
}

/// How often it is looked whether something is to be asked.
const TICK: Duration = Duration::from_millis(100);
/// Names taken at once: workers may send them as fast as they are taken.
const WANTED_PER_TICK_MAX: usize = 1024;
/// The least time from one publication to the next.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// Packages named in the log at once.
const WARNINGS_MAX: usize = 10;
