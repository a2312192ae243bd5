//! Counts row by row, as `pullgate export` writes them, in pieces: no faster than they are read, and for as long as who
//! asked may see them.

use std::io;

use axum::body::Body;
use hyper::body::Bytes;
use tokio::sync::mpsc::channel;
use tokio::task::spawn_blocking;

use super::counted::{Asker, counted};
use super::sight;
use super::trouble::Trouble;
use super::{Dashboard, EXPORTS_OF_ACCOUNT_MAX};
use crate::aggregator::{Ask, Export, Portion, QueryError, Row};
use crate::control::accounts::rights::Right;
use crate::control::admin::socket::{PORTIONS_WAITING_MAX, send_all};
use crate::control::pieces::Pieces;
use crate::control::seats::Taken;
use crate::pure::export::{self, Format};
use crate::pure::pull::rollup::MEASURE_NAMES;

/// What `ask` asks for, of the packages that `is_seen`, until this right to them is lost. An answer that ends early was
/// not whole.
///
/// # Errors
/// That too many are under way, or that it cannot be asked for, or not now.
pub(super) async fn exported(
    at: &Dashboard,
    account: i64,
    right: Right,
    (ask, format): (Ask, Format),
    is_seen: impl Fn(&str) -> bool + Send + 'static,
) -> Result<Body, Trouble> {
    let lost = sight::lost(at.clone(), right);
    let seat = at.exports.lock().await.take(Some(account)).map_err(taken)?;
    let mut header = String::new();
    let columns: Vec<&str> = ["package"]
        .into_iter()
        .chain(ask.by.iter().map(|by| by.column()))
        .chain(MEASURE_NAMES)
        .collect();
    format.put_header(&mut header, &columns);
    let asker = Asker::Account(account);
    let export = counted(at, asker, move |query| Export::begin(query.clone(), ask)).await?;
    // One more waits behind them for who reads.
    let (sender, receiver) = channel(PORTIONS_WAITING_MAX - 1);
    spawn_blocking(move || {
        send_all(export, &sender, |portion| {
            written(std::mem::take(&mut header), portion, format, &is_seen)
        });
        drop(seat);
    });
    Ok(Body::new(Pieces(receiver).until(lost)))
}

/// Too many are under way.
fn taken(taken: Taken) -> Trouble {
    match taken {
        Taken::All => Trouble::busy(
            "As many exports and downloads as there can be are under way. Try again in a moment.",
        ),
        Taken::Own => {
            let why = format!(
                "{EXPORTS_OF_ACCOUNT_MAX} exports or downloads of this account are under way: read one \
                 to its end first."
            );
            Trouble::too_many(&why)
        }
    }
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

/// Appends one row in the columns of `pullgate export`.
fn put_row(out: &mut String, format: Format, row: &Row) {
    let keys = row.keys.iter().map(|(by, value)| (by.column(), value.as_str()));
    let told: Vec<(&str, &str)> = [("package", &*row.package)].into_iter().chain(keys).collect();
    let counts = MEASURE_NAMES.into_iter().zip(row.measures.to_array());
    let counts: Vec<(&str, u64)> = counts.collect();
    format.put_row(out, &export::Row { told: &told, counts: &counts });
}
