//! `GET /api/v1/export`

use std::io;

use axum::body::Body;
use axum::extract::{Query as Params, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Bytes;
use tokio::sync::mpsc::channel;
use tokio::task::spawn_blocking;

use super::caller::Caller;
use super::problem::{Problem, Refusal};
use crate::aggregator::{By, Export, Portion, QueryError};
use crate::control::admin::socket::{PORTIONS_WAITING_MAX, ask, send_all};
use crate::control::dashboard::counted::{Asker, counted};
use crate::control::dashboard::packages::{format_of, kind, put_row};
use crate::control::dashboard::sight;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::{Dashboard, EXPORTS_OF_ACCOUNT_MAX};
use crate::control::pieces::Pieces;
use crate::control::seats::Taken;
use crate::pure::access::Action;
use crate::pure::export::Format;

/// All counts of the package, or of all packages that the caller may see, row by row as `pullgate export`
/// writes them. An answer that ends early was not whole: the gateway could not go on, or who asked may not see that
/// any more. Two at once for an account (429), eight in all (503).
#[utoipa::path(
    get,
    path = "/api/v1/export",
    tag = "pulls",
    params(
        ("package" = Option<String>, Query, description = "Only this package, `<domain>/<name>`"),
        ("by" = Option<Vec<String>>, Query, description = "What rows are told apart by, as in `pulls`; day and tag if left out. May be repeated"),
        ("only" = Option<Vec<String>>, Query, description = "Only what has this value, as `tag=latest`. May be repeated"),
        ("from" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("to" = Option<String>, Query, description = "Up to, but not including, this time"),
        ("format" = Option<String>, Query, description = "`csv`, or `ndjson` if left out"),
    ),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson"),
        Refusal
    )
)]
pub(super) async fn export(
    State(at): State<Dashboard>,
    caller: Caller,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (mut format, mut rest) = (Format::Ndjson, Vec::new());
    for (key, value) in params.0 {
        match key.as_str() {
            "format" => {
                format = format_of(&value).map_err(|words| Problem::refused(words.to_owned()))?;
            }
            _ => rest.push((key, value)),
        }
    }
    let mut ask = ask(&rest).map_err(Problem::refused)?;
    if ask.by.is_empty() {
        ask.by = vec![By::Day, By::Tag];
    }
    if let Some(package) = &ask.package
        && !caller.viewer.may_package(Action::See, package, false)
    {
        return Err(Problem(Trouble::absent()));
    }
    let lost = sight::lost(at.clone(), caller.viewer.sight(ask.package.as_deref()));
    let seat = at.exports.lock().await.take(Some(caller.who.account)).map_err(taken)?;
    let mut header = String::new();
    let columns: Vec<&str> =
        ["package"].into_iter().chain(ask.by.iter().map(|by| by.column())).collect();
    format.put_header(&mut header, &columns);
    let asker = Asker::Account(caller.who.account);
    let export = counted(&at, asker, move |query| Export::begin(query.clone(), ask)).await?;
    // One more waits behind them for who reads.
    let (sender, receiver) = channel(PORTIONS_WAITING_MAX - 1);
    spawn_blocking(move || {
        send_all(export, &sender, |portion| {
            let seen = |package: &str| caller.viewer.may_package(Action::See, package, false);
            written(std::mem::take(&mut header), portion, format, seen)
        });
        drop(seat);
    });
    let body = Body::new(Pieces(receiver).until(lost));
    Ok(([(CONTENT_TYPE, kind(format))], body).into_response())
}

/// Too many are under way.
fn taken(taken: Taken) -> Problem {
    let trouble = match taken {
        Taken::All => {
            Trouble::busy("As many exports as there can be are under way. Try again in a moment.")
        }
        Taken::Own => {
            let why = format!(
                "{EXPORTS_OF_ACCOUNT_MAX} exports of this account are under way: read one to its end \
                 first."
            );
            Trouble::too_many(&why)
        }
    };
    Problem(trouble)
}

/// What of a portion is seen, behind what stands before it; of the end, nothing more.
fn written(
    mut text: String,
    portion: Result<Option<Portion>, QueryError>,
    format: Format,
    is_seen: impl Fn(&str) -> bool,
) -> io::Result<Bytes> {
    let portion = portion.map_err(io::Error::other)?;
    for row in portion.into_iter().flat_map(|portion| portion.rows) {
        if is_seen(&row.package) {
            put_row(&mut text, format, &row);
        }
    }
    Ok(Bytes::from(text))
}
