//! Redirects of which counting is to know what the client finds at the registry: which manifest its
//! tag stands for, and what that holds. The gateway looks that up itself, as it does for clients that it
//! answers itself, and keeps it the same way.
//!
//! A redirect of which it is known leaves by the hot line. Of any other the client waits for the
//! registry's word, a second at the most; then it is redirected all the same, and counted as unseen.

use crate::messages::clock::monotonic_us;
use crate::messages::meters::Counter;
use crate::pure::answer;
use crate::pure::cache::{Scope, Serving};
use crate::pure::decide::{Action, Redirect};
use crate::pure::http1::encode::{Manner, Out};
use crate::pure::http1::head::Method;
use crate::pure::observe::{Asker, observe};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::pull::event::Address;
use crate::pure::tokens::Identity;
use crate::worker::answer::{Next, manner_of};
use crate::worker::cache::{self, Kept};
use crate::worker::downstream::Downstream;
use crate::worker::forward::Exchange;
use crate::worker::obtain::Question;
use crate::worker::over::Over;
use crate::worker::record::{self, Answered};
use crate::worker::within::within;

/// Redirects the client once it is known what it finds, or it has waited long enough; or says by itself
/// that there is no such thing.
pub async fn serve(
    down: &mut Downstream<'_>,
    redirect: &Redirect<'_>,
    exchange: &Exchange<'_>,
) -> Result<Next, Over> {
    let Exchange { worker, adopted, head, bytes, client, read_at_us, .. } = *exchange;
    let found = look_up(exchange).await;
    if let Some(absent) = found.as_ref().filter(|found| found.status == 404) {
        return exchange.kept(down, absent).await;
    }
    let (next, connection) = manner_of(worker, head, false);
    let date = worker.clock.date();
    let manner = Manner { date: &date, head_only: head.method == Method::Head, connection };
    let mut output = worker.pool.lend();
    let mut out = Out::new(output.all_mut(), 0);
    let action = Action::Redirect(*redirect);
    answer::write(&mut out, &manner, &action);
    let (used, body_bytes) = (out.used(), out.body_bytes() as u64);
    output.set_filled(used);
    let address = Address(client.address_behind(head, adopted));
    let asker = Asker { at_us: monotonic_us(), address, connection: client.connection };
    let seen = found.as_ref().map(|found| Serving::new(found, head, bytes).seen());
    if let Some(event) = observe(&action, head, asker, seen) {
        worker.count(&event);
    }
    worker.meters.add(Counter::Redirects, 1);
    worker.meters.add(Counter::RedirectsSeen, u64::from(seen.is_some()));
    let asked = record::asked(&redirect.endpoint);
    let answered = Answered { asked, status: 307, bytes: body_bytes, read_at_us };
    record::answered(worker, head, answered);
    down.send(output).await?;
    Ok(next)
}

/// What the registry has, as far as it says so in time and to anybody.
async fn look_up(exchange: &Exchange<'_>) -> Option<Kept> {
    let Exchange { worker, adopted, plan, head, bytes, .. } = exchange;
    let Endpoint::Manifest { reference, .. } = plan.endpoint else {
        return None;
    };
    let base = &adopted.registries[plan.registry].base;
    let question = Question::of_client(worker, adopted, plan, head, bytes).ok()?;
    let scope = Scope::of(base, &question.repository, Identity::Anonymous);
    if worker.resolving.borrow().is_closed(scope, monotonic_us()) {
        return None;
    }
    let asking = cache::get(worker, &question, reference, bytes, false);
    let asked = within(worker, WAIT_SWEEPS_MAX, asking).await;
    let mut resolving = worker.resolving.borrow_mut();
    let found = match asked {
        // What is not kept is not looked up for this.
        Some(answer) => answer?,
        None => {
            resolving.failed(base, monotonic_us());
            return None;
        }
    };
    let Ok(found) = found.inspect_err(|missing| {
        if missing.failure.is_outage() {
            resolving.failed(base, monotonic_us());
        } else if missing.failure.is_refusal() {
            resolving.refused(scope, monotonic_us());
        }
    }) else {
        return None;
    };
    resolving.well(base);
    match found.kept.status {
        200 => {
            resolving.has_shown(scope);
            worker.manifests.remember(plan, head, bytes, &found);
            Some(found.kept)
        }
        404 if resolving.is_open(scope) => Some(found.kept),
        401 | 403 => {
            resolving.refused(scope, monotonic_us());
            None
        }
        _ => None,
    }
}

/// How long a redirect waits: a second.
const WAIT_SWEEPS_MAX: u64 = 10;
