//! `/live/<domain>/<name>`: each pull of a package as it is counted, as server-sent events (HTML
//! Standard, 9.2), and `/live`: those of all packages that who listens may see. Nobody has to hear of all of them:
//! whoever is too slow misses some.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use crossbeam_channel::TryRecvError;
use hyper::body::Bytes;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::aggregator::{Booked, Feed};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::sight;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::{Signed, Viewer};
use crate::control::pieces::Pieces;
use crate::control::seats::{Seat, Seats, Taken};
use crate::control::status::{Phase, Status};
use crate::pure::access::Action;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/live", get(all)).route("/live/{*package}", get(live))
}

async fn all(State(at): State<Dashboard>, signed: Signed) -> Result<Response, Trouble> {
    let Signed { who, viewer } = signed;
    stream(at, viewer, who.account, None).await
}

async fn live(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
) -> Result<Response, Trouble> {
    let Signed { who, viewer } = signed;
    stream(at, viewer, who.account, Some(package)).await
}

/// Each pull of a package that `viewer` may see, as it is counted, whether there is such a package yet or not, or of all
/// of these; the seat is `account`'s.
///
/// # Errors
/// [`Trouble::absent`] for who may not see it, 503 where all seats are taken.
pub(in crate::control::dashboard) async fn stream(
    at: Dashboard,
    viewer: Viewer,
    account: i64,
    package: Option<String>,
) -> Result<Response, Trouble> {
    if let Some(package) = &package
        && !viewer.may_package(Action::See, package, false)
    {
        return Err(Trouble::absent());
    }
    let seat = at.seats.take(account).await.map_err(|whose| {
        let why = format!(
            "{whose} are watching pulls already. A page works without; load it again to see newer counts. \
             Programs ask again when one of these has ended."
        );
        Trouble::not_now("Too many watch", &why)
    })?;
    let (status, query) = (Arc::clone(&at.status), at.query.clone());
    let lost = sight::lost(at, viewer.sight(package.as_deref()));
    // Once they may see less, the right to this is lost; what they see then, they ask for anew.
    let feed = query.subscribe(move |pulled| match &package {
        Some(package) => package == pulled,
        None => viewer.may_package(Action::See, pulled, false),
    });
    let body = watch(feed, lost, status, (seat, LIFE));
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response())
}

/// Who watches at once, by account: each costs the aggregator a few look-ups for each pull, and a few texts for each
/// that is meant.
pub(in crate::control::dashboard) struct Watching(Mutex<Seats<i64>>);

impl Watching {
    pub(in crate::control::dashboard) fn new() -> Self {
        Self(Mutex::new(Seats::new(SEATS_MAX, SEATS_OF_ACCOUNT_MAX)))
    }

    /// A seat for this account.
    ///
    /// # Errors
    /// Who has all seats, in words.
    async fn take(&self, account: i64) -> Result<Seat, String> {
        self.0.lock().await.take(Some(account)).map_err(|taken| match taken {
            Taken::Own => format!("{SEATS_OF_ACCOUNT_MAX} pages and programs of yours"),
            Taken::All => format!("{SEATS_MAX} pages and programs"),
        })
    }
}

/// A body that goes on for as long as somebody reads it, the right to it is not `lost`, and the gateway does not
/// stop, for `life` at most: then the browser asks again. Whether it is read or not, the seat is free after that.
fn watch(
    feed: Feed,
    lost: impl Future<Output = ()> + Send + 'static,
    status: Arc<Status>,
    (seat, life): (Seat, Duration),
) -> Pieces {
    let (lines, body) = channel(EVENTS_WAITING_MAX);
    tokio::spawn(async move {
        tokio::select! {
            _ = timeout(life, tell(&feed, &status, &lines)) => {}
            () = lost => {}
        }
        drop(seat);
    });
    Pieces(body)
}

/// Tells of each pull, until nobody listens, or the aggregator says no more.
async fn tell(feed: &Feed, status: &Status, lines: &Sender<io::Result<Bytes>>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for looked in 0u32.. {
        tokio::select! {
            _ = looks.tick() => {}
            () = lines.closed() => return,
        }
        let mut text = String::new();
        if looked == 0 {
            // Something has to come, so that the browser knows that it is heard.
            text.push_str("retry: 3000\n: watching\n\n");
        } else if looked.is_multiple_of(LOOKS_QUIET) {
            text.push_str(": still there\n\n");
        }
        let mut has_ended = false;
        loop {
            match feed.try_recv() {
                Ok(booked) => text.push_str(&event(&booked)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    has_ended = true;
                    break;
                }
            }
        }
        if !text.is_empty() {
            // Who does not read for so long is gone, or holds the seat for nothing.
            match timeout(READ_PATIENCE, lines.send(Ok(text.into()))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
        // Workers that drain wait for what they have handed on.
        if has_ended || status.phase() == Phase::Draining {
            return;
        }
    }
}

/// One pull. JSON has no line ends of its own, so that it is one line.
fn event(booked: &Booked) -> String {
    let Booked { package, tag, client, version, platform } = booked;
    let told = json!({
        "package": package, "tag": tag, "client": client, "version": version, "platform": platform,
    });
    format!("event: pull\ndata: {told}\n\n")
}

const SEATS_MAX: usize = 64;
/// A few windows of one person.
const SEATS_OF_ACCOUNT_MAX: usize = 8;
/// How often is looked what has come: a pull is to be seen within two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Fifteen seconds: proxies give up on what is quiet for longer.
const LOOKS_QUIET: u32 = 60;
const LIFE: Duration = Duration::from_secs(600);
/// Texts that wait for who reads.
const EVENTS_WAITING_MAX: usize = 2;
/// How long they may wait.
const READ_PATIENCE: Duration = Duration::from_secs(30);

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

    #[test]
    fn a_seat_is_free_again_whether_the_body_is_read_or_not_and_an_account_has_a_few() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let seats = Watching::new();
            let status = Status::new();
            let mut followers = Vec::new();
            let mut watched = |seat, life| {
                let (follower, feed) = Feed::open(|_| true);
                followers.push(follower);
                watch(feed, std::future::pending(), Arc::clone(&status), (seat, life))
            };
            let mut bodies = Vec::new();
            for _ in 0..SEATS_OF_ACCOUNT_MAX - 1 {
                bodies.push(watched(seats.take(1).await.unwrap(), LIFE));
            }
            // Nobody reads this one, and nobody gives it up.
            let kept = watched(seats.take(1).await.unwrap(), Duration::ZERO);
            assert!(seats.take(2).await.is_ok(), "another's are another's");
            let until_free = async || {
                while seats.take(1).await.is_err() {
                    tokio::task::yield_now().await;
                }
            };
            until_free().await;
            drop(kept);
            let again = watched(seats.take(1).await.unwrap(), LIFE);
            assert_eq!(seats.take(1).await.err().as_deref(), Some("8 pages and programs of yours"));
            drop(again);
            until_free().await;
            drop(bodies);
            while seats.0.lock().await.free() < SEATS_MAX {
                tokio::task::yield_now().await;
            }
        });
    }
}
