//! A request that leaves the hot line, because somebody has to be asked before it is answered.
//!
//! It stays in its receive buffer until then: nothing of it is copied that does not go to a registry.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::messages::clock::monotonic_us;
use crate::pure::decide::{Action, Known, decide};
use crate::worker::answer::{Client, Next};
use crate::worker::buffers::Buffer;
use crate::worker::downstream::Downstream;
use crate::worker::forward::Exchange;
use crate::worker::over::Over;
use crate::worker::slots::Phase;
use crate::worker::{grant, resolve};

/// Answers the request at the front of `input`, of which a batch has found that somebody is to be
/// asked, and says what comes next: [`Next::Answer`] for what is behind it in `input`.
///
/// Boxed, so that a connection that only redirects does not carry this future's room.
pub fn serve<'c>(
    down: &'c mut Downstream<'_>,
    client: &'c Client,
    mut input: Buffer,
) -> Pin<Box<dyn Future<Output = Served> + 'c>> {
    Box::pin(async move {
        let read_at_us = monotonic_us();
        let mut may_reread = true;
        let (length, next) = loop {
            let worker = &Rc::clone(down.worker());
            let adopted = &worker.snapshot();
            // It parsed a moment ago, unless by other bounds: then the next batch refuses it.
            let Ok(Some(head)) = client.parse(input.filled(), &adopted.head) else {
                return Ok((input, Next::Answer));
            };
            let bytes = input.filled().get(..head.length).unwrap_or_default();
            let (proofs, keys) = (worker.proofs(), worker.keys());
            let certificates = worker.certificates();
            let known = Known {
                snapshot: adopted,
                door: client.door(&certificates),
                proofs: &proofs,
                keys: &keys,
                now_us: read_at_us,
                unix_s: worker.clock.unix_s(),
            };
            let action = &decide(known, &head);
            let exchange = |action, plan| Exchange {
                worker,
                adopted,
                site: known.door.site(adopted, head.host.unwrap_or_default()),
                action,
                plan,
                head: &head,
                bytes,
                client,
                read_at_us,
                may_reread,
            };
            down.wait(Phase::Forwarding);
            let next = match action {
                Action::Forward(plan) => exchange(action, plan).run(down).await?,
                Action::Grant(errand) => {
                    Some(grant::serve(down, adopted, &head, errand, read_at_us).await?)
                }
                Action::Redirect(redirect) => {
                    let Some(plan) = redirect.asked(adopted) else {
                        return Ok((input, Next::Answer));
                    };
                    let asked = Action::Forward(plan);
                    Some(resolve::serve(down, redirect, &exchange(&asked, &plan)).await?)
                }
                // Decided otherwise by what became known meanwhile.
                Action::HandOn(_) | Action::Secure(_) | Action::Say(_) | Action::Refuse(_) => {
                    return Ok((input, Next::Answer));
                }
            };
            if let Some(next) = next {
                break (head.length, next);
            }
            may_reread = false;
        };
        input.consume(length);
        Ok((input, next))
    })
}

/// What follows a request's answer, if the connection goes on.
pub type Served = Result<(Buffer, Next), Over>;
