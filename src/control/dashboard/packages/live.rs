//! `/live/<domain>/<name>`: each pull of a package as it is counted, as server-sent events (HTML
//! Standard, 9.2). Nobody has to hear of all of them: whoever is too slow misses some.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use crossbeam_channel::{Receiver, TryRecvError};
use hyper::body::{Bytes, Frame};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::aggregator::Booked;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/live/{*package}", get(live))
}

async fn live(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
) -> Result<Response, Trouble> {
    if !signed.may_package(Action::See, &package, false) {
        return Err(Trouble::absent());
    }
    let Ok(seat) = SEATS.try_acquire() else {
        let why = format!(
            "{SEATS_MAX} pages are watching pulls already. This page works without; load it again to \
             see newer counts."
        );
        return Err(Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "Too many watch", why));
    };
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feed = Feed { package, booked: at.query.subscribe(), looks, looked: 0, _seat: seat };
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::new(feed)).into_response())
}

/// A body that goes on for as long as somebody reads it, [`LOOKS_MAX`] at most: then the browser asks
/// again, and whether it still may is looked at again.
struct Feed {
    package: String,
    booked: Receiver<Booked>,
    looks: Interval,
    looked: u32,
    _seat: SemaphorePermit<'static>,
}

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            ready!(self.looks.poll_tick(context));
            self.looked += 1;
            if self.looked > LOOKS_MAX {
                return Poll::Ready(None);
            }
            let mut text = String::new();
            if self.looked == 1 {
                // Something has to come, so that the browser knows that it is heard.
                text.push_str("retry: 3000\n: watching\n\n");
            } else if self.looked.is_multiple_of(LOOKS_QUIET) {
                text.push_str(": still there\n\n");
            }
            let mut has_ended = false;
            loop {
                match self.booked.try_recv() {
                    Ok(booked) if booked.package == self.package => text.push_str(&event(&booked)),
                    Ok(_) => {}
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        has_ended = true;
                        break;
                    }
                }
            }
            if !text.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
            if has_ended {
                return Poll::Ready(None);
            }
        }
    }
}

/// One pull. JSON has no line ends of its own, so that it is one line.
fn event(booked: &Booked) -> String {
    let Booked { tag, client, version, platform, .. } = booked;
    let told = json!({ "tag": tag, "client": client, "version": version, "platform": platform });
    format!("event: pull\ndata: {told}\n\n")
}

/// Who watches at once: each costs the aggregator a few texts for each pull.
static SEATS: Semaphore = Semaphore::const_new(SEATS_MAX);
const SEATS_MAX: usize = 64;
/// How often is looked what has come: a pull is to be seen within two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Fifteen seconds: proxies give up on what is quiet for longer.
const LOOKS_QUIET: u32 = 60;
/// Ten minutes.
const LOOKS_MAX: u32 = 40 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_one_event_whatever_its_tag_is() {
        let booked = Booked {
            package: "a.b/c".into(),
            tag: "x\n\ndata: y".into(),
            client: "docker".into(),
            version: "28".into(),
            platform: "linux/amd64".into(),
        };
        let told = event(&booked);
        assert_eq!(told.matches('\n').count(), 3, "{told}");
        assert!(told.ends_with("\n\n") && told.contains(r#""tag":"x\n\ndata: y""#), "{told}");
    }
}
